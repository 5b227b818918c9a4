"""Changes to the process's surroundings that are undone afterwards: environment variables, loggers, signals."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_LOCK = threading.Lock()
_SET: Counter[str] = Counter()
"""Environment variables that are set here for a while, each with the number of those who want it now."""
_QUIETED: dict[str, tuple[int, list[int]]] = {}
"""Loggers that are quieted here: the level that each had before, and the levels that are asked for now."""


@contextmanager
def environment(defaults: dict[str, str]) -> Iterator[None]:
    """Set environment variables that the user has not set; when the last thread is done with one, it is taken away."""
    with _LOCK:
        own = [name for name in defaults if name in _SET or name not in os.environ]
        for name in own:
            os.environ.setdefault(name, defaults[name])
        _SET.update(own)
    try:
        yield
    finally:
        with _LOCK:
            _SET.subtract(own)
            for name in own:
                if not _SET[name]:
                    del _SET[name]
                    os.environ.pop(name, None)


def lasting_environment() -> dict[str, str]:
    """Return the environment without what is set in it for a while, for processes that outlive that."""
    with _LOCK:
        return {name: value for name, value in os.environ.items() if name not in _SET}


@contextmanager
def quiet(*names: str, level: int = logging.WARNING) -> Iterator[None]:
    """Keep what these loggers say below `level` off the terminal; of several threads the one that asks for most."""
    with _LOCK:
        for name in names:
            before, asked = _QUIETED.setdefault(name, (logging.getLogger(name).level, []))
            asked.append(level)
            logging.getLogger(name).setLevel(max(asked))
    try:
        yield
    finally:
        with _LOCK:
            for name in names:
                before, asked = _QUIETED[name]
                asked.remove(level)
                if not asked:
                    del _QUIETED[name]
                logging.getLogger(name).setLevel(max(asked, default=before))


@contextmanager
def kept_handler(number: int) -> Iterator[None]:
    """Undo what a library does to the handling of a signal; outside of the main thread it can do nothing to it."""
    before = signal.getsignal(number)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(number, before)


@contextmanager
def held_signals() -> Iterator[list[int]]:
    """Hold back Ctrl-C and SIGTERM, so that work which must not be cut in the middle can come to a stop by itself.

    Yields:
        The signals that came; empty until then. They take effect afterwards, a second one at once.
    """
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def hold(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            restore()
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, hold)
    try:
        yield came
    finally:
        restore()
        if came:
            signal.raise_signal(came[0])
