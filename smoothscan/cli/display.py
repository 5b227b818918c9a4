"""Progress on standard error and the final table on standard output. The only file that imports rich."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from smoothscan.cli import sweep_outcome
from smoothscan.cli.outcome import (
    CALIBRATED,
    COMPARED,
    aligned,
    as_text,
    calibrated,
    closing,
    columns,
    comparison,
    left_out,
    rows,
    searched,
    smallest_p,
    verdict_line,
    why,
)
from smoothscan.cli.plan_outcome import PLANNED, due, due_in_short
from smoothscan.cli.protection import ATTEMPTED, advice, examined, protected
from smoothscan.config import ScanConfig
from smoothscan.events import Events, Ranked, Silent
from smoothscan.posture import Posture
from smoothscan.result import ScanResult
from smoothscan.sandbox.doctor import Examination
from smoothscan.sinks.sweep_words import headline, tone
from smoothscan.sinks.text import duration, number, plain, shorten
from smoothscan.sinks.words import Tone, chances
from smoothscan.verdict.calibration import Calibration

if TYPE_CHECKING:
    from smoothscan.fleet.plan import Planned

_RANKED = 5  # classes in the live ranking
_STYLES = {"clean": "bold green", "suspicious": "bold yellow", "backdoored": "bold red"}
_TONES: dict[Tone, str] = {
    "clean": "bold green",
    "suspicious": "bold yellow",
    "backdoored": "bold red",
    "unknown": "bold magenta",
    "failed": "bold magenta",
}
_QUIET_FOR = 10.0  # seconds between two progress lines in a log


class Display(Events, Protocol):
    """Events, and notes that are for every user and not only for a verbose log."""

    def note(self, message: str) -> None:
        """Something that belongs into every log."""


class SilentDisplay(Silent):
    """Shows nothing."""

    def note(self, message: str) -> None:
        """Ignore."""


class Clock:
    """How long a stage has run and how long it will still take."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin a stage."""
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the stage began."""
        return time.monotonic() - self._began

    def left(self, done: float, total: float) -> float | None:
        """Seconds that are left at the present pace; None where that is too early to say."""
        return self.elapsed * (total - done) / done if 0 < done < total and self.elapsed > 1 else None


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
        self._line(f"{name}: {detail}" if detail else name)

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
            self._line(f"{self._stage}: most suspect so far {first.label}, transfer {first.transfer_rate:.0%}")

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

    def _line(self, text: str) -> None:
        self._last = time.monotonic()
        print(f"[{datetime.now():%H:%M:%S}] {plain(text)}", file=sys.stderr, flush=True)


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
        self._running = plain(f"{name}  {detail}" if detail else name)
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

    def info(self, message: str) -> None:
        """Print the message above the bar, in a verbose log only."""
        if self._verbose:
            self._console.print(Text(f"  {plain(message)}", style="dim"))

    def note(self, message: str) -> None:
        """Print the message above the bar."""
        self._console.print(Text(plain(message), style="dim"))

    def warning(self, message: str) -> None:
        """Print the message above the bar, marked."""
        self._console.print(Text(f"warning: {plain(message)}", style="yellow"))

    def _finish_stage(self) -> None:
        if self._running:
            self._console.print(Text(f"{self._running}  {self._clock.elapsed:.1f} s", style="dim"))
            self._running = ""


@contextmanager
def listen(*, quiet: bool, verbose: bool) -> Iterator[Display]:
    """Return the display that fits: live on a terminal, plain lines in a log, or nothing.

    Args:
        quiet: whether to show no progress at all.
        verbose: whether to show more than usual.
    """
    if quiet:
        yield SilentDisplay()
    elif sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        with LiveDisplay(Console(file=sys.stderr, highlight=False), verbose=verbose) as display:
            yield display
    else:
        yield PlainDisplay(verbose=verbose)


def show_result(result: ScanResult, config: ScanConfig, report: Path | None = None) -> None:
    """Print the outcome on standard output: a table on a terminal, else plain lines; see `outcome.closing`."""
    if not sys.stdout.isatty():
        print(as_text(result, config, report), flush=True)
        return
    console = Console(highlight=False)
    style = _STYLES.get(result.verdict or "", "bold magenta") if result.status == "completed" else "bold magenta"
    console.print(Text(plain(result.model.resolved_uri or result.model.uri), style="dim"))
    score = "" if result.score is None else f"   score {number(result.score)}"
    console.print(Text.assemble((verdict_line(result), style), (score, "dim")))
    if chances(result):
        console.print(Text(f"  p-value {chances(result)}"))
    for reason in why(result):
        console.print(Text(f"  {reason}"))
    if result.classes:
        console.print(Text(f"  Kind of trigger: {searched(result)}", style="dim"))
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name in columns(result):
            table.add_column(name, justify="left" if name in ("class", "") else "right")
        for row in rows(result.classes):
            table.add_row(*map(Text, row.cells), style="bold red" if row.flagged else None)
        console.print(table)
        if left_out(result):
            console.print(Text(left_out(result), style="dim"))
    for caption, text in closing(result, config, report):
        console.print(Text.assemble((f"{caption:<8} ", "dim"), text))


def show_posture(posture: Posture, folder: Path) -> None:
    """Print the summary of a sweep on standard output: a table on a terminal, else plain lines."""
    if not sys.stdout.isatty():
        print(sweep_outcome.as_text(posture, folder), flush=True)
        return
    console = Console(highlight=False)
    style = _TONES[tone(posture)]
    console.print(Text(headline(posture), style=style))
    for caption, text in sweep_outcome.opening(posture):
        warned = "bold yellow" if caption in ("warning", "promoted") else ""
        console.print(Text.assemble((f"{caption:<8} ", "dim"), (text, warned)))
    if lines := sweep_outcome.rows(posture):
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for position, name in enumerate(sweep_outcome.COLUMNS):
            table.add_column(name, justify="right" if position in sweep_outcome.NUMBERS else "left")
        for row in lines:
            table.add_row(*map(Text, row.cells), style="bold red" if row.flagged else None)
        console.print(table)
    if sweep_outcome.left_out(posture):
        console.print(Text(sweep_outcome.left_out(posture), style="dim"))
    for caption, text in sweep_outcome.closing(posture, folder):
        console.print(Text.assemble((f"{caption:<8} ", "dim"), text))


def show_comparison(results: Sequence[ScanResult]) -> None:
    """Print one line for each of several results on standard output."""
    styles = [_STYLES.get(result.verdict or "") for result in results]
    _show_table(COMPARED, [comparison(result) for result in results], styles)


def show_calibration(calibration: Calibration) -> None:
    """Print the models of a calibration on standard output, and how small a p-value they allow."""
    lines = calibrated(calibration)
    _show_table(CALIBRATED, lines, [None] * len(lines), right={1})
    print(smallest_p(calibration), flush=True)


def show_plan(planned: Sequence[Planned]) -> None:
    """Print what is due on standard output, and how much that is."""
    if lines := due(planned):
        _show_table(PLANNED, lines, [None] * len(lines))
    print(due_in_short(planned), flush=True)


def show_doctor(report: Examination) -> None:
    """Print which protections a machine gives, and what a confined process could do all the same."""
    lines = examined(report)
    styles = [None if cells[1] == "stopped" else "bold red" for cells in lines]
    print("\n".join(protected(report)), flush=True)
    if lines:
        _show_table(ATTEMPTED, lines, styles)
    print("\n".join(["", *advice(report)]), flush=True)


def _show_table(
    heads: Sequence[str],
    lines: Sequence[Sequence[str]],
    styles: Sequence[str | None],
    right: Collection[int] = (),
) -> None:
    if not sys.stdout.isatty():
        print("\n".join(aligned([heads, *lines], right)), flush=True)
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for position, head in enumerate(heads):
        table.add_column(head, justify="right" if position in right else "left")
    for cells, style in zip(lines, styles, strict=True):
        table.add_row(*map(Text, cells), style=style)
    Console(highlight=False).print(table)
