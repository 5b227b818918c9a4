from __future__ import annotations

from typing import Any

import pytest

from smoothscan.fleet import machine
from smoothscan.fleet.machine import Share, shares


@pytest.fixture(autouse=True)
def _roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        total = 64 * 2**30

    monkeypatch.setattr(machine.psutil, "virtual_memory", Memory)


def divided(workers: int | None = None, **changes: Any) -> tuple[Share, ...]:
    usual = {"threads": None, "device": "auto", "memory_bytes": 2**29, "cores": 4, "accelerators": ()}
    return shares(workers, **{**usual, **changes})


def test_on_the_cpu_each_core_has_a_worker_and_each_worker_a_thread() -> None:
    assert divided() == (Share(1),) * 4
    assert divided(cores=1) == (Share(1),)
    assert divided(2) == (Share(2),) * 2
    assert divided(threads=4) == (Share(4),)
    assert divided(8) == (Share(1),) * 8


def test_memory_bounds_the_workers() -> None:
    assert len(divided(cores=64)) == 21
    assert len(divided(cores=64, memory_bytes=15 * 2**30)) == 2
    assert len(divided(memory_bytes=2**40)) == 1


def test_each_accelerator_has_one_worker_unless_more_are_asked_for() -> None:
    assert divided(accelerators=("0", "1")) == (Share(2, "0"), Share(2, "1"))
    assert [share.accelerator for share in divided(3, accelerators=("0", "1"))] == ["0", "1", "0"]
    assert divided(accelerators=("0", "1"), device="cpu") == (Share(1),) * 4
