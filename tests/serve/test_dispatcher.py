"""Every accepted delivery ends in one recorded result, whatever the scanner does."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from smoothscan.errors import RegistryError
from smoothscan.events import Silent
from smoothscan.posture import Standing
from smoothscan.serve.dispatcher import BATCH, Dispatcher
from smoothscan.serve.interface import Version
from smoothscan.serve.metrics import Metrics
from smoothscan.serve.payload import Event
from smoothscan.serve.queue import MOST_ATTEMPTS, Queue, QueueUnavailableError

from .deliveries import query, standing

Scan = Callable[[Sequence[Version]], Mapping[Version, Standing]]


class Time:
    """Seconds that go on when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def __call__(self) -> float:
        return self.seconds


class Heard(Silent):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str) -> None:
        self.lines.append(message)

    def warning(self, message: str) -> None:
        self.lines.append(f"warning: {message}")


class Stage:
    """A queue, and a scanner that does what a test says."""

    def __init__(self, folder: Path) -> None:
        self.time = Time()
        self.queue = Queue(folder / "queue.db", 1000, self.time)
        self.batches: list[list[Version]] = []
        self.heard = Heard()
        self.scan: Scan = lambda versions: {version: standing(version) for version in versions}
        self.metrics = Metrics(self.queue)
        self.dispatcher = Dispatcher(self.queue, self._scan, self.heard, self.metrics, self.time)

    def _scan(self, versions: Sequence[Version], /) -> Mapping[Version, Standing]:
        self.batches.append(list(versions))
        return self.scan(versions)

    def put(self, *versions: str) -> None:
        for version in versions:
            self.queue.put(uuid.uuid4().hex, Event("model_version.created", ("m", version)))

    def rows(self, columns: str = "version, state, outcome") -> list[tuple[Any, ...]]:
        return query(self.queue.path, f"SELECT {columns} FROM deliveries ORDER BY number")

    def until_idle(self) -> None:
        """Work, and let time pass, until nothing waits."""
        while self.queue.depth().rows["queued"]:
            self.time.seconds += self.dispatcher.step()

    def metric(self, line: str) -> bool:
        return f"\n{line}\n" in self.metrics.exposition().decode()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.queue.close()


def test_results_are_recorded(stage: Stage) -> None:
    verdicts = {"1": {"verdict": "clean"}, "2": {"verdict": "backdoored"}, "3": {"verdict": None, "status": "refused"}}
    stage.scan = lambda versions: {v: standing(v, reason=f"of {v[1]}", **verdicts[v[1]]) for v in versions}
    stage.put("1", "2", "3")
    stage.until_idle()
    assert stage.batches == [[("m", "1"), ("m", "2"), ("m", "3")]]
    assert stage.rows("version, state, outcome, detail") == [
        ("1", "done", "clean", "of 1"),
        ("2", "done", "backdoored", "of 2"),
        ("3", "done", "refused", "of 3"),
    ]
    assert stage.metric('smoothscan_scans_total{result="backdoored"} 1.0')


def test_several_deliveries_about_a_version_are_one_scan(stage: Stage) -> None:
    stage.put("1", "2", "1", "1")
    stage.until_idle()
    assert stage.batches == [[("m", "1"), ("m", "2")]]
    assert [row[1] for row in stage.rows()] == ["done"] * 4


def test_batches_are_bounded(stage: Stage) -> None:
    stage.put(*map(str, range(BATCH + 3)))
    stage.until_idle()
    assert [len(batch) for batch in stage.batches] == [BATCH, 3]


def test_a_registry_that_does_not_answer_stops_everything_for_a_while(stage: Stage) -> None:
    def down(_versions: Sequence[Version]) -> Mapping[Version, Standing]:
        raise RegistryError("the registry does not answer")

    works, stage.scan = stage.scan, down
    stage.put("1")
    assert stage.dispatcher.step() == 0
    assert stage.metric("smoothscan_scanner_held_up 1.0")
    stage.put("2")
    assert stage.dispatcher.step() == 10, "a new delivery does not bring the registry back"
    assert stage.batches == [[("m", "1")]]
    stage.time.seconds += 10
    stage.scan = works
    stage.until_idle()
    assert stage.rows() == [("1", "done", "clean"), ("2", "done", "clean")]
    assert stage.metric("smoothscan_scanner_held_up 0.0")
    assert any("the registry does not answer" in line for line in stage.heard.lines)


def test_a_registry_that_stays_away_ends_in_recorded_failures(stage: Stage) -> None:
    def down(_versions: Sequence[Version]) -> Mapping[Version, Standing]:
        raise RegistryError("the registry does not answer")

    stage.scan = down
    stage.put("1", "2")
    stage.until_idle()
    assert stage.rows() == [("1", "failed", "given up"), ("2", "failed", "given up")]
    assert "the registry does not answer" in stage.rows("detail")[0][0]
    assert stage.time.seconds - 1_700_000_000 > 3600
    assert sum("given up" in line for line in stage.heard.lines) == 2


@pytest.mark.parametrize("answer", ["nothing", "pending"])
def test_a_version_that_is_not_reached_is_tried_again_and_stops_no_other(stage: Stage, answer: str) -> None:
    def scan(versions: Sequence[Version]) -> Mapping[Version, Standing]:
        found = {version: standing(version) for version in versions if version[1] != "1"}
        if answer == "pending" and ("m", "1") in versions:
            found["m", "1"] = standing(("m", "1"), action="pending", status=None, verdict=None)
        return found

    stage.scan = scan
    stage.put("1", "2")
    stage.dispatcher.step()
    assert stage.rows("state") == [("queued",), ("done",)]
    stage.put("3")
    stage.dispatcher.step()
    assert stage.batches == [[("m", "1"), ("m", "2")], [("m", "3")]], "the other one does not wait for it"
    stage.until_idle()
    assert stage.rows()[0] == ("1", "failed", "given up")
    assert len(stage.batches) == 2 + MOST_ATTEMPTS - 1
    assert stage.metric(f"smoothscan_scans_postponed_total {float(MOST_ATTEMPTS)}")


def test_a_bug_that_one_version_brings_out_takes_no_other_along(stage: Stage) -> None:
    def scan(versions: Sequence[Version]) -> Mapping[Version, Standing]:
        if ("m", "2") in versions:
            raise ZeroDivisionError("boom")
        return {version: standing(version) for version in versions}

    stage.scan = scan
    stage.put("1", "2", "3")
    stage.until_idle()
    assert stage.rows() == [("1", "done", "clean"), ("2", "failed", "given up"), ("3", "done", "clean")]
    assert any("bug in smoothscan: ZeroDivisionError: boom" in line for line in stage.heard.lines)


def test_nor_does_anybody_wait_for_it(stage: Stage) -> None:
    def scan(versions: Sequence[Version]) -> Mapping[Version, Standing]:
        if ("m", "1") in versions:
            raise ZeroDivisionError("boom")
        return {version: standing(version) for version in versions}

    stage.scan = scan
    stage.put("1")
    assert stage.dispatcher.step() == 0
    stage.put("2")
    assert stage.dispatcher.step() == 0
    assert stage.rows("version, state") == [("1", "queued"), ("2", "done")]
    assert stage.metric("smoothscan_scanner_held_up 0.0")


def test_an_interruption_goes_through_and_loses_nothing(stage: Stage) -> None:
    def interrupted(_versions: Sequence[Version]) -> Mapping[Version, Standing]:
        raise KeyboardInterrupt

    works, stage.scan = stage.scan, interrupted
    stage.put("1")
    with pytest.raises(KeyboardInterrupt):
        stage.dispatcher.run()
    stage.queue.put_back()
    assert stage.rows("state, attempts") == [("queued", 0)]
    stage.scan = works
    stage.until_idle()
    assert stage.rows("state, attempts") == [("done", 1)]


def test_a_result_that_cannot_be_recorded_is_asked_for_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that was full for a moment; the scanner then knows the result without a scan."""

    def full(*_arguments: object) -> None:
        raise QueueUnavailableError("database or disk is full")

    stage.put("1")
    with monkeypatch.context() as patch:
        patch.setattr(stage.queue, "finish", full)
        with pytest.raises(QueueUnavailableError):
            stage.dispatcher.step()
    stage.dispatcher.step()
    assert stage.rows() == [("1", "done", "clean")]
    assert len(stage.batches) == 2


def test_the_loop_sleeps_until_it_is_woken_and_ends_when_told(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "queue.db", 10)
    scanned = threading.Event()

    def scan(versions: Sequence[Version], /) -> Mapping[Version, Standing]:
        scanned.set()
        return {version: standing(version) for version in versions}

    dispatcher = Dispatcher(queue, scan, Silent(), Metrics(queue))
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    assert not scanned.wait(0.1)
    queue.put("a", Event("model_version.created", ("m", "1")))
    dispatcher.wake()
    assert scanned.wait(10)
    dispatcher.end()
    thread.join(10)
    assert not thread.is_alive()
    assert queue.depth().rows["done"] == 1
    queue.close()
