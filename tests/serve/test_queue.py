"""What is accepted stays, and ends once."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from smoothscan.errors import OutputError
from smoothscan.serve.payload import Event
from smoothscan.serve.queue import MOST_ATTEMPTS, RETENTION, Queue, QueueUnavailableError, pause_after

from .deliveries import query


class Time:
    """Seconds that go on when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def queue(tmp_path: Path, time: Time) -> Any:
    queue = Queue(tmp_path / "queue.db", 100, time)
    yield queue
    queue.close()


def new(name: str = "digits", version: str = "1") -> Event:
    return Event("model_version.created", (name, version))


def rows(queue: Queue, columns: str = "state, outcome") -> list[tuple[Any, ...]]:
    return query(queue.path, f"SELECT {columns} FROM deliveries ORDER BY number")


def test_a_delivery_is_taken_once(queue: Queue) -> None:
    assert [queue.put("a", new()), queue.put("a", new()), queue.put("b", new())] == ["queued", "duplicate", "queued"]
    assert queue.take(5) == [("digits", "1")]
    assert queue.put("a", new()) == "duplicate"
    queue.finish(("digits", "1"), "clean", "no trigger")
    assert queue.put("a", new()) == "duplicate"
    assert rows(queue) == [("done", "clean"), ("done", "clean")]


def test_a_delivery_during_the_scan_waits_for_the_next(queue: Queue) -> None:
    queue.put("a", new())
    queue.take(5)
    queue.put("b", new())
    queue.finish(("digits", "1"), "clean", "")
    assert rows(queue, "state") == [("done",), ("queued",)]
    assert queue.take(5) == [("digits", "1")]


def test_batches_follow_the_order_of_arrival(queue: Queue, time: Time) -> None:
    for number in range(5):
        time.seconds += 1
        queue.put(f"a{number}", new(version=str(number)))
    assert queue.take(3) == [("digits", "0"), ("digits", "1"), ("digits", "2")]


def test_a_full_queue_takes_no_more_but_knows_what_it_has(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "queue.db", 2)
    assert [queue.put(one, new()) for one in ("a", "b", "c", "a")] == ["queued", "queued", "full", "duplicate"]
    assert not queue.has_room()
    queue.take(1)
    assert queue.put("c", new()) == "full", "what is worked on counts as well"
    queue.finish(("digits", "1"), "clean", "")
    assert queue.has_room()
    assert queue.put("c", new()) == "queued"
    queue.close()


def test_what_a_dead_server_worked_on_is_taken_up_again_alone(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "queue.db", 100)
    for version in "123":
        queue.put(version, new(version=version))
    assert len(queue.take(2)) == 2
    queue.close()  # without a word about what was taken up, as after kill -9
    queue = Queue(tmp_path / "queue.db", 100)
    taken = []
    while versions := queue.take(2):
        taken.append(versions)
        for version in versions:
            queue.finish(version, "clean", "")
    assert taken == [[("digits", "1")], [("digits", "2")], [("digits", "3")]]
    assert rows(queue, "attempts") == [(2,), (2,), (1,)]
    queue.close()


def test_a_version_that_always_kills_the_server_is_given_up(queue: Queue) -> None:
    queue.put("a", new())
    for _ in range(MOST_ATTEMPTS):
        assert queue.take(5) == [("digits", "1")]
    assert queue.take(5) == []
    assert rows(queue) == [("failed", "given up")]


def test_an_interruption_on_purpose_does_not_count(queue: Queue) -> None:
    queue.put("a", new())
    for _ in range(2 * MOST_ATTEMPTS):
        assert queue.take(5) == [("digits", "1")]
        queue.put_back()
    assert rows(queue, "state, attempts") == [("queued", 0)]


def test_pauses_grow_and_end(queue: Queue, time: Time) -> None:
    queue.put("a", new())
    pauses = []
    while queue.take(5):
        lost = queue.postpone([("digits", "1")], "the registry did not answer")
        pause = queue.seconds_to_next()
        if pause is None:
            break
        pauses.append(pause)
        time.seconds += pause - 0.01
        assert queue.take(5) == [], "too early"
        time.seconds += 0.02
    assert lost == [("digits", "1")]
    assert pauses == pytest.approx([pause_after(n) for n in range(1, MOST_ATTEMPTS)], abs=0.05)
    assert pauses[:2] == pytest.approx([10, 20])
    assert 3 * 3600 < sum(pauses) < 6 * 3600
    assert rows(queue, "state, outcome, detail") == [
        ("failed", "given up", f"the registry did not answer; attempts: {MOST_ATTEMPTS}")
    ]


def test_a_later_delivery_brings_a_postponed_version_forward(queue: Queue) -> None:
    queue.put("a", new())
    queue.take(5)
    queue.postpone([("digits", "1")], "busy")
    queue.put("b", new())
    assert queue.take(5) == [("digits", "1")]
    queue.finish(("digits", "1"), "clean", "")
    assert rows(queue) == [("done", "clean")] * 2


def test_a_version_that_was_tried_before_joins_no_batch(queue: Queue, time: Time) -> None:
    queue.put("a", new(version="1"))
    queue.take(5)
    queue.postpone([("digits", "1")], "busy")
    queue.put("b", new(version="2"))
    time.seconds += 60
    assert [queue.take(5), queue.postpone([("digits", "2")], "busy"), queue.take(5)] == [
        [("digits", "2")],
        [],
        [("digits", "1")],
    ]


def test_old_results_go_and_nothing_else(queue: Queue, time: Time) -> None:
    queue.put("old", new())
    queue.take(1)
    queue.finish(("digits", "1"), "clean", "")
    time.seconds += RETENTION - 1
    queue.put("open", new())
    queue.prune()
    assert len(rows(queue)) == 2
    time.seconds += 2 + RETENTION
    queue.prune()
    assert rows(queue, "delivery_id, state") == [("open", "queued")]


def test_depth(queue: Queue, time: Time) -> None:
    assert queue.depth().oldest_age == 0
    queue.put("a", new(version="1"))
    time.seconds += 7
    queue.put("b", new(version="2"))
    queue.take(1)
    depth = queue.depth()
    assert depth.rows == {"queued": 1, "working": 1, "done": 0, "failed": 0}
    assert depth.oldest_age == 7


def test_many_threads_put_at_once(queue: Queue) -> None:
    answers: Counter[str] = Counter()

    def put(worker: int) -> None:
        for number in range(20):
            answers[queue.put(f"{number}-{worker % 4}", new())] += 1

    threads = [threading.Thread(target=put, args=[worker]) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {"queued": 80, "duplicate": 80}
    assert len(rows(queue)) == 80


def test_a_file_that_cannot_be_written_is_no_crash(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "queue.db", 100)
    queue.put("a", new())
    query(queue.path, "DROP TABLE deliveries")
    for use in (lambda: queue.put("b", new()), lambda: queue.take(1), queue.has_room, queue.depth):
        with pytest.raises(QueueUnavailableError, match="no such table"):
            use()
    queue.close()


@pytest.mark.parametrize("kind", ["garbage", "folder", "file in the way"])
def test_a_queue_that_cannot_be_used_is_one_message(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "queue.db"
    if kind == "garbage":
        path.write_bytes(b"no database" * 1000)
    elif kind == "folder":
        path.mkdir()
    else:
        (tmp_path / "in the way").write_bytes(b"")
        path = tmp_path / "in the way" / "queue.db"
    with pytest.raises(OutputError, match="cannot be used") as caught:
        Queue(path, 100)
    assert "--queue" in caught.value.hint


def test_one_server_for_each_queue(queue: Queue) -> None:
    with pytest.raises(OutputError, match="Another server"):
        Queue(queue.path, 100)


def test_a_path_is_no_url(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "what?mode=ro&x#y%20.db", 100)
    assert queue.put("a", new()) == "queued"
    assert queue.path.is_file()
    queue.close()
