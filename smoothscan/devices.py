"""What torch computes on, and in which arithmetic it is fast there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch


def pick_device(wanted: str) -> torch.device:
    """Return the device that `wanted` names; `auto` is the accelerator if there is one."""
    if wanted != "auto":
        return torch.device(wanted)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def native_bfloat16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 in hardware; elsewhere it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    supported = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return device.type == "cpu" and any(check() for check in supported if check is not None)


@contextmanager
def on_threads(count: int | None) -> Iterator[int]:
    """Keep torch's arithmetic in this thread on so many cores; yield how many there were. None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


def one_thread() -> AbstractContextManager[int]:
    """Keep torch's arithmetic in this thread on one core, since others work beside it; yield how many there were."""
    return on_threads(1)
