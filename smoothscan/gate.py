"""Whether a model may pass: what was found, less what is waived or was known before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from smoothscan.errors import ConfigError
from smoothscan.result import (
    ArchitectureFinding,
    FailOn,
    Finding,
    Gate,
    ModelInfo,
    RuleName,
    ScanResult,
    Suspicion,
    Waiver,
)
from smoothscan.sinks import words
from smoothscan.sinks.findings import OF_OTHERS, SET_ASIDE_ONLY, blocks, fingerprint, identity, severity, subject
from smoothscan.sinks.text import number
from smoothscan.verdict.obstacles import hidden
from smoothscan.verdict.suspicions import suspicions, untold
from smoothscan.vocabulary import SPACES

UNTOLD = (
    "An older smoothscan wrote this result, which does not say whether other classes stand out by themselves beside "
    "those that are waived or known: scan again."
)
"""Why a result of before `suspicions` does not pass where all that it names is set aside."""


def judge(
    result: ScanResult,
    fail_on: FailOn = "suspicious",
    waivers: Sequence[Waiver] = (),
    baseline: ScanResult | None = None,
    today: date | None = None,
) -> ScanResult:
    """Return a result with what the gate says of it; the verdict stays as it is.

    Args:
        result: the scan.
        fail_on: mildest verdict that holds a model back.
        waivers: findings that somebody answers for, of any models.
        baseline: an earlier scan whose findings are known; see `read_baseline`.
        today: the day in UTC on which waivers are looked at; needed with waivers.

    Raises:
        ConfigError: the baseline is about another model.
    """
    if waivers and today is None:
        raise ValueError("whether a waiver holds depends on the day")
    if result.status != "completed":  # nothing was found that could be waived or known
        code = result.exit_code(fail_on)
        return result.model_copy(update={"gate": Gate(passed=False, exit_code=code, fail_on=fail_on)})
    compared, notes = None, []
    if baseline is not None:
        same_model(result.model, baseline)
        compared = f"{baseline.model.resolved_uri or baseline.model.uri} ({baseline.model.digest})"
        notes.append(f"Compared with the baseline {compared}.")
    then = () if baseline is None else (*further(baseline), *findings(baseline))
    book = _Book(
        result, tuple(waivers), baseline, {finding.fingerprint: finding for finding in then}, today or date.max
    )
    found = tuple(book.entered(finding) for finding in findings(result))
    more = further(result)
    hides = False
    if result.exit_code("suspicious") == 1 and not _holds(found):
        found += (beside := tuple(book.entered(finding) for finding in more))
        notes += [f"Beside what is waived or known: {finding.message}" for finding in beside if finding.state == "open"]
        hides = untold(result, fail_on)
    notes += book.notes(found, more)
    code = _exit_code(result, fail_on, found)
    if code == 0 and hides and result.exit_code(fail_on) == 1:
        code = 4
        notes.append(UNTOLD)
    if code == 4 and result.exit_code(fail_on) == 1:
        notes.append(SET_ASIDE_ONLY)
    gate = Gate(
        passed=code == 0,
        exit_code=code,
        fail_on=fail_on,
        findings=found,
        baseline=compared,
        notes=tuple(notes),
    )
    return result.model_copy(update={"gate": gate})


def findings(result: ScanResult) -> tuple[Finding, ...]:
    """Return everything that speaks against a model, each once; a model that is flagged has one at least.

    A class that only pairs lead to is told by its pairs, each of which names its source; one that all images are led to
    is told once, whatever pairs lead there as well.
    """
    if result.status != "completed":
        return ()
    found = [*_classes(result)]
    if not found and result.exit_code("suspicious") == 1:
        found.append(_finding(result, "target-class", f"The verdict is {result.verdict}, though no class is named."))
    if steps := hidden(result.safety.architecture):
        found.append(_finding(result, "hard-step", steps))
    return tuple(found)


def further(result: ScanResult) -> tuple[Finding, ...]:
    """Return the classes that no finding of `findings` is about, and that would be flagged if there were no others.

    The verdict is about the most anomalous space, and there about what comes close to its most anomalous class.
    """
    told = {finding.index for finding in findings(result) if finding.rule == "target-class"}
    return tuple(
        _finding(result, "target-class", _by_itself(each), each.index).model_copy(
            update={"suspicion": each, "label": each.label}
        )
        for each in (suspicions(result) if result.status == "completed" else ())
        if each.index not in told
    )


def same_model(model: ModelInfo, baseline: ScanResult) -> None:
    """Make sure that a baseline is about the same registered model.

    Raises:
        ConfigError: it is not.
    """
    here, there = identity(model), identity(baseline.model)
    if here != there:
        raise ConfigError(
            f"The baseline is a scan of {there!r}, not of {here!r}: what is known of one says nothing of another.",
            "Pass the result.json of a scan of the same registered model.",
        )


def _classes(result: ScanResult) -> Iterator[Finding]:
    by_index = {c.index: c for c in result.classes}
    pairs = result.pairs.flagged if result.pairs else ()
    paired = {t for t in (p.target for p in pairs) if t not in by_index or by_index[t].found_by in ("pairs", None)}
    for t in result.target_classes:
        if t in paired:
            continue
        if (c := by_index.get(t)) is not None:
            message = f"{words.flagged(c, result)} {words.compared(c, result)}"
        else:
            message = f"Class {t} is held to be the target of a trigger."
        yield _finding(result, "target-class", message, t)
    for pair in pairs:
        if pair.target in paired:
            yield _finding(result, "class-pair", words.pair(pair, result), pair.target, pair.source)


def _by_itself(suspicion: Suspicion) -> str:
    way = "under plain noise" if suspicion.space is None else f"as the target of a {SPACES[suspicion.space].thing}"
    return (
        f"“{suspicion.label}” stands out {way} (R = {number(suspicion.anomaly)}): for it alone the model would be "
        f"called {suspicion.level}."
    )


def _finding(
    result: ScanResult, rule: RuleName, message: str, index: int | None = None, source: int | None = None
) -> Finding:
    return Finding(
        rule=rule,
        index=index,
        label=None if index is None else words.label(index, result),
        source=source,
        source_label=None if source is None else words.label(source, result),
        message=message.replace("\u00a0", " "),
        fingerprint=fingerprint(result.model, rule, index, source),
    )


@dataclass(frozen=True)
class _Book:
    """What is waived and what is known."""

    result: ScanResult
    """The scan."""
    waivers: tuple[Waiver, ...]
    """All waivers, of this model and of others."""
    baseline: ScanResult | None
    """The earlier scan."""
    then: Mapping[str, Finding]
    """What it found, by fingerprint."""
    today: date
    """The day."""

    def entered(self, finding: Finding) -> Finding:
        """Return a finding with its state."""
        mine = [waiver for waiver in self._of_this_model() if _is_about(waiver, finding)]
        for waiver in mine:
            if self.today <= waiver.expires:
                return finding.model_copy(update={"state": "waived", "waiver": waiver})
        # Who set a day after which a finding counts again did not mean a baseline to outlive it.
        known = not mine and not self._not_known(finding)
        return finding.model_copy(update={"state": "known"}) if known else finding

    def notes(self, found: Sequence[Finding], more: Sequence[Finding]) -> Iterator[str]:
        """Yield what a reader has to know of waivers that do not hold, and of the baseline.

        Args:
            found: what the gate looked at.
            more: further suspicions, whether it looked at them or not.
        """
        for waiver in self._of_this_model():
            about = next((finding for finding in (*found, *more) if _is_about(waiver, finding)), None)
            if about is None:
                yield f"The waiver of {waiver.owner} for {_of(waiver)} matches nothing that was found."
            elif self.today > waiver.expires:
                yield f"The waiver of {waiver.owner} for {subject(about)} expired on {waiver.expires.isoformat()}."
        others = [waiver for waiver in self.waivers if waiver.model_digest != self.result.model.digest]
        for finding in found:
            other = next((waiver for waiver in others if _is_about(waiver, finding)), None)
            if finding.state == "open" and other is not None:
                yield (
                    f"A waiver of {other.owner} for {subject(finding)} is bound to other files ({other.model_digest}), "
                    f"and does not hold for this model ({self.result.model.digest})."
                )
        if others:
            yield f"{len(others)} of {len(self.waivers)}{OF_OTHERS}"
        if self.baseline is not None:
            for finding in found:
                why = self._not_known(finding)
                if finding.state == "open" and why:
                    yield f"Not known from the baseline, {subject(finding)}: {why}."

    def _of_this_model(self) -> list[Waiver]:
        return [waiver for waiver in self.waivers if waiver.model_digest == self.result.model.digest]

    def _not_known(self, finding: Finding) -> str:
        """Return why the baseline does not excuse a finding; empty if it does."""
        if self.baseline is None:
            return "there is no baseline"
        there = self.then.get(finding.fingerprint)
        if there is None:
            return "it is new"
        if finding.rule == "hard-step":
            more = _steps(self.result) - _steps(self.baseline)
            return f"{sum(more.values())} of its steps are new" if more else ""
        if (there.label, there.source_label) != (finding.label, finding.source_label):
            return f"there it is called {subject(there)}"
        if (severity(there, self.baseline), severity(finding, self.result)) == ("suspicious", "backdoored"):
            return "there it was suspicious only" if there.suspicion else "there the model was suspicious only"
        return ""


def _of(waiver: Waiver) -> str:
    return subject(waiver) if waiver.rule != "class-pair" else f"the pair {subject(waiver)}"


def _is_about(waiver: Waiver, finding: Finding) -> bool:
    return (waiver.rule, waiver.index, waiver.source) == (finding.rule, finding.index, finding.source) and (
        finding.rule == "hard-step" or finding.index is not None
    )


def _steps(result: ScanResult) -> Counter[tuple[str, str, str]]:
    def key(step: ArchitectureFinding) -> tuple[str, str, str]:
        return step.kind, step.operation, step.detail

    steps: Counter[tuple[str, str, str]] = Counter()
    for step in result.safety.architecture:
        steps[key(step)] += step.count
    return steps


def _holds(found: Sequence[Finding]) -> bool:
    """Tell whether a class or a pair is found that is neither waived nor known."""
    return any(finding.state == "open" and finding.rule != "hard-step" for finding in found)


def _exit_code(result: ScanResult, fail_on: FailOn, found: Sequence[Finding]) -> int:
    """Return the exit code of `check`: the verdict's, unless waivers and baseline leave nothing that counts.

    What is set aside does not make a scan say more than it did: what else kept it from calling the model clean stays.
    """
    code = result.exit_code(fail_on)
    if code not in (1, 4) or result.error is not None:
        return code
    still_open = {finding.rule for finding in found if blocks(finding, fail_on)}
    if code == 1 and still_open - {"hard-step"}:
        return 1
    told = code == 1 or result.obstacles  # else an older program wrote the result, and did not say what was in the way
    return 0 if told and not still_open and set(result.obstacles) <= {"hard-step"} else 4
