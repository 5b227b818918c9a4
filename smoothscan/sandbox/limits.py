"""How much a confined process may take, and how much it took."""

from __future__ import annotations

import os
from pathlib import Path

from smoothscan.capacity import own_memory
from smoothscan.sandbox.policy import Limits


def limits(seconds: float, memory_bytes: int | None = None) -> Limits:
    """Return the limits of a process that may use the machine for a while, and leave some of it to others.

    Args:
        seconds: longest wall-clock time; all cores may be busy for as long.
        memory_bytes: address space that it may take; None for most of the machine's memory, and what torch reserves.
    """
    cores = os.cpu_count() or 1
    memory_bytes = memory_bytes or max(int(0.8 * own_memory()), address_space())
    return Limits(memory_bytes=memory_bytes, cpu_seconds=int(min(seconds, 10**8) * cores) + 60)


def address_space() -> int:
    """Return the bytes of address space that Python with torch takes before any model; most of it is only reserved."""
    return 3 * 2**30 + (os.cpu_count() or 1) * 2**28  # every thread reserves room for a heap and a stack


def peak_rss(pid: int) -> int:
    """Return the peak resident memory of a process so far, in bytes; 0 where the system does not tell.

    Not from getrusage: its peak survives exec, so that a program started by a large one would count that one's memory.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)
