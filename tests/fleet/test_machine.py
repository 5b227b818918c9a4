from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from smoothscan.fleet import machine
from smoothscan.fleet.machine import Share, own_accelerators, shares


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Memory of the machine, in GiB."""
    size = {"total": 64}
    monkeypatch.setattr(machine, "own_memory", lambda: size["total"] * 2**30)
    return size


def divided(**changes: Any) -> list[tuple[int, str | None]]:
    values: dict[str, Any] = {
        "workers": None, "threads": None, "device": "auto", "memory_bytes": 2**29, "cores": 8, "accelerators": (),
    }  # fmt: skip
    return [(share.threads, share.accelerator) for share in shares(**(values | changes))]


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_on_cores_there_is_a_worker_with_one_thread_for_each(cores: int) -> None:
    assert divided(cores=cores) == [(1, None)] * cores


@pytest.mark.parametrize(
    ("workers", "threads", "expected"),
    [
        (None, 4, [4, 4]),
        (None, 3, [3, 3]),
        (None, 16, [16]),  # more than there are: one worker, as the user wants it
        (2, None, [4, 4]),
        (3, None, [2, 2, 2]),
        (1, None, [8]),
        (12, None, [1] * 12),
        (2, 1, [1, 1]),
    ],
)
def test_the_user_decides(workers: int | None, threads: int | None, expected: list[int]) -> None:
    assert divided(workers=workers, threads=threads) == [(each, None) for each in expected]


@pytest.mark.parametrize(("gigabytes", "activations", "workers"), [(1, 2**29, 1), (7, 2**29, 2), (64, 2**33, 3)])
def test_memory_is_no_less_scarce_than_cores(
    memory: dict[str, int], gigabytes: int, activations: int, workers: int
) -> None:
    memory["total"] = gigabytes
    found = divided(memory_bytes=activations)
    assert len(found) == workers
    assert sum(threads for threads, _ in found) <= 8
    assert len(divided(memory_bytes=activations, workers=5)) == 5


def test_each_accelerator_has_a_worker_of_its_own() -> None:
    assert divided(accelerators=("0",)) == [(8, "0")]
    four = ("0", "1", "5", "7")
    assert divided(accelerators=four) == [(2, each) for each in four]
    assert divided(accelerators=four, device="cuda", cores=2) == [(1, each) for each in four]
    assert divided(accelerators=four, workers=2) == [(4, "0"), (4, "1")]
    assert [each for _, each in divided(accelerators=four, workers=6)] == ["0", "1", "5", "7", "0", "1"]


def test_the_cpu_may_be_asked_for_on_a_machine_with_accelerators() -> None:
    assert divided(accelerators=("0", "1"), device="cpu", cores=2) == [(1, None)] * 2


def test_scans_on_one_named_accelerator_come_one_after_another() -> None:
    assert divided(accelerators=("0", "1", "2", "3"), device="cuda:1") == [(8, None)]


class TestAccelerators:
    @pytest.fixture(autouse=True)
    def _driver(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "gpus").mkdir()
        monkeypatch.setattr(machine, "_DRIVERS", (tmp_path / "gpus",))
        monkeypatch.setattr(machine, "_COUNT", "print(2)")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def test_they_are_counted_elsewhere(self) -> None:
        assert own_accelerators() == ("0", "1")

    def test_names_that_the_user_gave_stay(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aa,GPU-bb,GPU-cc")
        assert own_accelerators() == ("GPU-aa", "GPU-bb")

    @pytest.mark.parametrize("code", ["print('no torch')", "raise SystemExit(1)", ""])
    def test_there_are_none_where_they_cannot_be_counted(self, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(machine, "_COUNT", code)
        assert own_accelerators() == ()

    def test_nothing_is_started_where_there_is_no_driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(machine, "_DRIVERS", ())
        monkeypatch.setattr(sys, "executable", "/nonexistent")
        assert own_accelerators() == ()


def test_a_share_needs_no_accelerator() -> None:
    assert Share(2).accelerator is None
