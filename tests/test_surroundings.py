from __future__ import annotations

import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from smoothscan.surroundings import environment, held_signals, lasting_environment, quiet


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


class TestSeveralThreads:
    """What one of them is done with may be what another one still needs."""

    def test_variables_stay_until_the_last_is_done(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SMOOTHSCAN_TEST_OWN", "the user's")
        wanted = {"SMOOTHSCAN_TEST": "1", "SMOOTHSCAN_TEST_OWN": "ours"}
        first, second = environment(wanted), environment(wanted)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert os.environ["SMOOTHSCAN_TEST"] == "1"
        assert "SMOOTHSCAN_TEST" not in lasting_environment(), "a process that lives on must not inherit it"
        second.__exit__(None, None, None)
        assert "SMOOTHSCAN_TEST" not in os.environ
        assert os.environ["SMOOTHSCAN_TEST_OWN"] == lasting_environment()["SMOOTHSCAN_TEST_OWN"] == "the user's"

    def test_loggers_are_as_quiet_as_any_asks_and_louder_after_the_last(self) -> None:
        logger = logging.getLogger("smoothscan.test.quiet")
        logger.setLevel(logging.DEBUG)
        first, second = quiet(logger.name, level=logging.ERROR), quiet(logger.name)
        first.__enter__()
        second.__enter__()
        assert logger.level == logging.ERROR
        first.__exit__(None, None, None)
        assert logger.level == logging.WARNING
        second.__exit__(None, None, None)
        assert logger.level == logging.DEBUG

    def test_a_crowd_leaves_everything_as_it_was(self) -> None:
        before, level = dict(os.environ), logging.getLogger("smoothscan.test.quiet").level

        def work() -> None:
            for _ in range(200):
                with environment({"SMOOTHSCAN_TEST": "1"}), quiet("smoothscan.test.quiet"):
                    assert os.environ["SMOOTHSCAN_TEST"] == "1"
                    lasting_environment()

        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(work) for _ in range(8)]:
                done.result()
        assert dict(os.environ) == before
        assert logging.getLogger("smoothscan.test.quiet").level == level
