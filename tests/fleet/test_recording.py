from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from smoothscan.errors import OutputError
from smoothscan.fleet.recording import Piece, Recorder
from smoothscan.posture import Standing
from tests.sinks.postures import standing

SERVER = "http://mlflow.example"


class Desk:
    """Pieces of work that last until they are let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.go = threading.Semaphore(0)

    def piece(self, name: str, error: BaseException | None = None) -> Piece:
        def work() -> Standing:
            self.begun.append(name)
            assert self.go.acquire(timeout=20)
            if error is not None:
                raise error
            return standing(name, "1")

        return work

    def await_begun(self, number: int) -> None:
        deadline = time.monotonic() + 20
        while len(self.begun) < number and time.monotonic() < deadline:
            time.sleep(0.005)


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.go.release(100)


def name_of(taken: Standing | None) -> str:
    assert taken is not None
    return taken.name


@pytest.mark.parametrize(("registry", "at_once"), [(SERVER, 4), ("sqlite:////registry.db", 1)])
def test_a_server_gets_several_at_a_time_a_file_one(desk: Desk, registry: str, at_once: int) -> None:
    recorder = Recorder(registry)
    added = 0
    while not recorder.is_full:
        recorder.add(desk.piece(str(added)))
        added += 1
    desk.await_begun(at_once)
    time.sleep(0.05)
    assert len(desk.begun) == at_once
    assert added == 2 * at_once + 1, "no more than a few wait"
    assert recorder.take(wait=False) is None, "none has ended"
    desk.go.release(added)
    assert {name_of(recorder.take(wait=True)) for _ in range(added)} == set(map(str, range(added)))
    assert (recorder.take(wait=True), recorder.pending) == (None, 0)
    assert list(recorder.stop()) == []


def test_an_error_reaches_the_one_who_asks(desk: Desk) -> None:
    recorder = Recorder(SERVER)
    recorder.add(desk.piece("bad", OutputError("Cannot write.", "Make room.")))
    desk.go.release()
    with pytest.raises(OutputError, match="Cannot write"):
        recorder.take(wait=True)
    assert recorder.pending == 0


def test_who_stops_waits_for_what_is_begun_and_leaves_the_rest(desk: Desk) -> None:
    recorder = Recorder("sqlite://")
    for name, error in (("first", None), ("second", ValueError("no")), ("third", None)):
        recorder.add(desk.piece(name, error))
    desk.await_begun(1)
    threading.Timer(0.1, desk.go.release, (3,)).start()
    assert [each.name for each in recorder.stop()] == ["first"]
    assert (desk.begun, recorder.pending) == (["first"], 0)
    assert list(recorder.stop()) == []


def test_after_a_stop_it_can_be_used_again(desk: Desk) -> None:
    recorder = Recorder(SERVER)
    desk.go.release(2)
    for _ in range(2):
        recorder.add(desk.piece("a"))
        assert name_of(recorder.take(wait=True)) == "a"
        assert list(recorder.stop()) == []
