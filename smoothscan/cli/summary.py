"""What a command found, on standard output: tables on a terminal, else plain lines."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from smoothscan.cli import sweep_outcome
from smoothscan.cli.outcome import (
    CALIBRATED,
    COMPARED,
    INTERVAL,
    address,
    aligned,
    as_text,
    calibrated,
    closing,
    columns,
    comparison,
    explained,
    left_out,
    rows,
    searched,
    smallest_p,
    verdict_line,
    why,
)
from smoothscan.cli.plan_cost import cost_in_short
from smoothscan.cli.plan_outcome import PLANNED, due, due_in_short
from smoothscan.cli.protection import ATTEMPTED, advice, examined, protected
from smoothscan.config import ScanConfig
from smoothscan.posture import Posture
from smoothscan.result import ScanResult
from smoothscan.sandbox.doctor import Examination
from smoothscan.sinks import words
from smoothscan.sinks.explanation import explain
from smoothscan.sinks.sweep_words import headline, tone
from smoothscan.sinks.text import number, plain
from smoothscan.verdict.calibration import Calibration

if TYPE_CHECKING:
    from smoothscan.cli.health import Found
    from smoothscan.fleet.plan import Planned


_TONES: dict[words.Tone, str] = {
    "clean": "bold green",
    "suspicious": "bold yellow",
    "backdoored": "bold red",
    "unknown": "bold magenta",
    "failed": "bold magenta",
}
_WIDEST = 1000
"""Columns that no table needs."""
_STATES = {"ok": "", "warning": "yellow", "problem": "bold red"}


def show_result(result: ScanResult, config: ScanConfig, report: Path | None = None, *, replaced: str = "") -> None:
    """Print the outcome on standard output: a table on a terminal, else plain lines; see `outcome.closing`."""
    if not sys.stdout.isatty():
        print(as_text(result, config, report, replaced), flush=True)
        return
    console = Console(highlight=False)
    style = _TONES[words.tone(result)]
    console.print(Text(address(result), style="dim"))
    score = "" if result.score is None else f"   score {number(result.score)}"
    console.print(Text.assemble((verdict_line(result), style), (score, "dim")))
    if chances := words.chances(result):
        console.print(Text(f"  p-value {chances}"))
    for reason in why(result):
        console.print(Text(f"  {reason}"))
    if result.classes:
        console.print(Text(f"  Kind of trigger: {searched(result)}", style="dim"))
        table = _table_of_classes(result)
        fits = console.measure(table, options=console.options.update_width(_WIDEST)).maximum <= console.width
        console.print(table if fits else _table_of_classes(result, narrow=True))
        if left_out(result):
            console.print(Text(left_out(result), style="dim"))
    for caption, text in closing(result, config, report, replaced):
        console.print(Text.assemble((f"{caption:<8} ", "dim"), text))


def _table_of_classes(result: ScanResult, *, narrow: bool = False) -> Table:
    """Return the most suspect classes, a line each; only a label that is too long for the terminal takes more.

    Args:
        result: the scan.
        narrow: whether to do without intervals, and with a second line of heads.
    """
    heads = columns(result)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    kept = [position for position, head in enumerate(heads) if not (narrow and head == INTERVAL)]
    for head in (heads[position] for position in kept):
        shown = head.replace("budget ", "budget\n") if narrow else head
        table.add_column(shown, justify="left" if head in ("class", "") else "right", no_wrap=head != "class")
    for row in rows(result.classes):
        table.add_row(*(Text(row.cells[position]) for position in kept), style="bold red" if row.flagged else None)
    return table


def show_explanation(result: ScanResult) -> None:
    """Print how a verdict came about on standard output."""
    if not sys.stdout.isatty():
        print("\n".join(explained(result)), flush=True)
        return
    console = Console(highlight=False)
    for section in explain(result):
        console.print()
        console.print(Text(section.title, style="bold"))
        points = Table.grid(padding=(0, 1))
        for line in section.lines:
            points.add_row(Text(" -", style="dim"), Text(plain(line)))
        console.print(points)


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
    styles = [_TONES[words.tone(result)] for result in results]
    _show_table(COMPARED, [comparison(result) for result in results], styles)


def show_calibration(calibration: Calibration) -> None:
    """Print the models of a calibration on standard output, and how small a p-value they allow."""
    lines = calibrated(calibration)
    _show_table(CALIBRATED, lines, [None] * len(lines), right={1})
    print(smallest_p(calibration), flush=True)


def show_plan(planned: Sequence[Planned]) -> None:
    """Print what is due on standard output, how much that is, and about how long it takes."""
    if lines := due(planned):
        _show_table(PLANNED, lines, [None] * len(lines))
    print("\n".join(filter(None, (due_in_short(planned), cost_in_short(planned)))), flush=True)


def show_health(found: Sequence[Found]) -> None:
    """Print what a machine is like, with what to do about what is wrong."""
    width = max(len(each.topic) for each in found)
    console = Console(highlight=False) if sys.stdout.isatty() else None
    for each in found:
        lines = [f"{each.state:<7}  {each.topic:<{width}}  {plain(each.message)}"]
        lines += [f"{'':<{width + 11}}{plain(each.hint)}"] if each.hint else []
        for line in lines:
            if console is None:
                print(line, flush=True)
            else:
                console.print(Text(line, style=_STATES[each.state]))


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
