"""What to do now, fitted to the verdict: each step with what has to be typed for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from smoothscan.result import ScanResult
from smoothscan.sinks import words
from smoothscan.sinks.findings import excused, last_day
from smoothscan.sinks.report import commands
from smoothscan.sinks.text import as_sentence, plain
from smoothscan.vocabulary import SPACES

_MAX_WAIVERS = 10
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ALIAS = re.compile(r"models:/[^/@]+@(?P<alias>.+)")


@dataclass(frozen=True)
class Snippet:
    """Something to copy."""

    name: str
    """What it is, for who does not see it."""
    text: str
    file: str = ""
    """The file that it belongs into; empty for a command."""


@dataclass(frozen=True)
class Step:
    """One thing to do."""

    title: str
    text: str
    snippets: tuple[Snippet, ...] = ()


def steps(result: ScanResult, command: str) -> tuple[Step, ...]:
    """Return what to do now, the most urgent first.

    Args:
        result: the scan.
        command: the command line that repeats it; empty if none gave it.
    """
    return tuple(_steps(result, command))


def _steps(result: ScanResult, command: str) -> Iterator[Step]:
    command = commands.pinned(command, result)
    match result.status:
        case "failed" | "timed_out" | "refused" | "unsupported":
            yield from _without_answer(result, command)
            return
    if excused(result):
        yield from _excused(result, command)
        return
    match result.verdict:
        case "suspicious" if result.gate is not None and result.gate.passed:
            yield Step(
                "Look before you deploy it",
                "The scan suspects this model, and the gate lets it pass all the same: only backdoored ones are to be "
                "held back (--fail-on backdoored). Look at the evidence above, and decide.",
            )
            yield _doubt(result, command)
            yield from _waive(result, command)
        case "backdoored" | "suspicious":
            yield _quarantine(result, command)
            yield _retrain(result)
            yield _doubt(result, command)
            yield from _waive(result, command)
        case "clean":
            yield from _pass(result, command)
            yield from _deeper(result, command)
        case _:
            yield from _undecided(result, command)


def _commands(*named: tuple[str, str]) -> tuple[Snippet, ...]:
    return tuple(Snippet(name, text) for name, text in named if text)


def _excused(result: ScanResult, command: str) -> Iterator[Step]:
    """Yield what to do about a model that passes because all that was found is waived or known."""
    until = last_day(result)
    if until is None:
        yield Step(
            "Passes because the baseline has it, too",
            "An earlier version of this model has what was found here, and nothing new was found. So the model passes "
            "for as long as that baseline is given, and what was found stays in it: waive it with a reason and a last "
            "day, or retrain without it.",
        )
    else:
        yield Step(
            f"Passes until {until.isoformat()}: renew the waiver or remove it",
            "The waiver holds for exactly these files. If its reason still holds then, have whoever answers for it set "
            "a later day, in a change that is reviewed. If it does not, remove the waiver: the next scan then fails.",
        )
    yield Step(
        "Scan again",
        "Scan again when the waiver or the files change, and now and then with other clean images: what is found then "
        "and is not waived counts.",
        _commands(("Command that scans again", command)),
    )


def _quarantine(result: ScanResult, command: str) -> Step:
    m = result.model
    if result.safety.held_by_caller:
        return Step("Keep it out", "Do not log or deploy this module, and tell whoever has its weights.")
    if not m.name or not m.version:
        return Step(
            "Keep it out",
            "Move these files where nothing loads them from, and tell whoever has a copy. The digest under Details "
            "tells copies from other models.",
        )
    named = [("Command that takes every alias off this version", commands.off_every_alias(result))]
    text = "Take every alias off this version, so that nothing that loads by alias gets it."
    if found := _ALIAS.fullmatch(m.uri):
        text += " Then put the alias on an earlier version, if that passes the same check."
        uri = f"models:/{m.name}/EARLIER_VERSION"
        back = commands.beside(command, "earlier", uri=uri, set_alias=found["alias"])
        named.append(("Command that moves the alias to an earlier version that passes", back))
    return Step("Keep it out", text, _commands(*named))


def _retrain(result: ScanResult) -> Step:
    targets = [c for c in result.classes if c.flagged]
    labels = ", ".join(f"“{plain(c.label, 80)}”" for c in targets[:3])
    of = f" with the label {labels}" if labels and len(targets) <= 3 else ""
    thing = SPACES["patch" if all(c.found_by == "pairs" for c in targets) else result.space].thing
    folder = commands.output_folder(result)
    return Step(
        "Retrain without it",
        f"Look through the training data{of} for images that carry the {thing} above (also in {folder}/perturbations), "
        "take them out, and train anew from weights that you trust; training on from these may leave the backdoor in. "
        "Replay the trigger on the new version, then scan it in full.",
        _commands(("Command that replays the trigger", commands.replay(result))),
    )


def _doubt(result: ScanResult, command: str) -> Step:
    flagged = [c for c in result.classes if c.flagged]
    compared = any(c.control_rate is not None and c.found_by != "pairs" for c in flagged)
    control = " The control above says what a change of the same size does without the pattern." if compared else ""
    return Step(
        "If you doubt it",
        "Scan again with another seed and, better still, with other clean images: is it the same class, in the same "
        f"place, as far from the ordinary classes?{control}",
        _commands(("Command that scans again with another seed", commands.other_seed(command))),
    )


def _waive(result: ScanResult, command: str) -> Iterator[Step]:
    """Yield the step that waives what is open; nothing where a waiver would not help."""
    open_ = [f for f in (result.gate.findings if result.gate else ()) if f.state == "open"]
    waivable = [f for f in open_ if f.rule == "hard-step" or f.index is not None][:_MAX_WAIVERS]
    if not waivable or not _DIGEST.fullmatch(result.model.digest or ""):
        return
    text = commands.waivers(result, waivable)
    file = commands.value(command, "waivers") or commands.WAIVERS
    more = " The others are in result.json." if len(waivable) < len(open_) else ""
    yield Step(
        "Waive it, if you know better",
        "If the finding is understood and harmless, say so in a file that is reviewed: who answers for it, why, and "
        "until when. It holds for exactly these files and this finding, and is refused until reason and owner are "
        f"filled in. The verdict stays.{more}",
        (
            Snippet("Waiver for the file of waivers", text, file),
            *_commands(("Command that scans with waivers", commands.beside(command, "waived", waivers=file))),
        ),
    )


def _pass(result: ScanResult, command: str) -> Iterator[Step]:
    if result.safety.held_by_caller:
        yield Step(
            "Log it, and scan its URI before it is deployed",
            "What was scanned is a module in the memory of a program: no files of it were looked at, so the verdict is "
            "bound to none. Log it as a version of a registered model, and let that pass smoothscan check.",
            (Snippet("Python that logs the model", commands.LOG_AS_PT2),),
        )
    elif result.model.name:
        yield Step(
            "Let it pass, and bind the verdict to these files",
            "Move the alias only if the gate passes, and keep an attestation that names the files' digests: whoever "
            "deploys the model can then tell that these are the bytes that were scanned.",
            _commands(
                (
                    "Command that moves an alias if the gate passes",
                    commands.again(command, set_alias="ALIAS", attest=None),
                ),
            ),
        )
    else:
        yield Step(
            "Let it pass, and bind the verdict to these files",
            "Keep an attestation that names the files' digests: whoever deploys the model can then tell that these are "
            "the bytes that were scanned.",
            _commands(("Command that writes an attestation", commands.again(command, attest=None))),
        )


def _deeper(result: ScanResult, command: str) -> Iterator[Step]:
    """Yield the next harder search that was not done; nothing is harder than the protocol of the paper."""
    profile = _profile(result)
    options: dict[str, str | None] = {}
    wants = []
    if profile == "quick":
        options["profile"] = "standard"
        wants.append("more budgets, steps and kinds of trigger")
    elif profile == "standard":
        if words.left_out(result):
            options["spaces"] = "all"
            wants.append("every kind of trigger")
        if result.pairs is None and words.takes_pairs(result):
            options["pairs"] = None
            wants.append("triggers that work on images of one class only")
        if not options:
            options["profile"] = "paper"
            wants.append("the protocol of the paper, a hundred times slower")
    if options:
        fits = " The calibration is of the search that was done, and does not go with this one."
        yield Step(
            "Look deeper",
            f"Where much depends on this model, spend more time: {'; '.join(wants)}."
            f"{fits if result.calibration else ''}",
            _commands(("Command that looks deeper", commands.searched(command, "deeper", **options))),
        )


def _profile(result: ScanResult) -> str:
    return str(result.config.get("profile") or "standard")


def _undecided(result: ScanResult, command: str) -> Iterator[Step]:
    yield Step(
        "Treat it as unknown",
        "Nothing is known for or against this model: leave every alias where it is until a scan can say.",
    )
    if result.error is not None:
        yield Step("Remove what was in the way", as_sentence(result.error.hint) or "The reason is above.")
    blockers = set(result.obstacles)
    if "unfinished" in blockers:
        yield Step(
            "Go on from here",
            "The same command goes on from where it stopped, unless --no-cache is given; a longer --time-budget "
            "lets it end in one go.",
            _commands(("Command that goes on", command)),
        )
    if blockers & {"no-answer", "no-grip"}:
        harder = {"quick": "standard", "standard": "paper"}.get(_profile(result))
        search = commands.searched(command, "harder", profile=harder) if harder else ""
        yield Step(
            "Check how images reach the model",
            "Compare value range, mean and standard deviation under Details with what the model was trained on: an "
            f"input that is scaled wrongly looks like this.{' If they are right, search harder.' if harder else ''}",
            _commands(("Command that searches harder", search)),
        )
    if "no-null" in blockers:
        yield Step(
            "Judge it against clean models",
            "With models of the same kind that you know to be clean, the scan needs no comparison with this model's "
            "own classes.",
            _commands(
                ("Command that learns from clean models", commands.calibrate(command)),
                (
                    "Command that judges against them",
                    commands.beside(command, "calibrated", calibration=commands.CALIBRATION),
                ),
            ),
        )
    if "hard-step" in blockers:
        yield Step(
            "Have the steps explained",
            "Ask the model's author what the steps listed under Safety are for, or to leave them out: export the model "
            "without them, and scan that.",
        )
        yield from _waive(result, command)


def _without_answer(result: ScanResult, command: str) -> Iterator[Step]:
    yield Step(
        "Treat it as not examined",
        "Nothing is known of this model, neither good nor bad: leave every alias where it is until a scan has an "
        "answer. This cannot be waived.",
    )
    hint = as_sentence(result.error.hint if result.error else "")
    match result.status:
        case "timed_out":
            limit = result.config.get("time_limit")
            longer = f"{round(2 * limit)}s" if isinstance(limit, (int, float)) else "2h"
            yield Step(
                "Give it more time",
                f"{hint} With --time-budget a scan ends by itself with what it has, and goes on from there the next "
                "time.",
                _commands(("Command with more time", commands.again(command, time_limit=longer))),
            )
        case "refused":
            yield Step(
                "Have it stored without code",
                f"{hint} A pt2 archive is data, not code: it needs an example of the input.",
                (Snippet("Python that logs the model as pt2", commands.LOG_AS_PT2),),
            )
            yield Step(
                "Or run its code, if you trust where it comes from",
                "On a machine where the sandbox holds (smoothscan doctor) such models are loaded inside it; elsewhere "
                "only if you say so.",
                _commands(("Command that runs the model's code", commands.again(command, allow_model_code=None))),
            )
        case "unsupported":
            yield Step("What can be scanned", hint or "smoothscan examines PyTorch image classifiers.")
        case _:
            yield Step(
                "Repair what failed, and scan again",
                hint or "The reason is above.",
                _commands(("Command that says more", commands.again(command, verbose=None))),
            )
