"""Progress for programs: one JSON object a line, on standard error. Fields are added, never changed.

Standard output stays as it is. Libraries may print to standard error as well: whoever reads these lines skips those
that do not begin with `{`.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from smoothscan.cli.clock import Clock
from smoothscan.events import Ranked
from smoothscan.result import Record
from smoothscan.sinks.text import plain

EventName = Literal["stage", "progress", "ranking", "info", "note", "warning", "error", "end"]

_EVERY = 1.0
"""Seconds between two lines on the progress of a stage."""
_RANKED = 5
"""Classes of a ranking."""
_LONGEST = 4000
"""Characters of a text."""


class RankedClass(Record):
    """One of the most suspect classes so far."""

    index: int
    """Class."""
    label: str
    """Name of the class."""
    transfer_rate: float
    """Share of the held-out images that move to it at the newest budget, in [0, 1]."""
    budget: float | None = None
    """Budget at which it transfers, once known."""


class Line(Record):
    """One line of `--progress json`; what an event has nothing to say of is left out."""

    model_config = ConfigDict(extra="forbid")

    time: str
    """UTC, ISO 8601."""
    event: EventName
    """`stage`: a new stage begins. `progress`: how far it is. `ranking`: the most suspect classes so far. `info` (with
    `--verbose` only), `note`, `warning`: something to read. `error`: why the command ends. `end`: the last line."""
    stage: str | None = None
    """The stage, such as `download`, `probe` or `invert`."""
    message: str | None = None
    """For people, one line."""
    done: float | None = None
    """Units of the stage that are finished."""
    total: float | None = None
    """Units of the stage in all; it may change on the way."""
    eta_seconds: float | None = None
    """Seconds that the stage will still take at the present pace; left out where that is too early to say."""
    classes: tuple[RankedClass, ...] | None = Field(default=None, max_length=_RANKED)
    """The most suspect classes, the most suspect first."""
    hint: str | None = None
    """What to do about an error."""
    exit_code: int | None = None
    """Exit code of the command, in its last line."""


def write(event: EventName, **fields: Any) -> None:
    """Write one line; texts are made plain, and what JSON has no number for is left out."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = Line(time=now, event=event, **{name: _safe(value) for name, value in fields.items()})
    # ASCII alone: no character of a label can break a line, or steer a terminal that shows it.
    text = json.dumps(line.model_dump(mode="json", exclude_none=True), ensure_ascii=True, allow_nan=False)
    print(text, file=sys.stderr, flush=True)


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value, _LONGEST)
    return None if isinstance(value, float) and not math.isfinite(value) else value


class JsonDisplay:
    """Tells programs of the progress.

    Args:
        verbose: whether to tell what is only worth a line in a verbose log.
    """

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._stage: str | None = None
        self._clock = Clock()
        self._told = -math.inf

    def stage(self, name: str, detail: str = "") -> None:
        """Write that a stage begins."""
        self._stage = name
        self._clock.start()
        self._told = -math.inf
        write("stage", stage=name, message=detail or None)

    def progress(self, done: float, total: float) -> None:
        """Write how far the stage is: at its first step, at its last, and once a second."""
        now = time.monotonic()
        if now - self._told < _EVERY and done < total:
            return
        self._told = now
        write("progress", stage=self._stage, done=done, total=total, eta_seconds=self._clock.left(done, total))

    def beneath(self, lines: Sequence[str]) -> None:
        """Ignore: each end is told, and each beginning in a verbose log."""

    def ranking(self, classes: Sequence[Ranked]) -> None:
        """Write the most suspect classes."""
        shown = [
            RankedClass(
                index=each.index, label=_safe(each.label), transfer_rate=each.transfer_rate, budget=_safe(each.e50)
            )
            for each in classes[:_RANKED]
        ]
        write("ranking", stage=self._stage, classes=tuple(shown))

    def info(self, message: str) -> None:
        """Write the message if the log is verbose."""
        if self._verbose:
            write("info", stage=self._stage, message=message)

    def note(self, message: str) -> None:
        """Write the message."""
        write("note", stage=self._stage, message=message)

    def warning(self, message: str) -> None:
        """Write the message."""
        write("warning", stage=self._stage, message=message)
