"""Rows of the formats that are read: speed beside qemu-nbd, and what opening costs.

Sequential rows copy the whole disk, as those of qcow2 do. The large images are 4 TiB
(2 TiB for VMDK, which ends there), made by qemu-img, and hold next to nothing: what is
measured is what a format's tables cost. Their map is asked for from end to end.
"""

import subprocess
import time

from common import FUMEHOOD, WORK, fumehood, quiet

# Format, QEMU's driver, options.
NATIVE = [
    ("vhdx", "vhdx", "subformat=dynamic"),
    ("vmdk", "vmdk", "subformat=monolithicSparse"),
    ("vdi", "vdi", "static=off"),
    ("parallels", "parallels", "cluster_size=1M"),
]
LARGE = [
    ("qcow2", "qcow2", "preallocation=off", "4T"),
    ("vhdx", "vhdx", "subformat=dynamic,block_size=32M", "4T"),
    ("vmdk", "vmdk", "subformat=monolithicSparse", "2040G"),
    ("vdi", "vdi", "static=off", "4T"),
    ("parallels", "parallels", "cluster_size=1M", "4T"),
    ("qed", "qed", "cluster_size=64k", "4T"),
]


def native(raw, driver, options, name):
    image = WORK / f"{raw.stem}.{name}"
    if not image.exists():
        quiet("qemu-img", "convert", "-f", "raw", "-O", driver, "-o", options, raw, image)
    return image


def large(driver, options, size, name):
    image = WORK / f"large.{name}"
    if not image.exists():
        quiet("qemu-img", "create", "-f", driver, "-o", options, image, size)
        quiet("qemu-io", "-f", driver, "-c", "write -P 7 1G 64k", image)
    return image


def info_time(image):
    started = time.monotonic()
    quiet(FUMEHOOD, "info", image)
    return (time.monotonic() - started) * 1000


def mapped_memory(image):
    with fumehood(image) as server:
        subprocess.run(["nbdinfo", "--map", server.uri()], check=True, stdout=subprocess.DEVNULL)
        return server.memory("VmHWM")


def rows(report, raw, sequential, qemu_nbd):
    for name, driver, options in NATIVE:
        row = f"sequential read over NBD, {name} / qemu-nbd"
        if not report.wants(row):
            continue
        image = native(raw, driver, options, name)
        report.compare(row, lambda: sequential(fumehood(image)),
                       lambda: sequential(qemu_nbd(image, driver)), "s", 0.5, True, [image])
    for name, driver, options, size in LARGE:
        rows = [f"info, {name} of {size}", f"resident, {name} of {size} mapped"]
        if not any(report.wants(row) for row in rows):
            continue
        image = large(driver, options, size, name)
        info_time(image)
        report.bound(rows[0], lambda: info_time(image), "ms", 20)
        report.bound(rows[1], lambda: mapped_memory(image), "MiB", 96)
