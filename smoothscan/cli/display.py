"""Progress on standard error. This file and `summary.py` are the only ones that import rich."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Literal, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from smoothscan.cli.clock import Clock
from smoothscan.cli.progress_lines import JsonDisplay
from smoothscan.events import Events, Ranked, Silent
from smoothscan.sinks.text import duration, plain, shorten

Manner = Literal["auto", "plain", "json", "none"]

_DETAIL = 200  # columns of what a stage is about
_MESSAGE = 1000
_RANKED = 5  # classes in the live ranking
_QUIET_FOR = 10.0  # seconds between two progress lines in a log


class Display(Events, Protocol):
    """Events, and notes that are for every user and not only for a verbose log."""

    def note(self, message: str) -> None:
        """Something that belongs into every log."""

    def beneath(self, lines: Sequence[str]) -> None:
        """What is under way at the moment, in place of what was before."""


class SilentDisplay(Silent):
    """Shows nothing."""

    def note(self, message: str) -> None:
        """Ignore."""

    def beneath(self, lines: Sequence[str]) -> None:
        """Ignore."""


class PlainDisplay:
    """A line with a time stamp for each stage, and now and then one on its progress; for logs.

    Args:
        verbose: whether to print what is only worth a line in a verbose log.
    """

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._stage = ""
        self._clock = Clock()
        self._last = time.monotonic()

    def stage(self, name: str, detail: str = "") -> None:
        """Print the stage."""
        self._stage = name
        self._clock.start()
        self._line(f"{name}: {shorten(detail, _DETAIL)}" if detail else name)

    def progress(self, done: float, total: float) -> None:
        """Print the progress, unless the last line is still fresh."""
        if total <= 0 or time.monotonic() - self._last < _QUIET_FOR:
            return
        left = self._clock.left(done, total)
        self._line(f"{self._stage}: {done / total:.0%}" + ("" if left is None else f", about {duration(left)} left"))

    def ranking(self, classes: Sequence[Ranked]) -> None:
        """Print the most suspect class, in a verbose log only."""
        if self._verbose and classes:
            first = classes[0]
            self._line(
                f"{self._stage}: most suspect so far {shorten(first.label, 40)}, transfer {first.transfer_rate:.0%}"
            )

    def info(self, message: str) -> None:
        """Print the message, in a verbose log only."""
        if self._verbose:
            self._line(message)

    def note(self, message: str) -> None:
        """Print the message."""
        self._line(message)

    def warning(self, message: str) -> None:
        """Print the message, marked."""
        self._line(f"warning: {message}")

    def beneath(self, lines: Sequence[str]) -> None:
        """Ignore: a log tells of what has ended."""

    def _line(self, text: str) -> None:
        self._last = time.monotonic()
        print(f"[{datetime.now():%H:%M:%S}] {shorten(text, _MESSAGE)}", file=sys.stderr, flush=True)


class LiveDisplay:
    """A bar with the time left and the current ranking of classes, redrawn in place; for terminals.

    Args:
        console: the terminal.
        verbose: whether to print what is only worth a line in a verbose log.
    """

    def __init__(self, console: Console, *, verbose: bool) -> None:
        self._console = console
        self._verbose = verbose
        self._clock = Clock()
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[stage]}", markup=False),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}", markup=False),
        )
        self._task = self._bar.add_task("", total=None, stage="starting", left="")
        self._running = ""
        self._live = Live(self._bar, console=console, transient=True, refresh_per_second=5)

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._finish_stage()
        self._live.stop()

    def stage(self, name: str, detail: str = "") -> None:
        """Turn the bar to the new stage and leave a line about the last one."""
        self._finish_stage()
        self._running = plain(f"{name}  {shorten(detail, _DETAIL)}" if detail else name)
        self._clock.start()
        self._bar.remove_task(self._task)  # resetting it would keep the total of the stage before
        self._task = self._bar.add_task("", total=None, stage=plain(name), left="")
        self._live.update(self._bar)

    def progress(self, done: float, total: float) -> None:
        """Move the bar."""
        left = self._clock.left(done, total)
        text = "" if left is None else f"{duration(left)} left"
        self._bar.update(self._task, completed=done, total=total, left=text)

    def ranking(self, classes: Sequence[Ranked]) -> None:
        """Show the most suspect classes under the bar."""
        table = Table(box=None, padding=(0, 2), title="most suspect so far", title_justify="left", title_style="dim")
        for name in ("class", "transfer", "budget"):
            table.add_column(name, justify="left" if name == "class" else "right", header_style="dim")
        for ranked in classes[:_RANKED]:
            table.add_row(
                Text(shorten(ranked.label, 40)),
                f"{ranked.transfer_rate:.0%}",
                "-" if ranked.e50 is None else f"{ranked.e50:.2f}",
            )
        self._live.update(Group(self._bar, table))

    def beneath(self, lines: Sequence[str]) -> None:
        """Show the lines under the bar."""
        shown = [Text(f"  {shorten(line, _DETAIL)}", style="dim", no_wrap=True, overflow="ellipsis") for line in lines]
        self._live.update(Group(self._bar, *shown))

    def info(self, message: str) -> None:
        """Print the message above the bar, in a verbose log only."""
        if self._verbose:
            self._console.print(Text(f"  {shorten(message, _MESSAGE)}", style="dim"))

    def note(self, message: str) -> None:
        """Print the message above the bar."""
        self._console.print(Text(shorten(message, _MESSAGE), style="dim"))

    def warning(self, message: str) -> None:
        """Print the message above the bar, marked."""
        self._console.print(Text(f"warning: {shorten(message, _MESSAGE)}", style="yellow"))

    def _finish_stage(self) -> None:
        if self._running:
            self._console.print(Text(f"{self._running}  {self._clock.elapsed:.1f} s", style="dim"))
            self._running = ""


@contextmanager
def listen(progress: Manner, *, verbose: bool) -> Iterator[Display]:
    """Return the display that was asked for.

    Args:
        progress: how to show the progress; `auto` is live on a terminal, else as for a log.
        verbose: whether to show more than usual.
    """
    if progress != "auto":
        yield steady(progress, verbose=verbose)
    elif sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        with LiveDisplay(Console(file=sys.stderr, highlight=False), verbose=verbose) as display:
            yield display
    else:
        yield PlainDisplay(verbose=verbose)


def steady(progress: Manner, *, verbose: bool) -> Display:
    """Return the display that was asked for, or plain lines where that is a live one; see `listen`."""
    if progress == "none":
        return SilentDisplay()
    return JsonDisplay(verbose=verbose) if progress == "json" else PlainDisplay(verbose=verbose)
