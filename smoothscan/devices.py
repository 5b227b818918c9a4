"""What torch computes on, and in which arithmetic it is fast there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from smoothscan.errors import ConfigError

_ACCELERATORS = ("cuda", "mps", "xpu")


def require_device(wanted: str) -> None:
    """Make sure that this machine has the device that `wanted` names; `auto` always is some.

    Raises:
        ConfigError: it has not, or there is no such device at all.
    """
    if wanted == "auto" or _is_here(wanted):
        return
    here = ["cpu", *(f"{kind}:{n}" for kind in _ACCELERATORS for n in range(_count(kind)))]
    raise ConfigError(
        f"This machine has no device {wanted!r} that torch can use; it has {', '.join(here)}.",
        "Pass one of these as --device, or leave it out; smoothscan doctor shows what torch sees here.",
    )


def _is_here(wanted: str) -> bool:
    try:
        device = torch.device(wanted)
    except RuntimeError:  # no name of a device
        return False
    return device.type == "cpu" or (device.index or 0) < _count(device.type)


def _count(kind: str) -> int:
    """Return how many devices of a kind there are, without starting any."""
    try:
        return int(torch.get_device_module(kind).device_count())
    except RuntimeError:  # torch knows the name, and nothing else of it
        return 0


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
