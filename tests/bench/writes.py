"""The rows of writing: overlays over NBD, `convert`, and reads through long chains.

Each round makes a new overlay on the raw disk, writes a fixed number of bytes to it,
and writes the same places again. fio takes the same places each time. qemu-nbd runs
with --cache=writeback --discard=unmap: it, too, leaves payload to the page cache and
syncs at a flush only. In rows with flushes a FLUSH follows every 32 writes, among the
others at the same depth; less is written there, as storage sets the pace. These requests
are a log that fio replays: its own --fsync=32 sends one FLUSH after another, at this
depth, until the first is answered. Every other round begins with the peer: who comes
second finds blocks that storage has just given back.

`qemu-img convert` runs without -W, as people run it, in its two cache modes: by default
it leaves what it wrote to the page cache, as we do; with -t writeback it syncs, as
`fumehood convert --sync` does.
"""

import os
import random
import time

from common import FUMEHOOD, WORK, Server, fio, fumehood, quiet, settle, socket

LAYERS = 32
FLUSH_EVERY = 32
# What a peer's overlay is made with.
LAYOUTS = {
    "subclusters": "extended_l2=on,cluster_size=128k",
    "64 KiB clusters": "cluster_size=64k",
}


def remove(path):
    path.unlink(missing_ok=True)


# --- overlays ---------------------------------------------------------------


def overlay(raw):
    """Our server on a fresh overlay."""
    top = WORK / "work-ours.qcow2"
    remove(top)
    return top, fumehood(raw, "raw", "--overlay", top)


def peer_overlay(raw, layout):
    """qemu-nbd on a fresh overlay."""
    top = WORK / "work-peer.qcow2"
    remove(top)
    quiet("qemu-img", "create", "-f", "qcow2", "-o", layout, "-b", raw, "-F", "raw", top)
    at = socket()
    return top, Server(["qemu-nbd", "-t", "-e", "16", "--cache=writeback", "--discard=unmap",
                        "-f", "qcow2", "-k", at, top], at)


def fresh_and_again(started, job):
    """Operations a second of a job on a fresh overlay, and of the same job again."""
    top, server = started
    try:
        with server:
            return [written(server, job) for _ in range(2)]
    finally:
        remove(top)


def written(server, job):
    os.sync()
    return fio(server, *job)["write"]["iops"]


def plain_job(pattern, block, depth, amount):
    return [f"--rw={pattern}", f"--bs={block}", f"--iodepth={depth}", f"--io_size={amount}"]


def flushing_job(pattern, block, depth, amount, size):
    """The same with flushes, as a log for fio."""
    count = amount // block
    blocks = range(count) if pattern == "write" else random.Random(1).sample(range(size // block), count)
    lines = ["fio version 2 iolog", "nbd add", "nbd open"]
    for done, number in enumerate(blocks, 1):
        lines.append(f"nbd write {number * block} {block}")
        if done % FLUSH_EVERY == 0:
            lines.append("nbd sync 0 0")
    log = WORK / f"flushes-{pattern}-{amount >> 20}.log"
    log.write_text("\n".join([*lines, "nbd close", ""]))
    return [f"--read_iolog={log}", f"--iodepth={depth}"]


def overlay_rows(report, raw, size):
    """`size` in bytes of the disk sets how much is written."""
    for work, pattern, block, depth, share, target in [
        ("random 4 KiB write", "randwrite", 4096, 32, 8, 2),
        ("sequential 1 MiB write", "write", 1 << 20, 8, 2, 1),
    ]:
        for flushes in [False, True]:
            amount = size // share // (8 if flushes else 1)
            made = (flushing_job(pattern, block, depth, amount, size) if flushes
                    else plain_job(pattern, block, depth, amount))
            for kind, layout in LAYOUTS.items():
                names = [f"{work}, {place}{', flushes' * flushes} / {kind}"
                         for place in ["fresh", "again"]]
                pair(report, names, raw, made, layout, 1 if flushes else target)


def pair(report, names, raw, job, layout, target):
    """The row of a fresh overlay, and that of writing in place; measured together."""
    if not any(report.wants(name) for name in names):
        return
    settle(raw)
    ours, theirs = [], []
    sides = [(ours, lambda: overlay(raw)), (theirs, lambda: peer_overlay(raw, layout))]
    for _ in range(report.rounds):
        for results, start in sides:
            results.append(fresh_and_again(start(), job))
        sides.reverse()
    for index, name in enumerate(names):
        a, b = iter([o[index] for o in ours]), iter([t[index] for t in theirs])
        report.compare(name, lambda: next(a), lambda: next(b), "/s", target, False)


# --- convert ----------------------------------------------------------------


def timed(out, *command):
    remove(out)
    os.sync()
    started = time.monotonic()
    quiet(*command, out)
    return time.monotonic() - started


def convert_rows(report, raw):
    ours, theirs = WORK / "converted-ours.qcow2", WORK / "converted-peer.qcow2"
    for name, compress, cache, target in [
        ("convert to qcow2 / qemu-img", False, None, 0.8),
        ("convert to qcow2 / qemu-img -t writeback", False, "writeback", 0.8),
        ("convert to qcow2 zlib / qemu-img", True, None, 0.6),
    ]:
        if not report.wants(name):
            continue
        command = [FUMEHOOD, "convert", "--format", "raw", "-O", "qcow2",
                   *(["--compress=zlib"] if compress else []),
                   *(["--sync"] if cache else []), raw]
        peer = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *(["-c"] if compress else []),
                *(["-t", cache] if cache else []), raw]
        report.compare(name, lambda: timed(ours, *command), lambda: timed(theirs, *peer), "s",
                       target, True, [raw])
        quiet("qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, ours)
        quiet("qemu-img", "check", "-f", "qcow2", ours)
        remove(ours)
        remove(theirs)


# --- chains -----------------------------------------------------------------


def create(top, parent, parent_format):
    quiet(FUMEHOOD, "create", "-O", "qcow2", top, "--parent", parent, "--parent-format", parent_format)


def scatter(top, seed, amount):
    """Writes `amount` bytes to places that depend on `seed`."""
    with fumehood(top, "qcow2", "--write") as server:
        fio(server, "--rw=randwrite", "--bsrange=4k-64k", "--blockalign=4k", "--iodepth=32",
            f"--io_size={amount}", f"--randseed={seed}", "--buffer_pattern=0x5a")


def chains(raw, size):
    """One overlay, and a chain of them, with the same contents."""
    amount = size // 4 // LAYERS
    one = WORK / f"layers-{size >> 20}-1.qcow2"
    tops = [WORK / f"layers-{size >> 20}-{LAYERS}-{number}.qcow2" for number in range(1, LAYERS + 1)]
    if one.exists() and tops[-1].exists():
        return one, tops[-1]
    for image in [one, *tops]:
        remove(image)
    making = WORK / "layers.part.qcow2"
    remove(making)
    create(making, raw, "raw")
    for parent, top in zip([raw, *tops], tops):
        create(top, parent, "raw" if parent == raw else "qcow2")
    for seed, top in enumerate(tops, 1):
        scatter(making, seed, amount)
        scatter(top, seed, amount)
    quiet("qemu-img", "compare", making, tops[-1])
    making.rename(one)
    return one, tops[-1]


def chain_rows(report, raw, size, random_reads, seconds):
    """The same contents in one layer and in 32; first reads ask all plugins once."""
    names = [f"random 4 KiB read, chain of {LAYERS} / 1 layer{way}" for way in [", first", ", again"]]
    if not any(report.wants(name) for name in names):
        return
    one, many = chains(raw, size)
    settle(raw)

    def reads(image):
        with fumehood(image, "qcow2") as server:
            return [random_reads(server, seconds)[0] for _ in range(2)]

    pairs = [(reads(many), reads(one)) for _ in range(report.rounds)]
    for index, name in enumerate(names):
        a, b = iter([p[0][index] for p in pairs]), iter([p[1][index] for p in pairs])
        report.compare(name, lambda: next(a), lambda: next(b), "/s", 0.9, False)


def rows(report, made, size, random_reads, seconds):
    overlay_rows(report, made["raw"], size)
    convert_rows(report, made["raw"])
    chain_rows(report, made["raw"], size, random_reads, seconds)
