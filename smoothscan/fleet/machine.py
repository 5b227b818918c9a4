"""How many scans this machine can do side by side, so that no two fight over cores, memory or an accelerator."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from smoothscan.capacity import own_memory

NEEDED_BYTES = 2 * 2**30
"""Memory of one scan beside its activations: the interpreter twice, torch twice, and a model of a few hundred MB."""
_DRIVERS = (Path("/proc/driver/nvidia/gpus"), Path("/dev/kfd"))
_COUNT = "import torch; print(torch.cuda.device_count())"


@dataclass(frozen=True)
class Share:
    """What one worker may use."""

    threads: int
    """CPU threads of the model."""
    accelerator: str | None = None
    """The accelerator that it sees, as in CUDA_VISIBLE_DEVICES; None on a machine without."""


def shares(
    workers: int | None,
    *,
    threads: int | None,
    device: str,
    memory_bytes: int,
    cores: int,
    accelerators: tuple[str, ...],
) -> tuple[Share, ...]:
    """Divide a machine between workers.

    On accelerators there is one worker for each. On the CPU there is one for each core, as far as memory goes: scans
    of small models side by side on one thread each do more than one after the other on all threads.

    Args:
        workers: how many; None to choose.
        threads: CPU threads of each; None to divide the cores.
        device: torch device that the user asked for.
        memory_bytes: memory for the activations of one scan.
        cores: cores of this machine that this process may use.
        accelerators: accelerators of this machine.
    """
    if device == "cpu":
        accelerators = ()
    named = device not in ("auto", "cpu", "cuda")  # such as cuda:1; who uses it sees the others too, so that 1 is right
    if workers is None:
        room = max(1, own_memory() // (NEEDED_BYTES + 2 * memory_bytes))
        workers = len(accelerators[:1] if named else accelerators) or max(1, min(cores // (threads or 1), room))
    each = threads or max(1, cores // workers)
    own = accelerators and not named
    return tuple(Share(each, accelerators[n % len(accelerators)] if own else None) for n in range(workers))


def own_accelerators() -> tuple[str, ...]:
    """Return the accelerators that torch sees here, as CUDA_VISIBLE_DEVICES names them."""
    if not any(driver.exists() for driver in _DRIVERS):
        return ()
    # In a process of its own: torch takes seconds and hundreds of megabytes that the sweep itself has no use for.
    counted = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, text=True, check=False)  # noqa: S603
    count = int(counted.stdout) if counted.stdout.strip().isdigit() else 0
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return tuple(named[:count]) if named else tuple(map(str, range(count)))
