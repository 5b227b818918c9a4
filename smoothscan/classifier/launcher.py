"""Starts the process that holds the model, and ends it with everything that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

_KEPT_VARIABLES = (
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "PATH",
    "PYTHONPATH",
    "TZ",
)
"""What the host inherits; everything else may hold credentials and stays here."""


@dataclass
class HostProcess:
    """A running model host."""

    process: subprocess.Popen[bytes]
    """The process, leader of its own session."""
    channel: socket.socket
    """Where questions go and answers come from."""
    memory_fd: int
    """File descriptor of the shared memory, empty until it is sized."""
    log: Path
    """What the process printed."""
    isolation: tuple[str, ...]
    """Protections around the process, in words."""

    def peak_rss(self) -> int:
        """Return the peak resident memory of the process so far, in bytes; 0 where the system does not tell."""
        return peak_rss(self.process.pid)

    def last_words(self, size: int = 2000) -> str:
        """Return the end of what the process printed, without control characters."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - size))
            text = file.read().decode(errors="replace")
        return "".join(c for c in text if c.isprintable() or c == "\n").strip()


def peak_rss(pid: int) -> int:
    """Return the peak resident memory of a process so far, in bytes; 0 where the system does not tell.

    Not from getrusage: its peak survives exec, so that a program started by a large one would count that one's memory.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


@contextlib.contextmanager
def model_host(workspace: Path, *, allow_model_code: bool) -> Iterator[HostProcess]:
    """Start a model host and end it, with its children, on the way out.

    It starts importing at once, so that it is ready when the model's files are.

    Args:
        workspace: folder for the host's temporary files, its home and its log.
        allow_model_code: whether loading may read pickles.
    """
    home = workspace / "home"
    home.mkdir()
    log = workspace / "host.log"
    ours, theirs = socket.socketpair()
    memory_fd = _shared_memory()
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 our own module
            [sys.executable, "-P", "-m", "smoothscan.modelhost", *map(str, (theirs.fileno(), memory_fd, os.getpid()))],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=home,
            env=_environment(home, allow_model_code),
            pass_fds=(theirs.fileno(), memory_fd),
            start_new_session=True,
        )
    theirs.close()
    isolation = ("separate process", "environment without credentials", "time limit")
    try:
        yield HostProcess(process, ours, memory_fd, log, isolation)
    finally:
        _end(process)
        ours.close()
        os.close(memory_fd)


def _shared_memory() -> int:
    """Return a file descriptor of memory without a name, so that nothing is left behind however a scan ends."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("smoothscan", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _environment(home: Path, allow_model_code: bool) -> dict[str, str]:
    allowed = str(allow_model_code).lower()
    return {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ} | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "HF_HUB_OFFLINE": "1",
        # threads that spin while they wait gain a fifth on an idle machine, and halve the speed of a busy one
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        # the same large blocks are needed in every step: glibc would return them to the system and fault them in again
        "MALLOC_MMAP_THRESHOLD_": str(2**30),
        "MALLOC_TRIM_THRESHOLD_": str(2**32 - 1),
        "MLFLOW_ALLOW_MODEL_CODE_EXECUTION": allowed,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": allowed,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process, its group and its descendants, those that left the group included."""
    family = []
    with contextlib.suppress(psutil.Error):
        family = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for child in family:
        with contextlib.suppress(psutil.Error):
            child.kill()
    process.wait()
