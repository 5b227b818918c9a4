"""`junit.xml`: one test case for each class, for CI systems that list tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as Xml

from smoothscan.exhibits import Exhibits
from smoothscan.files import make_folder, write_atomically
from smoothscan.products import REPORTS
from smoothscan.result import ClassResult, Finding, ScanResult
from smoothscan.sinks.advice import advice, exit_code, silence
from smoothscan.sinks.findings import blocks, gate_of, identity, severity, state
from smoothscan.sinks.text import number, percent, plain, probability, seconds_of

_NAME, _TEXT = 200, 2000  # characters

Outcome = Literal["passed", "failure", "error", "skipped"]
_COUNTS: dict[Outcome, str] = {"failure": "failures", "error": "errors", "skipped": "skipped"}
"""Attribute that counts the cases of an outcome."""


@dataclass(frozen=True)
class Case:
    """One test case."""

    name: str
    """What was tested."""
    outcome: Outcome
    """How it went."""
    message: str = ""
    """Why it did not pass, in a line."""
    detail: str = ""
    """What was measured or found."""
    kind: str = ""
    """The rule, or the kind of error."""


class JunitSink:
    """Writes `junit.xml`."""

    def write(self, result: ScanResult, exhibits: Exhibits, folder: Path) -> tuple[Path, ...]:
        """Write `junit.xml`; see `Sink.write`."""
        return (write_atomically(make_folder(folder) / REPORTS["junit"], to_junit(result)),)


def to_junit(result: ScanResult) -> bytes:
    """Return a judged result as JUnit XML; equal results give equal bytes.

    A class that holds the model back is a failure, one that is waived or known is skipped, and what keeps the scan from
    an answer is an error. So a CI system that reads the file alone comes to the same end as the exit code.
    """
    tests = cases(result)
    name = _clean(identity(result.model), _NAME)
    counts = {
        "tests": str(len(tests)),
        **{key: str(sum(case.outcome == outcome for case in tests)) for outcome, key in _COUNTS.items()},
        "time": f"{result.cost.seconds:.3f}",
    }
    totals = {key: value for key, value in counts.items() if key != "skipped"}
    suites = Xml.Element("testsuites", {"name": "smoothscan", **totals})
    about = {
        "name": f"smoothscan {name}",
        **counts,
        "timestamp": seconds_of(result.started_at),
        "hostname": "localhost",
    }
    suite = Xml.SubElement(suites, "testsuite", {key: value for key, value in about.items() if value})
    properties = Xml.SubElement(suite, "properties")
    for key, value in _properties(result):
        Xml.SubElement(properties, "property", {"name": key, "value": _clean(value, _TEXT)})
    for case in tests:
        _add(suite, case, f"smoothscan.{name}")
    Xml.indent(suites)
    return b"".join(Xml.tostringlist(suites, encoding="utf-8", xml_declaration=True)) + b"\n"


def cases(result: ScanResult) -> list[Case]:
    """Return the test cases; there is one at least."""
    gate = gate_of(result)
    if result.status != "completed":
        return [_silent(result)]
    classes = {c.index: c for c in result.classes}
    indices = range(max(result.coverage.classes_total, max(classes, default=-1) + 1))
    tests = [_class(result, t, classes.get(t)) for t in indices]
    tests += [_hard_steps(result, finding) for finding in gate.findings if finding.rule == "hard-step"]
    tests += [_unnamed(result, finding) for finding in gate.findings if _is_unnamed(finding)]
    if silence(result) and not any(case.outcome == "error" for case in tests):
        tests.append(_silent(result))
    if result.promotion is not None and result.promotion.status == "failed":
        tests.append(Case("alias", "error", result.promotion.message, kind="alias"))
    return tests or [Case("scan", "skipped", "the result names no classes")]


def _class(result: ScanResult, index: int, searched: ClassResult | None) -> Case:
    found = [f for f in gate_of(result).findings if f.index == index]
    label = None if searched is None or searched.label == str(index) else searched.label
    name = f"class {index}" + (f" ({label})" if label else "")
    detail = "\n".join([*(f.message for f in found), _measured(searched)])
    if found:
        return _judged(result, name, found, detail)
    if result.verdict == "inconclusive" and silence(result):
        return Case(name, "skipped", "not judged: the scan is inconclusive", detail)
    passes = result.coverage.passes_by_class
    if searched is None and index < len(passes) and not passes[index]:
        return Case(name, "skipped", "not examined")
    return Case(name, "passed", detail=detail)


def _judged(result: ScanResult, name: str, found: list[Finding], detail: str) -> Case:
    counting = [f for f in found if f.state == "open"]
    if not counting:
        return Case(name, "skipped", "; ".join(state(f) for f in found), detail, found[0].rule)
    fail_on = gate_of(result).fail_on
    first = next((f for f in counting if blocks(f, fail_on)), None)
    if first is None or result.exit_code(fail_on) == 0:
        level = severity(counting[0], result)
        message = f"{level}, which does not block under --fail-on {fail_on}: {counting[0].message}"
        return Case(name, "skipped", message, detail, counting[0].rule)
    return Case(name, "failure", first.message, detail, first.rule)


def _hard_steps(result: ScanResult, finding: Finding) -> Case:
    name = "graph: steps without a gradient"
    steps = "\n".join(f"{s.operation}, {s.count} times: {s.detail}" for s in result.safety.architecture)
    if finding.state != "open":
        return Case(name, "skipped", state(finding), steps, finding.rule)
    if gate_of(result).exit_code == 0:
        return Case(name, "skipped", "does not block under the configured --fail-on", steps, finding.rule)
    return Case(name, "error", finding.message, steps, finding.rule)


def _is_unnamed(finding: Finding) -> bool:
    return finding.rule != "hard-step" and finding.index is None


def _unnamed(result: ScanResult, finding: Finding) -> Case:
    return _judged(result, "model", [finding], finding.message)


def _silent(result: ScanResult) -> Case:
    kind = result.error.type if result.error else result.verdict or result.status
    text = f"{silence(result)} {advice(result, exit_code(result))}"
    return Case("scan", "error", silence(result), "\n".join([text, *result.reasons, *gate_of(result).notes]), kind)


def _measured(c: ClassResult | None) -> str:
    if c is None:
        return "Looked at in a screening only, where it did worse than the classes that were searched in full."
    low, high = c.transfer_ci
    budget = "not reached" if c.e50 is None else number(c.e50)
    return (
        f"score {number(c.score)}, transfer {percent(c.transfer_rate)} of {c.n_images} images (95 % interval "
        f"{percent(low)} to {percent(high)}), budget {budget}, p-value {probability(c.p_value)}"
    )


def _properties(result: ScanResult) -> Iterator[tuple[str, str]]:
    gate = gate_of(result)
    yield "model", result.model.resolved_uri or result.model.uri
    yield "model_digest", result.model.digest or "unknown"
    yield "status", result.status
    yield "verdict", result.verdict or "none"
    if result.score is not None:
        yield "score", f"{result.score:.6g}"
    yield "exit_code", str(exit_code(result))
    for note in gate.notes[:100]:
        yield "note", note


def _add(suite: Xml.Element, case: Case, classname: str) -> None:
    entry = Xml.SubElement(
        suite, "testcase", {"name": _clean(case.name, _NAME), "classname": classname, "time": "0.000"}
    )
    if case.outcome == "passed":
        if case.detail:
            Xml.SubElement(entry, "system-out").text = _lines(case.detail)
        return
    why = Xml.SubElement(entry, case.outcome, {"message": _clean(case.message, _TEXT)})
    if case.outcome != "skipped":
        why.set("type", _clean(case.kind, _NAME))
    why.text = _lines(case.detail)


def _clean(text: str, limit: int) -> str:
    """Return one line of characters that XML 1.0 can hold; the writer escapes them."""
    return plain(text.replace("\u00a0", " "), limit)


def _lines(text: str) -> str:
    return "\n".join(_clean(line, _TEXT) for line in text.split("\n")[:200])
