"""`summary.md`: the outcome for the page of a CI job ($GITHUB_STEP_SUMMARY), or for a comment."""

from __future__ import annotations

import re
from pathlib import Path

from smoothscan.exhibits import Exhibits
from smoothscan.files import make_folder, write_atomically
from smoothscan.products import REPORTS
from smoothscan.result import ClassResult, Gate, ScanResult
from smoothscan.sinks import words
from smoothscan.sinks.advice import advice, exit_code
from smoothscan.sinks.findings import blocks, excused, gate_of, state, subject
from smoothscan.sinks.text import count, number, percent, plain

_CLASSES, _FINDINGS, _LINES = 10, 50, 20
"""Rows of the tables, and reasons and notes; so that the page stays far below the 1 MiB that a job may show."""
_LABEL, _TEXT = 80, 1000  # characters
_MARKUP = re.compile(r"""^[-+]|(?<=[0-9])[.)]|\.(?=\S)|[!"#$&*/:<=>?@\[\\\]^_`{|}~]""")
"""Signs that Markdown, HTML or GitHub may read as more than signs, some of them in one place only: `-` and `1.` of a
list, the dots of an address."""
_MARKS = {"backdoored": "🛑", "suspicious": "⚠️", "clean": "✅", "unknown": "❔", "failed": "❌"}


class MarkdownSink:
    """Writes `summary.md`."""

    def write(self, result: ScanResult, exhibits: Exhibits, folder: Path) -> tuple[Path, ...]:
        """Write `summary.md`; see `Sink.write`."""
        return (write_atomically(make_folder(folder) / REPORTS["markdown"], to_markdown(result).encode("utf-8")),)


def to_markdown(result: ScanResult) -> str:
    """Return a judged result as GitHub's Markdown. Nothing in it that comes out of the model is markup."""
    gate = gate_of(result)
    passing = " (passes: waived or known)" if excused(result) else ""
    model = result.model.resolved_uri or result.model.uri
    parts = [
        f"## {_MARKS[words.tone(result)]} {escaped(words.headline(result))}{passing}",
        f"Model {escaped(model, 300)}{_score(result)}, exit code {exit_code(result)}",
        escaped(words.reason(result)),
        f"**Next:** {escaped(advice(result, exit_code(result)))}",
    ]
    if result.promotion is not None:
        parts.append(f"**Alias:** {escaped(result.promotion.message, 400)}")
    if others := [line for line in map(escaped, result.reasons) if line not in ("", escaped(words.reason(result)))]:
        parts.append("\n".join(["**Why**", "", *(f"- {line}" for line in others[:_LINES])]))
    if gate.findings:
        parts.append(_findings(gate))
    if gate.notes:
        parts.append("\n".join(["**Gate**", "", *(f"- {escaped(note)}" for note in gate.notes[:_LINES])]))
    if result.classes:
        parts.append(_classes(result))
    return "\n\n".join(parts) + "\n"


def escaped(text: str, limit: int = _TEXT) -> str:
    """Return text that Markdown and HTML show as it is.

    Punctuation that can be markup becomes a character reference, which no Markdown reader takes for markup, and neither
    links nor entities can arise. GitHub looks for @names and #numbers in the finished page: a space without width keeps
    them apart.
    """
    line = plain(text.replace("\u00a0", " "), limit).strip()
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};" + ("&#8203;" if found[0] in "@#" else ""), line)


def _score(result: ScanResult) -> str:
    return "" if result.score is None else f", score {number(result.score)} of 1"


def _findings(gate: Gate) -> str:
    findings = gate.findings
    rows = ["| Finding | Rule | Counts |", "| --- | --- | --- |"]
    for finding in findings[:_FINDINGS]:
        standing = escaped(state(finding)) or ("yes" if blocks(finding, gate.fail_on) else "milder than `--fail-on`")
        rows.append(f"| {escaped(subject(finding), 2 * _LABEL)} | {finding.rule} | {standing} |")
    if len(findings) > _FINDINGS:
        rows += ["", f"and {count(len(findings) - _FINDINGS, 'more finding')}, see result.json"]
    return "\n".join(rows)


def _classes(result: ScanResult) -> str:
    def rank(c: ClassResult) -> tuple[bool, float, int]:
        return not c.flagged, -c.score, c.index

    shown = sorted(result.classes, key=rank)[:_CLASSES]
    rows = [
        "**Most suspect classes**",
        "",
        f"| Class | Score | Transfer | Budget for {words.share(result)} | |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for c in shown:
        name = f"{c.index}" if c.label == str(c.index) else f"{c.index} {escaped(c.label, _LABEL)}"
        budget = "not reached" if c.e50 is None else number(c.e50)
        transfer = percent(c.transfer_rate).replace("<", "&lt;")
        rows.append(f"| {name} | {c.score:.2f} | {transfer} | {budget} | {'flagged' if c.flagged else ''} |")
    told = f"Kind of trigger: {words.kind(result)}; {result.coverage.classes_examined:,} of "
    told += f"{result.coverage.classes_total:,} classes examined{words.screened(result)}."
    return "\n".join([*rows, "", told])
