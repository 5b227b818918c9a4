"""What a confined process may do. Everything that is not named here is denied to it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Limits:
    """Amounts that the kernel holds a process to."""

    memory_bytes: int
    """Address space; on an accelerator, whose drivers reserve more than they use, private memory."""
    cpu_seconds: int
    """Processor time, summed over all threads."""
    file_bytes: int = 64 * 2**20
    """Size of each file that it writes."""
    open_files: int = 512
    """Files open at once."""


@dataclass(frozen=True)
class Policy:
    """Rights and limits of one process; travels to it as JSON on its command line."""

    read: tuple[str, ...]
    """Files and folders that it may read."""
    names: tuple[str, ...]
    """Folders whose file names it may list, without reading the files."""
    write: tuple[str, ...]
    """Files and folders that it may write to."""
    devices: tuple[str, ...]
    """Device files of accelerators, readable and writable; with any, device controls (ioctl) are let through."""
    limits: Limits
    """Amounts."""
    landlock: bool
    """Whether it must restrict its view of files by Landlock."""
    seccomp: bool
    """Whether it must restrict its system calls."""
    parent: int | None
    """Process id that it must die with; None where that is seen to from outside."""

    def to_json(self) -> str:
        """Return the policy as one line."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Policy:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        values["limits"] = Limits(**values["limits"])
        for key in ("read", "names", "write", "devices"):
            values[key] = tuple(values[key])
        return Policy(**values)
