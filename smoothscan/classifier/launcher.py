"""Starts the process that holds the model, and ends it with everything that it started."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from smoothscan.sandbox.disk import DiskWatch
from smoothscan.sandbox.limits import address_space, limits, peak_rss
from smoothscan.sandbox.process import end, innermost, start
from smoothscan.sandbox.protections import protections


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
    disk: DiskWatch
    """Keeps it from filling the disk."""
    isolation: tuple[str, ...]
    """Protections around the process, in words."""
    sandboxed: bool
    """Whether they hold code of an unknown author."""

    def peak_rss(self) -> int:
        """Return the peak resident memory of the process so far, in bytes; 0 where the system does not tell."""
        inner = innermost(self.process)
        return 0 if inner is None else peak_rss(inner.pid)

    def limit_memory(self, model_bytes: int, batch_bytes: int) -> None:
        """Hold the process to the memory that this model can need, before it is loaded.

        Args:
            model_bytes: size of the model's files.
            batch_bytes: memory for the activations of one batch.
        """
        wanted = address_space() + 6 * model_bytes + 6 * batch_bytes
        inner = innermost(self.process)
        if inner is not None and hasattr(inner, "rlimit"):  # Linux
            with contextlib.suppress(psutil.Error, OSError):
                for kind in (psutil.RLIMIT_AS, psutil.RLIMIT_DATA):
                    _, most = inner.rlimit(kind)
                    if most not in (-1, psutil.RLIM_INFINITY):  # the one that was set at the start
                        inner.rlimit(kind, (min(wanted, most), min(wanted, most)))

    def ending(self) -> int | None:
        """Return the exit code of the process, negative for the signal that killed it; None while it runs."""
        code = self.process.poll()
        through_bubblewrap = protections().bubblewrap is not None
        return 128 - code if code is not None and through_bubblewrap and code > 128 else code

    def last_words(self, size: int = 2000) -> str:
        """Return the end of what the process printed, without control characters."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - size))
            text = file.read().decode(errors="replace")
        return "".join(c for c in text if c.isprintable() or c == "\n").strip()


@contextlib.contextmanager
def model_host(workspace: Path, folder: Path, *, device: str, time_limit: float) -> Iterator[HostProcess]:
    """Start a model host in a sandbox, and end it, with its children, on the way out.

    It starts importing at once, so that it is ready when the model's files are.

    Args:
        workspace: folder for the host's temporary files, its home and its log.
        folder: where the model's files are or will be; the only files of the user that the host can read.
        device: torch device, or `auto`; unless it is the CPU the host may use accelerators.
        time_limit: seconds that a scan may take; on all cores, they are the host's processor time.
    """
    home = workspace / "home"
    home.mkdir()
    log = workspace / "host.log"
    ours, theirs = socket.socketpair()
    memory_fd = _shared_memory()
    with log.open("wb") as output:
        process = start(
            "smoothscan.modelhost",
            [str(theirs.fileno()), str(memory_fd)],
            home=home,
            read=[folder],
            limits=limits(time_limit),
            output=output,
            errors=output,
            accelerator=device != "cpu",
            pass_fds=(theirs.fileno(), memory_fd),
            variables={
                "HF_HUB_OFFLINE": "1",
                "MLFLOW_DISABLE_TELEMETRY": "true",
                # threads that spin while they wait gain a fifth on an idle machine, and halve the speed of a busy one
                "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
                # the same large blocks are needed in every step: glibc would return them and fault them in again
                "MALLOC_MMAP_THRESHOLD_": str(2**30),
                "MALLOC_TRIM_THRESHOLD_": str(2**32 - 1),
            },
        )
    theirs.close()
    here = protections()
    watch = DiskWatch(process, home)
    limited = "limits on memory, processor time, file size and open files"
    isolation = ("separate process", "no credentials in its environment", limited, *here.in_words())
    try:
        yield HostProcess(process, ours, memory_fd, log, watch, isolation, here.hold)
    finally:
        watch.close()
        end(process)
        ours.close()
        os.close(memory_fd)


def _shared_memory() -> int:
    """Return a file descriptor of memory without a name, so that nothing is left behind however a scan ends."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("smoothscan", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
