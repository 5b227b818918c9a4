from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from smoothscan import capacity
from smoothscan.capacity import own_cores, own_memory

GIB = 2**30


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Control groups of a container on a machine with eight cores and 64 GiB."""
    monkeypatch.setattr(capacity, "_GROUPS", tmp_path)
    monkeypatch.setattr(capacity.os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    monkeypatch.setattr(capacity.psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * GIB))
    return tmp_path


def write(groups: Path, **files: str) -> None:
    for name, text in files.items():
        path = groups / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n")


def test_of_this_machine_there_is_something() -> None:
    assert own_cores() >= 1
    assert own_memory() >= 2**28


def test_without_a_container_it_is_the_machine(groups: Path) -> None:
    assert (own_cores(), own_memory()) == (8, 64 * GIB)


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("9900000 100000", 8),
    ],
)
def test_a_container_has_its_share_of_the_cores(groups: Path, text: str, cores: int) -> None:
    write(groups, cpu_dot_max=text)
    assert own_cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("300000", 3), ("10000", 1)])
def test_older_control_groups_have_two_files(groups: Path, quota: str, cores: int) -> None:
    write(groups, cpu__cpu_dot_cfs_quota_us=quota, cpu__cpu_dot_cfs_period_us="100000")
    assert own_cores() == cores


@pytest.mark.parametrize("file", ["memory_dot_max", "memory__memory_dot_limit_in_bytes"])
@pytest.mark.parametrize(("text", "expected"), [("max", 64), (str(8 * GIB), 8), (str(2**63 - 4096), 64)])
def test_a_container_has_its_own_memory(groups: Path, file: str, text: str, expected: int) -> None:
    write(groups, **{file: text})
    assert own_memory() == expected * GIB


def test_cores_are_those_that_the_process_may_use(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity.os, "sched_getaffinity", lambda _pid: {3, 5}, raising=False)
    assert own_cores() == 2
