"""The engine of this machine: real worker processes, in most tests with stubs for the scans."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from smoothscan.config import ScanConfig
from smoothscan.fleet.engines import local
from smoothscan.fleet.engines.interface import Job, Outcome
from smoothscan.fleet.engines.local import LocalEngine
from smoothscan.fleet.machine import Share
from smoothscan.result import ScanResult
from tests import planted
from tests.cli.program import ENVIRONMENT

from .stubs import jobs

ROOT = Path(__file__).parents[2]
CONFIG = ScanConfig(uri="models:/fine/1", images=Path("images"))


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers whose scans are stubs; what an engine starts is a program of its own, so it is replaced as a whole."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tests.fleet.worker\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(local, "_PATIENCE", 0.5)


@pytest.fixture
def engine(tmp_path: Path, stub: None) -> Iterator[Callable[..., LocalEngine]]:
    """Makes engines, one worker with one thread each unless said otherwise."""
    made: list[LocalEngine] = []

    def make(*shares: Share) -> LocalEngine:
        made.append(LocalEngine(shares or (Share(1),), tmp_path / "work"))
        return made[-1]

    yield make
    for each in made:
        each.close()


def models(folder: Path, *names: str, **changes: Any) -> Any:
    return jobs(CONFIG, folder, *({"uri": f"models:/{name}/1", **changes} for name in names))


def told(outcome: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(outcome.job.into.read_bytes())
    return found


def wait_for(found: Callable[[], Any], limit: float = 60) -> Any:
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if answer := found():
            return answer
        time.sleep(0.02)
    pytest.fail("it did not happen")


def pid_of(path: Path) -> Callable[[], int | None]:
    return lambda: int(path.read_text() or 0) if path.exists() else None


def test_every_end_of_a_job_is_told(engine: Callable[..., LocalEngine], tmp_path: Path) -> None:
    names = ["fine", "unchanged", "misused", "lost", "bug", "noisy", "killed", "exits", "fine"]
    outcomes = list(engine().run(models(tmp_path, *names)))
    assert [(each.job.config.uri.split("/")[1], each.ended, each.message, each.hint) for each in outcomes] == [
        ("fine", "scanned", "", ""),
        ("unchanged", "unchanged", "", ""),
        ("misused", "misused", "There are no images.", "Pass some."),
        ("lost", "crashed", "The server did not answer.", ""),
        ("bug", "crashed", "a bug in smoothscan: ZeroDivisionError: boom", ""),
        ("noisy", "scanned", "", ""),
        ("killed", "crashed", "The scanning process died: the last words", ""),
        ("exits", "crashed", "The scanning process died, without a word: perhaps there was not enough memory.", ""),
        ("fine", "scanned", "", ""),
    ]
    first, noisy, last = (told(outcomes[n])["pid"] for n in (0, 5, 8))
    assert first == noisy, "one process does one job after another"
    assert last != first, "one that died is replaced"
    assert all(each.seconds > 0 for each in outcomes)
    assert all(each.job.config.threads is None for each in outcomes), "jobs come back as they went"


def test_each_worker_keeps_to_its_share(engine: Callable[..., LocalEngine], tmp_path: Path) -> None:
    two = engine(Share(3, "GPU-a"), Share(3, "GPU-b"))
    assert two.describe() == "local, 2 workers with 3 threads each and accelerators GPU-a, GPU-b"
    found = [told(each) for each in two.run(models(tmp_path, "fine", "fine"))]
    assert {(each["threads"], each["accelerator"]) for each in found} == {(3, "GPU-a"), (3, "GPU-b")}
    assert len({each["temporary"] for each in found}) == 2
    assert engine().describe() == "local, 1 worker with 1 thread"


def test_no_more_jobs_are_taken_than_there_is_room_for(engine: Callable[..., LocalEngine], tmp_path: Path) -> None:
    waiting, under_way, most, settled = models(tmp_path, *["fine"] * 12), [0], [0], [0]

    def take() -> Job | None:
        job: Job | None = waiting()
        if job is not None:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0] - settled[0])
        return job

    for _ in engine(Share(1), Share(1)).run(take):
        settled[0] += 1
        time.sleep(0.02)
    assert settled[0] == 12
    assert most[0] <= 2 + 1, "two under way, and one that is told of"


def test_jobs_that_come_of_outcomes_are_done(engine: Callable[..., LocalEngine], tmp_path: Path) -> None:
    first, second = models(tmp_path, "lost"), models(tmp_path / "second", "fine")
    (tmp_path / "second").mkdir()
    later: list[Job] = []
    ended = []
    for outcome in engine(Share(1), Share(1)).run(lambda: first() or (later.pop() if later else None)):
        ended.append(outcome.ended)
        if outcome.ended == "crashed":
            later.append(second())
    assert ended == ["crashed", "scanned"]


def test_an_overdue_scan_is_killed_and_others_are_not(
    engine: Callable[..., LocalEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "GRACE", 0.5)
    one = engine()
    assert [each.ended for each in one.run(models(tmp_path, "fine"))] == ["scanned"]
    start = time.monotonic()
    take = jobs(CONFIG, tmp_path, {"uri": "models:/slow/1", "time_limit": 0.25}, {"uri": "models:/fine/1"})
    late, next_one = one.run(take)
    assert (late.ended, next_one.ended) == ("overdue", "scanned")
    assert "and was killed" in late.message
    assert time.monotonic() - start < 10
    pid = pid_of(tmp_path / "0.pid")()
    assert pid is not None
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("name", ["slow", "deaf"])
def test_closing_stops_what_is_under_way(engine: Callable[..., LocalEngine], tmp_path: Path, name: str) -> None:
    two = engine(Share(1), Share(1))
    outcomes = two.run(models(tmp_path, "fine", name, name))
    assert next(outcomes).ended == "scanned"
    pids = [wait_for(pid_of(tmp_path / f"{n}.pid")) for n in (1, 2)]
    start = time.monotonic()
    two.close()
    assert time.monotonic() - start < 10
    assert not any(psutil.pid_exists(pid) for pid in pids)
    left = list((tmp_path / "work").glob("worker-*/busy"))
    assert len(left) == (0 if name == "slow" else 2), "a worker that can cleans up"
    two.close()


_SWEEP = """
import sys
import threading
from pathlib import Path
from smoothscan.config import ScanConfig
from smoothscan.fleet.engines.local import LocalEngine
from smoothscan.fleet.machine import Share
from tests.fleet.stubs import jobs

folder = Path(sys.argv[1])
sys.executable = str(folder / "python")
config = ScanConfig(uri="", images=Path("images"))
take = jobs(config, folder, {"uri": "models:/slow/1"}, {"uri": "models:/deaf/1"})
list(LocalEngine((Share(1), Share(1)), folder / "work").run(take))
"""


@pytest.mark.usefixtures("stub")
def test_workers_end_when_the_sweep_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # this process needs the real one
    sweep = subprocess.Popen([sys.executable, "-c", _SWEEP, str(tmp_path)], cwd=ROOT, env=ENVIRONMENT)
    workers = [psutil.Process(wait_for(pid_of(tmp_path / f"{n}.pid"))) for n in (0, 1)]
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.wait()
    assert psutil.wait_procs(workers, timeout=15)[1] == []


def test_a_real_scan(scanned_here: ScanResult, real: ScanConfig) -> None:
    assert scanned_here.status == "completed"
    assert scanned_here.verdict in ("suspicious", "backdoored")
    assert scanned_here.target_classes == (planted.TARGET,)
    assert scanned_here.config["threads"] == 1
    assert scanned_here.config["images"] == str(real.images)


def test_a_killed_worker_takes_the_models_process_with_it(real: ScanConfig, tmp_path: Path) -> None:
    engine = LocalEngine((Share(1),), tmp_path)
    paper = {"profile": "paper", "calibration": None}  # takes minutes
    ended: list[Outcome] = []
    thread = threading.Thread(target=lambda: ended.extend(engine.run(jobs(real, tmp_path, paper))))
    thread.start()
    mine = psutil.Process()
    (worker,) = wait_for(lambda: [each for each in mine.children() if "smoothscan.fleet.worker" in each.cmdline()])
    hosts = wait_for(lambda: worker.children(recursive=True))
    worker.kill()
    thread.join(30)
    engine.close()
    assert [each.ended for each in ended] == ["crashed"]
    assert psutil.wait_procs(hosts, timeout=20)[1] == []
