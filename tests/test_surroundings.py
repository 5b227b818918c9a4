from __future__ import annotations

import signal
from contextlib import suppress

from smoothscan.surroundings import held_signals


def work(signals: int) -> list[int]:
    """Work that Ctrl-C comes in between of; returns how often it had come after each part that was done."""
    parts: list[int] = []
    with suppress(KeyboardInterrupt), held_signals() as came:
        for _ in range(signals):
            signal.raise_signal(signal.SIGINT)
            parts.append(len(came))
        return parts
    return [*parts, -1]


def test_ctrl_c_waits_for_the_end_of_the_work() -> None:
    assert work(signals=0) == []
    assert work(signals=1) == [1, -1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_one_does_not_wait() -> None:
    assert work(signals=2) == [1, -1]


def test_work_that_nobody_stops_changes_nothing() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with held_signals() as came:
        assert came == []
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
