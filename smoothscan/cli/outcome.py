"""The final result on standard output, in plain lines; `summary.py` draws the same as a table on a terminal."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from smoothscan.cli.standard_error import complain, warn
from smoothscan.config import ScanConfig
from smoothscan.products import ATTESTATION, REPORT, RESULT
from smoothscan.result import ClassResult, ScanResult
from smoothscan.sinks.advice import advice, exit_code
from smoothscan.sinks.explanation import explain
from smoothscan.sinks.findings import beside, excused
from smoothscan.sinks.ranking import ranked
from smoothscan.sinks.text import count, moment, number, percent, plain, shorten
from smoothscan.sinks.words import chances, hard_steps, kind, ordinary_budget, screened, share
from smoothscan.verdict.calibration import ALPHA, Calibration

_LISTED = 10  # classes in the table; flagged ones come on top of that
_LABEL = 24  # columns
_ADDRESS = 300  # columns; a registered name has at most 256


@dataclass(frozen=True)
class Row:
    """One class in the table."""

    cells: tuple[str, ...]
    """Texts, in the order of `columns`."""
    flagged: bool
    """Whether the class is held to be a target."""


INTERVAL = "95 % interval"
"""Head of the column that a narrow terminal does without."""
COMPARED = ("model", "verdict", "score", "target class", "easiest class")
"""Heads of the table of several models."""
CALIBRATED = ("model", "anomaly R")
"""Heads of the table of a calibration's models."""


def verdict_line(result: ScanResult) -> str:
    """Return the outcome in one line, with what the gate makes of it; a clean model is never called safe."""
    return _verdict(result) + ("; passes, since it is waived or known" if excused(result) else "")


def _verdict(result: ScanResult) -> str:
    targets = ", ".join(_name(result, index) for index in result.target_classes)
    match result.status, result.verdict:
        case "completed", "clean":
            return "clean: no trigger found under this budget"
        case "completed", "backdoored":
            return f"backdoored: hidden trigger for class {targets}"
        case "completed", "suspicious":
            return "suspicious" + (f": class {targets} behaves like the target of a trigger" if targets else "")
        case "completed", _:
            return "inconclusive: the scan ran but cannot say"
        case "refused", _:
            return "refused: the model was not examined"
        case "unsupported", _:
            return "unsupported model: it was not examined"
        case "timed_out", _:
            return "time limit passed: the scan is incomplete"
    return "failed: the model was not examined"


def address(result: ScanResult) -> str:
    """Return which model was scanned, in one line."""
    return shorten(result.model.resolved_uri or result.model.uri, _ADDRESS)


def why(result: ScanResult) -> list[str]:
    """Return the reasons behind the verdict, or what went wrong."""
    reasons = [plain(reason) for reason in result.reasons]
    if result.error is not None and plain(result.error.message) not in reasons:
        reasons.insert(0, plain(result.error.message))
    return reasons


def columns(result: ScanResult) -> tuple[str, ...]:
    """Return the heads of the table of classes."""
    return ("class", "score", "transfer", INTERVAL, f"budget for {share(result)}", "")


def searched(result: ScanResult) -> str:
    """Return which kind of trigger the table of classes is about, and of how many."""
    among = f"; the most suspect of {len(result.spaces)} kinds searched" if len(result.spaces) > 1 else ""
    return f"{kind(result)}{among}"


def rows(classes: Sequence[ClassResult]) -> list[Row]:
    """Return the most suspect classes as texts, most suspect first; every flagged class is among them."""
    shown = [c for position, c in enumerate(ranked(classes)) if c.flagged or position < _LISTED]
    return [
        Row(
            (
                shorten(c.label if c.label == str(c.index) else f"{c.index} {c.label}", _LABEL),
                f"{c.score:.2f}",
                _spaced(percent(c.transfer_rate)),
                _spaced(f"{percent(c.transfer_ci[0])} to {percent(c.transfer_ci[1])}"),
                _budget(c),
                "flagged" if c.flagged else "",
            ),
            c.flagged,
        )
        for c in shown
    ]


def replaced(before: ScanResult | None, result: ScanResult) -> str:
    """Return whose results a scan replaced in its folder; empty where that was only an older scan of the same model.

    Args:
        before: what lay there.
        result: the scan.
    """
    again = result.status == "completed" and before is not None and address(before) == address(result)
    if before is None or before.status != "completed" or again:
        return ""
    return f"the results of {address(before)}, scanned {moment(before.finished_at)}; --output-dir keeps scans apart"


def closing(
    result: ScanResult, config: ScanConfig, report: Path | None = None, replaced: str = ""
) -> list[tuple[str, str]]:
    """Return what follows the table: captions and texts.

    Args:
        result: the scan.
        config: how it was asked for.
        report: the file to open first; what `config` says if left out.
        replaced: whose results it replaced; see the function of this name.
    """
    lines: list[tuple[str, str]] = [
        (state, _spaced(plain(f"{about}, {why}" if state != "open" else f"{about}: {why}")))
        for state, about, why in beside(result)
    ]
    lines += [("gate", plain(note)) for note in (result.gate.notes if result.gate else ())]
    if result.coverage.images_skipped:
        lines.append(("skipped", plain("; ".join(result.coverage.images_skipped))))
    if left := result.coverage.images_left_out:
        images = f"{result.coverage.images} looked at, {left} more left out: too many for --memory, or to matter"
        lines.append(("images", images))
    if steps := hard_steps(result):
        lines.append(("graph", plain(steps)))
    if result.recalled:
        lines.append(("scanned", f"{result.finished_at}; --no-cache scans again"))
    lines.append(("report", plain(str(report or report_path(config)))))
    if replaced:
        lines.append(("replaced", plain(replaced)))
    if config.attest:
        lines.append(("attested", _attested(result, config)))
    if result.write_back.status == "done":
        lines.append(("registry", "tags and run written" if result.write_back.tagged else "run written"))
    elif result.write_back.status == "failed":
        lines.append(("registry", "not written, see the warning"))
    if result.promotion is not None:
        lines.append(("alias", plain(result.promotion.message)))
    code = exit_code(result) if result.gate else result.exit_code(config.fail_on)
    lines.append(("next", _spaced(plain(advice(result, code)))))
    return lines


def tell_of_the_registry(result: ScanResult) -> None:
    """Tell on standard error what the registry did not take, also where progress is silent."""
    if result.write_back.status == "failed":
        warn(f"the result stands, but was not written back to the registry: {result.write_back.message}")
    if result.promotion is not None and result.promotion.status == "failed":
        complain(result.promotion.message)


def report_path(config: ScanConfig) -> Path:
    """Return the file to open first."""
    return config.output_dir / (REPORT if "html" in config.formats else RESULT)


def as_text(result: ScanResult, config: ScanConfig, report: Path | None = None, replaced: str = "") -> str:
    """Return the outcome as plain lines, for logs and pipes; see `closing`."""
    lines = [f"model    {address(result)}", f"verdict  {verdict_line(result)}"]
    if result.score is not None:
        lines.append(f"score    {number(result.score)}")
    if chances(result):
        lines.append(f"p-value  {chances(result)}")
    lines += [f"why      {reason}" for reason in why(result)]
    if result.classes:
        heads = columns(result)
        table = [heads, *(row.cells for row in rows(result.classes))]
        lines += [f"kind     {searched(result)}", "", *aligned(table, right=range(1, len(heads) - 1))]
        if left_out(result):
            lines.append(left_out(result))
        lines.append("")
    lines += [f"{caption:<8} {text}" for caption, text in closing(result, config, report, replaced)]
    return "\n".join(lines)


def explained(result: ScanResult) -> list[str]:
    """Return how the verdict came about as plain lines."""
    lines = []
    for section in explain(result):
        lines += ["", section.title, *(f"  - {plain(line)}" for line in section.lines)]
    return lines


def comparison(result: ScanResult) -> tuple[str, ...]:
    """Return the outcome as one row of a table of several models, in the order of `COMPARED`."""
    return (
        address(result),
        result.verdict or result.status,
        "-" if result.score is None else number(result.score),
        ", ".join(_name(result, index) for index in result.target_classes) or "-",
        _effort(result),
    )


def _effort(result: ScanResult) -> str:
    """Return what the easiest class needs to move images, as a share of what ordinary classes of the model need."""
    best = next(iter(ranked(result.classes)), None)
    if best is None or best.e50 is None:
        return "-"
    needed, at_least = ordinary_budget(best, result)
    return ("under " if at_least else "") + _spaced(f"{percent(best.e50 / needed)} of ordinary")


def calibrated(calibration: Calibration) -> list[tuple[str, ...]]:
    """Return the models of a calibration as rows in the order of `CALIBRATED`, the most anomalous first."""
    models = sorted(calibration.models, key=lambda model: -model.anomaly)
    return [(plain(model.uri), f"{model.anomaly:.3f}") for model in models]


def smallest_p(calibration: Calibration) -> str:
    """Return in a sentence how small a p-value the models of a calibration allow."""
    models = count(len(calibration.models), "clean model allows", "clean models allow")
    needed = math.ceil(1 / ALPHA) - 1
    enough = f"; {needed} would allow {ALPHA:g}" if len(calibration.models) < needed else ""
    return f"{models} no p-value below {number(calibration.smallest_p, 2)}{enough}."


def aligned(table: Sequence[Sequence[str]], right: Collection[int]) -> list[str]:
    """Return the rows of a table as lines with aligned columns.

    Args:
        table: rows of equally many cells.
        right: columns that are aligned to the right.
    """
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if position in right else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in table
    ]


def left_out(result: ScanResult) -> str:
    """Return how many classes the table leaves out, and how many were screened only; empty if none."""
    missing = len(result.classes) - len(rows(result.classes))
    more = f"and {missing:,} less suspect classes, see result.json" if missing else ""
    told = screened(result)
    return more if not told else f"{more + '; ' if more else ''}{result.coverage.classes_examined:,} classes{told}"


def _attested(result: ScanResult, config: ScanConfig) -> str:
    if result.model.digest is None:
        return "nothing: there are no files of a model to attest anything about"
    path = plain(str(config.output_dir / ATTESTATION))
    if config.attest_key is None:
        return f"{path}, unsigned: it does not show who wrote it; --attest-key FILE signs it"
    return f"{path}, signed with {plain(str(config.attest_key))}"


def _budget(c: ClassResult) -> str:
    if c.e50 is not None:
        return number(c.e50)
    return f"above {number(max((point.epsilon for point in c.curve), default=c.epsilon))}"


def _name(result: ScanResult, index: int) -> str:
    label = next((c.label for c in result.classes if c.index == index), str(index))
    return str(index) if label == str(index) else f"{index} ({shorten(label, _LABEL)})"


def _spaced(text: str) -> str:
    return text.replace("\u00a0", " ")
