"""What all rows need: running tools, servers on sockets, and fio over NBD."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "bench"
FUMEHOOD = ROOT / "target" / "release" / "fumehood"
TICK = os.sysconf("SC_CLK_TCK")


def sh(*command, **options):
    return subprocess.run([str(word) for word in command], check=True, **options)


def quiet(*command):
    return sh(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def warm(path):
    with open(path, "rb") as file:
        while file.read(1 << 24):
            pass


def settle(*images):
    """Undoes what earlier rows may do to this one: what they wrote, and what they pushed
    out of the page cache. Images of which a third is not there halve random reads."""
    os.sync()
    for image in images:
        warm(image)


class Server:
    """A server process on a Unix socket; knows what CPU and memory it took."""

    def __init__(self, command, socket):
        self.socket = socket
        self.process = subprocess.Popen([str(word) for word in command],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(500):
            if os.path.exists(socket):
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        self.process.kill()
        self.process.wait()
        raise RuntimeError(f"{command} does not listen")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        if os.path.exists(self.socket):
            os.unlink(self.socket)

    def uri(self):
        return f"nbd+unix:///?socket={self.socket}"

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self, which="VmRSS"):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(which + ":"):
                return int(line.split()[1]) / 1024
        return 0.0


def socket():
    return os.path.join(tempfile.gettempdir(), f"fumehood-bench-{os.getpid()}-{time.monotonic_ns()}.sock")


def fumehood(image, format=None, *more):
    at = socket()
    named = ["--format", format] if format else []
    return Server([FUMEHOOD, "serve", image, *named, *more, "--nbd", f"unix:{at}"], at)


def fio(server, *options):
    """Runs one job of fio's nbd engine, and gives what it says of it."""
    result = sh("fio", "--name=r", "--ioengine=nbd", f"--uri={server.uri()}", *options,
                "--output-format=json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=WORK)
    text = result.stdout.decode()
    return json.loads(text[text.index("{"):])["jobs"][0]
