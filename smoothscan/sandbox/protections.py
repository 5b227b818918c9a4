"""What this machine can do to hold a process, found out by trying."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from smoothscan.sandbox.bubblewrap import walls
from smoothscan.sandbox.installation import readable

_LANDLOCK_ENOUGH = 3
"""Landlock version that covers everything that changes a file's content; 1 and 2 leave truncation and moving."""


@dataclass(frozen=True)
class Protections:
    """Means of confinement that work here."""

    bubblewrap: str | None
    """Path of bubblewrap, if it is installed and may make namespaces."""
    landlock: int
    """Version of the kernel's Landlock; 0 without."""
    seccomp: bool
    """Whether system calls can be filtered."""
    missing: tuple[str, ...] = ()
    """Why what does not work does not, in words."""

    @property
    def files(self) -> bool:
        """Whether a process sees no files but those that it is given."""
        return self.bubblewrap is not None or self.landlock >= _LANDLOCK_ENOUGH

    @property
    def network(self) -> bool:
        """Whether a process can reach no network."""
        return self.bubblewrap is not None or self.seccomp

    @property
    def processes(self) -> bool:
        """Whether a process can neither leave children behind nor touch others."""
        return self.bubblewrap is not None or self.seccomp

    @property
    def hold(self) -> bool:
        """Whether code of an unknown author may run: nothing but its answers leaves the process."""
        return sys.platform == "linux" and self.files and self.network and self.processes

    def in_words(self) -> tuple[str, ...]:
        """Say what is held by what, and what is not held."""
        namespaces = "bubblewrap" if self.bubblewrap else ""
        landlock = f"Landlock {self.landlock}" if self.landlock else ""
        calls = "seccomp" if self.seccomp else ""
        return (
            _held("files: only Python and the model, read-only", self.files, namespaces, landlock),
            _held("no network", self.network, namespaces, calls),
            _held("no other processes", self.processes, namespaces, calls),
        )


def _held(what: str, holds: bool, *means: str) -> str:
    by = " and ".join(filter(None, means))
    return f"{what} ({by})" if holds else f"NOT held here: {what}"


@functools.cache
def protections() -> Protections:
    """Try what works on this machine. Asked once in the life of a process."""
    if sys.platform != "linux":
        return Protections(None, 0, False, (f"{sys.platform} offers no sandbox that smoothscan can use",))
    bubblewrap, why_no_bubblewrap = _bubblewrap()
    landlock, why_no_landlock = _landlock()
    seccomp, why_no_seccomp = _seccomp()
    missing = tuple(filter(None, (why_no_bubblewrap, why_no_landlock, why_no_seccomp)))
    return Protections(bubblewrap, landlock, seccomp, missing)


def _bubblewrap() -> tuple[str | None, str]:
    path = shutil.which("bwrap")
    if path is None:
        return None, "bubblewrap is not installed (the package bubblewrap)"
    trial = [*walls(path, readable()), "--", sys.executable, "-I", "-S", "-c", ""]
    try:
        tried = subprocess.run(trial, capture_output=True, timeout=20, stdin=subprocess.DEVNULL)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"bubblewrap does not start ({type(error).__name__})"
    if tried.returncode != 0:
        words = tried.stderr.decode(errors="replace").strip().splitlines()
        return None, f"bubblewrap may not make namespaces here ({words[-1][:200] if words else 'it does not say why'})"
    return path, ""


def _landlock() -> tuple[int, str]:
    try:
        from landlockpy import abi_version

        version = abi_version()
    except Exception as error:  # a library that does not know this machine must not end the scan
        return 0, f"Landlock is not there ({type(error).__name__}); it needs Linux 5.13, and 6.2 to hold alone"
    if version < _LANDLOCK_ENOUGH:
        return version, f"Landlock {version} does not hold alone; it needs Linux 6.2"
    return version, ""


def _seccomp() -> tuple[bool, str]:
    try:
        import pyseccomp  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        return False, "system calls cannot be filtered: libseccomp is not installed (the package libseccomp2)"
    if not Path("/proc/sys/kernel/seccomp/actions_avail").exists():
        return False, "system calls cannot be filtered: this kernel has no seccomp"
    return True, ""
