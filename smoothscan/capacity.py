"""How much of this machine the process may use: its own share, where the machine is divided into control groups."""

from __future__ import annotations

import math
import os
from pathlib import Path

import psutil

_GROUPS = Path("/sys/fs/cgroup")
"""Where Linux shows a container its own control group."""


def own_cores() -> int:
    """Return how many cores this process may use; in a container its share of them, rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # The second version of control groups has both numbers in one file, the first in two.
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        numbers = [number for file in files for number in _numbers(file)]
        if len(numbers) == 2 and min(numbers) > 0:
            cores = min(cores, math.ceil(numbers[0] / numbers[1]))
    return max(1, cores)


def own_memory() -> int:
    """Return the memory of this machine in bytes; in a container its own."""
    bounds = (*_numbers("memory.max"), *_numbers("memory/memory.limit_in_bytes"))
    return min(int(psutil.virtual_memory().total), *(bound for bound in bounds if bound > 0), 2**63)


def _numbers(file: str) -> list[int]:
    """Return the numbers in a file of the control group; words such as `max`, for no limit, count as none."""
    try:
        return [int(word) for word in (_GROUPS / file).read_text().split() if word.lstrip("-").isdecimal()]
    except OSError:
        return []
