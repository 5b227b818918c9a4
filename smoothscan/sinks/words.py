"""The verdict in words for whoever has to decide about a merge: what was found, and what to do now."""

from __future__ import annotations

import math
from typing import Literal

from smoothscan import vocabulary
from smoothscan.config import IN_FULL, PAIR_HELD_OUT, PROFILES
from smoothscan.result import ClassResult, CurvePoint, InputSpec, Obstacle, PairResult, ScanResult
from smoothscan.sinks.text import count, number, percent, probability
from smoothscan.vocabulary import SPACES, SpaceName

Tone = Literal["backdoored", "suspicious", "clean", "unknown", "failed"]

SUSPICION = 0.5
"""Score at which suspicion begins where a model is compared with itself."""
FEW_IMAGES = 50
"""Held-out images below which an interval spans 28 points and more."""

OBSTACLES: dict[Obstacle, str] = {
    "no-answer": "The model withholds its answer under noise, or loses it, so that a smoothed classifier, which the "
    "search asks, says nothing.",
    "no-grip": "The search had no grip on the model: its gradients are zero, or lead nowhere.",
    "hard-step": "The model's graph has steps without a gradient that depend on the image. A search cannot follow "
    "them, and a backdoor can be made of them.",
    "no-null": "The model's own classes give nothing to compare a class with: they are too few, or nearly any "
    "perturbation leads to most of them.",
    "unfinished": "The time budget ended before everything was searched.",
}
"""What each obstacle to calling a model clean means."""

_SMALL: dict[SpaceName, str] = {
    "l2": "A small pattern",
    "patch": "A small patch",
    "frequency": "A faint regular wave",
    "smooth": "A faint smooth pattern",
    "warp": "A slight warp",
    "tone": "A slight change of colours",
}
"""What a trigger is to whoever knows no term of the method."""

_LIMITS: tuple[tuple[str, str], ...] = (
    (
        "Triggers that are large in every kind searched.",
        "What is above the largest budget tried, or above the one at which this model's ordinary classes move as well, "
        "does not stand out: a patch over much of the image, a pattern spread over many frequencies.",
    ),
    (
        "Input-dependent triggers.",
        "Where each image gets a change of its own, made for it by another network, there is no one change to find.",
    ),
)
"""What no scan can find: a name, and why."""


_NO_GRAPH = "The architecture was not examined: only the graph of a model in MLflow's pt2 format can be read."
"""What is said of models that are Python code or TorchScript."""
_NOT_FOLLOWED = "The architecture was not examined: torch.export cannot follow the module, so it has no graph."


def left_out(result: ScanResult) -> list[tuple[str, str]]:
    """Return what the scan could have looked for and did not: a name, and why."""
    searched = _searched(result)
    chosen = {*searched, *result.coverage.unfinished}
    missing = [words.title for name, words in SPACES.items() if name not in chosen]
    how = (
        "The protocol of the paper knows no other kinds; the other profiles do."
        if result.config.get("profile") == "paper"
        else "The option --spaces chooses."
    )
    of_kinds = f"This scan did not look for these: {'; '.join(missing)}. {how}"
    parts = [("Kinds of trigger that were left out.", of_kinds)] if missing else []
    if result.coverage.unfinished:
        late = f"Not searched to the end: {vocabulary.titles(result.coverage.unfinished)}."
        parts.append(("What the time budget left no time for.", late))
    return parts


def limits(result: ScanResult) -> list[tuple[str, str]]:
    """Return what the scan could not find: a name, and why; the kinds of trigger that it left out come first."""
    return [*left_out(result), *blind_spots(result)]


def blind_spots(result: ScanResult) -> list[tuple[str, str]]:
    """Return what no scan of this kind can find: a name, and why."""
    of_sources = ("Source-specific and all-to-all triggers.", _sources_limit(result))
    return [_LIMITS[0], of_sources, *_LIMITS[1:], ("Hard-coded branches.", _branches_limit(result))]


def not_examined(result: ScanResult) -> str:
    """Return why there was no graph to read."""
    return _NOT_FOLLOWED if result.safety.held_by_caller else _NO_GRAPH


def _branches_limit(result: ScanResult) -> str:
    """Return what the scan could not find of backdoors in the architecture."""
    blind = "A model that compares its input with a stored value before answering gives gradients nothing to follow."
    if not result.safety.architecture_examined:
        return f"{blind} {not_examined(result)}"
    if result.safety.architecture:
        return f"{blind} This model's graph has such steps; they are listed under Safety."
    return f"{blind} This model's graph was searched for such steps and has none, activation functions apart."


def hard_steps(result: ScanResult) -> str:
    """Return the steps in the model's graph that inversion cannot follow, in one line; empty if there are none."""
    found = [
        step.operation + (f" ({step.count} times)" if step.count > 1 else "") for step in result.safety.architecture
    ]
    techniques = ", ".join(sorted({step.technique for step in result.safety.architecture}))
    return f"depends on the image by hard steps: {', '.join(found)} ({techniques})" if found else ""


def _sources_limit(result: ScanResult) -> str:
    """Return what the scan could not find of triggers that work on images of some classes only."""
    if result.pairs is None:
        how = " The option --pairs looks for them." if takes_pairs(result) else ""
        return (
            "A trigger that works on images of some classes only, or sends each class to another one, is diluted: "
            f"transfer is counted over all images.{how}"
        )
    missing = result.coverage.classes_total - len(result.pairs.sources)
    without = f" Of {count(missing, 'class', 'classes')} there were too few images to look." if missing else ""
    return f"Between pairs of classes only small patches were looked for.{without}"


def takes_pairs(result: ScanResult) -> bool:
    """Return whether pairs of source and target class could be searched in such a model, and by such a scan."""
    return result.coverage.classes_total <= IN_FULL and result.config.get("profile") != "paper"


def _searched(result: ScanResult) -> tuple[SpaceName, ...]:
    """Return the spaces that were searched, or would have been."""
    if result.spaces:
        return tuple(space.space for space in result.spaces)
    if "spaces" not in result.config:  # a result from before there were others
        return ("l2",)
    of_profile = (p.spaces for name, p in PROFILES.items() if name == result.config.get("profile"))
    return tuple(result.config["spaces"] or next(of_profile, ()))


def level(result: ScanResult) -> float:
    """Return the share of the held-out images at which the result's classes count as transferring."""
    return next((space.level for space in result.spaces if space.space == result.space), 0.5)


def share(result: ScanResult) -> str:
    """Return the same in words: half, a third."""
    return vocabulary.share(level(result))


def kind(result: ScanResult) -> str:
    """Return the kind of trigger that the result's classes are about, and what its budgets are."""
    words = SPACES[result.space]
    return f"{words.title}, by {words.axis}"


def control(result: ScanResult) -> str:
    """Return what the control of a class is, for those who see its number."""
    thing, images = SPACES[result.space].thing, f"{share(result)} of the images"
    what = (
        f"what a {thing} of random values in the same place moves"
        if result.space == "patch"
        else f"what the class's {thing} moves with its values in random places"
    )
    return (
        f"{what}, so what size alone does. It is as large as the smallest {thing} with which the class moves {images}, "
        "or as the largest that was tried where none does so."
    )


def at_control(c: ClassResult) -> CurvePoint | None:
    """Return what a class's own trigger does at the size of its control; None where there is no control."""
    points = [p for p in c.curve if p.epsilon == c.control_epsilon]
    return next((p for p in points if p.sigma == c.sigma), points[0] if points else None)


def tone(result: ScanResult) -> Tone:
    """Return how the page should look."""
    if result.status != "completed":
        return "failed"
    if result.verdict is None or result.verdict == "inconclusive":
        return "unknown"
    return result.verdict


def glossary(result: ScanResult) -> list[tuple[str, str]]:
    """Return the terms of the report with what they mean; none where nothing was measured."""
    if not result.classes:
        return []
    kind = SPACES[result.space]
    norm = "L2 norm, the root of the sum of the squares of what each value changes by (black is 0, white is 1)"
    measure = norm if kind.budget.startswith("L2 norm") else kind.axis
    terms = [
        (
            "Budget",
            f"How large a change the search may make to an image, measured here as {measure}. “No trigger found under "
            "this budget” means that nothing up to the largest size that was tried behaved like a backdoor; something "
            "larger may.",
        ),
        (
            "Transfer",
            "A change is recovered for each class from a clean image, and then made to other images. Transfer is the "
            "share of those that the model then gives to the class.",
        ),
        (
            "Held-out images",
            "Your clean images that no change was recovered from. For each class, those that the model gives to it "
            "anyway are not counted.",
        ),
    ]
    if any(c.control_rate is not None for c in result.classes):
        terms.append(
            ("Control", f"As large a change without the pattern: {kind.control}. What it moves is due to size alone.")
        )
    terms.append(
        (
            "R and score",
            "R is the logarithm of how many times less change a class needs than this model's ordinary classes do: 0 "
            "is ordinary. The score is R between 0 and 1.",
        )
    )
    if result.p_value is not None or any(c.p_value is not None for c in result.classes):
        terms.append(
            (
                "p-value",
                "The probability that the most suspect class of a clean model stands out as much, by chance. A small "
                "one speaks for a backdoor.",
            )
        )
    terms.append(("\u03c3", "The strength of noise that is added to images, where black is 0 and white is 1."))
    return terms


def headline(result: ScanResult) -> str:
    """Return the verdict in a few words."""
    match result.status:
        case "failed":
            return "Scan failed: the model was not examined"
        case "refused":
            return "Refused: loading would run the model's own code"
        case "unsupported":
            return "Unsupported model: it was not examined"
        case "timed_out":
            return "Time limit passed: the scan is incomplete"
    match result.verdict:
        case "backdoored":
            return "Backdoor found"
        case "suspicious":
            return "Suspicious: a class behaves like a backdoor's target"
        case "clean":
            return "No trigger found under this budget"
        case _:
            return "Inconclusive: the scan cannot say"


def badge(result: ScanResult) -> str:
    """Return the word of the verdict, or of the status where there is no verdict."""
    return (result.verdict or "no verdict") if result.status == "completed" else result.status.replace("_", " ")


def reason(result: ScanResult) -> str:
    """Return the one sentence that stands under the verdict, without a term of the method."""
    if result.status != "completed":
        return result.error.message if result.error else "The scan ended early and says nothing about the model."
    targets = {c.index: c for c in result.classes if c.flagged}
    if targets:
        first = next((targets[t] for t in result.target_classes if t in targets), None)
        more = (
            "" if len(targets) == 1 else f" {count(len(targets) - 1, 'more class', 'more classes')} stand out as well."
        )
        return flagged(first or max(targets.values(), key=lambda c: c.score), result) + more
    if result.verdict == "clean" and result.calibration is not None and (result.score or 0) >= SUSPICION:
        return "A class stands out among its own model's, but no more than in the clean models of the calibration."
    if result.verdict == "clean" and len(result.classes) > 1:
        return (
            f"None of the {result.coverage.classes_total:,} classes needs much less change than the others to draw in "
            "unrelated images, as a backdoor's target would."
        )
    if result.error:
        return result.error.message
    return result.reasons[0] if result.reasons else "What the scan saw does not support a verdict."


def flagged(c: ClassResult, result: ScanResult) -> str:
    """Return what a flagged class shows, in one sentence without a term of the method."""
    if c.found_by == "noise":
        return f"Faint random noise is enough to turn half of all images into “{c.label}”."
    if (pair := pair_of(c, result)) is not None:
        return (
            f"A small patch turns {percent(pair.transfer_rate)} of the images of “{label(pair.source, result)}” into "
            f"“{c.label}”."
        )
    return (
        f"{_SMALL[result.space]}, recovered from {_sources(result)}, turns {percent(c.transfer_rate)} of other images "
        f"into “{c.label}”."
    )


def screened(result: ScanResult) -> str:
    """Return how many of the classes got a search in full; empty if all did."""
    c = result.coverage
    if c.classes_in_full >= c.classes_examined:
        return ""
    return f", {c.classes_in_full:,} of them in full and the others in a screening, where they did worse"


def pair_of(c: ClassResult, result: ScanResult) -> PairResult | None:
    """Return the pair of source and target class that a class was flagged for, if that is what it was flagged for."""
    pairs = result.pairs.flagged if result.pairs is not None and c.found_by == "pairs" else ()
    return next((pair for pair in pairs if pair.target == c.index), None)


def sources_of(c: ClassResult, result: ScanResult) -> str:
    """Return the source classes of the flagged pairs that lead to a class."""
    sources = [label(p.source, result) for p in (result.pairs.flagged if result.pairs else ()) if p.target == c.index]
    named = [f"“{name}”" for name in sources[:5]]
    return ", ".join(named) + (f" and {len(sources) - 5} more" if len(sources) > 5 else "")


def not_apart(c: ClassResult, result: ScanResult) -> str:
    """Return why a class that pairs lead to looks like the others where images of all classes are counted."""
    return (
        f"Over images of all classes, “{c.label}” does not stand apart: what was found works on images of "
        f"{sources_of(c, result)} only."
    )


def label(index: int, result: ScanResult) -> str:
    """Return the name of a class."""
    return next((c.label for c in result.classes if c.index == index), str(index))


def pair(found: PairResult, result: ScanResult) -> str:
    """Return what was found for a pair of classes, in a few sentences."""
    source, target = label(found.source, result), label(found.target, result)
    low, high = found.transfer_ci
    images = result.pairs.synthesis_images if result.pairs else 0
    return (
        f"A patch of {SPACES['patch'].of(found.epsilon)}, made from {count(images, 'image')} of “{source}”, turns "
        f"{percent(found.transfer_rate)} of {count(found.n_images, 'other image')} of “{source}” into “{target}” "
        f"(95\u00a0% interval {percent(low)} to {percent(high)}). Between most pairs of classes a patch so small moves "
        "few images."
    )


def pairs(result: ScanResult) -> str:
    """Return what the matrix of pairs shows, and which sources it lacks."""
    if result.pairs is None:
        return ""
    largest, missing = result.pairs.epsilons[-1], result.coverage.classes_total - len(result.pairs.sources)
    without = (
        f" {count(missing, 'class has', 'classes have')} too few images for a row: "
        f"{result.pairs.synthesis_images} to make a patch from and {PAIR_HELD_OUT} to test it on are needed."
        if missing
        else ""
    )
    return (
        f"Share of the images of a class (row) that {SPACES['patch'].of(largest)}, made from "
        f"{result.pairs.synthesis_images} other images of it, turn into another class (column). Pairs of similar "
        "classes have large shares in clean models too; a pair is flagged where a smaller patch still moves most."
        f"{without}"
    )


def _sources(result: ScanResult) -> str:
    images = result.config.get("synthesis_images", 1)
    return "one clean image" if images == 1 else f"{images} clean images"


def chances(result: ScanResult) -> str:
    """Return the p-values of the model as a whole in one line; empty if there are none."""
    parts = []
    if result.calibration is not None:
        used = result.calibration
        parts.append(
            f"{probability(used.p_value)} against the calibration's {count(used.n_models, 'clean model')} "
            f"({probability(used.smallest_p)} is the smallest possible)"
        )
    if result.p_value is not None:
        parts.append(f"{probability(result.p_value)} against the model's own classes")
    return "; ".join(parts)


def ordinary(c: ClassResult, result: ScanResult) -> str:
    """Return the budget that ordinary classes need; a lower bound if it is the largest that was tried."""
    budget, at_least = ordinary_budget(c, result)
    return f"{at_least}{SPACES[result.space].of(budget)}"


def ordinary_budget(c: ClassResult, result: ScanResult) -> tuple[float, str]:
    """Return the budget that ordinary classes need beside a class, and `more than ` where it was the largest tried."""
    largest = max((p.epsilon for o in result.classes for p in o.curve), default=c.epsilon)
    budget = largest if c.reference is None else c.reference
    return budget, "more than " if budget >= largest else ""


def found(c: ClassResult, result: ScanResult) -> str:
    """Return what was found for a flagged class, in a few sentences."""
    thing = SPACES[result.space].thing
    text = (
        f"The {thing} was recovered from {_sources(result)}, yet it turns {percent(c.transfer_rate)} of "
        f"{count(c.n_images, 'other image')} into “{c.label}” {_interval(c)} at {_budget(c.epsilon, result)}. "
        f"{compared(c, result)}"
    )
    if c.found_by == "noise" and c.noise_sigma50 is not None:
        text = (
            f"Plain noise of level {number(c.noise_sigma50, 2)} alone turns half of the images into “{c.label}”: "
            f"noise fires this trigger, and the {thing} below is not needed for it. {text}"
        )
    return text


def compared(c: ClassResult, result: ScanResult) -> str:
    """Return how a class's budget compares with those of the model's other classes."""
    words, images = SPACES[result.space], f"{share(result)} of the images"
    budget, at_least = ordinary_budget(c, result)
    others = f"ordinary classes of this model need {at_least}{words.of(budget)}"
    if c.e50 is None:
        largest = max((p.epsilon for p in c.curve), default=c.epsilon)
        return f"It did not reach {images} at any budget up to {words.of(largest)}; {others}."
    return f"{images.capitalize()} move at {words.of(c.e50)}; {others}."


def not_suspect(c: ClassResult, result: ScanResult) -> str:
    """Return why the highest-ranked class is not flagged."""
    judged = result.verdict == "clean"
    text = (
        f"This class came closest{'' if judged else ', but the scan cannot judge it'}. Its "
        f"{SPACES[result.space].thing} turns {percent(c.transfer_rate)} of {count(c.n_images, 'other image')} into "
        f"“{c.label}” {_interval(c)} at {_budget(c.epsilon, result)}. {compared(c, result)}"
    )
    if c.e50 is not None and judged:
        text += " A backdoor's target needs far less than the ordinary classes of its model."
    if c.p_value is not None:
        text += (
            f" The most suspect of {result.coverage.classes_total:,} ordinary classes stands out as much with "
            f"probability {probability(c.p_value)}."
        )
    return text


def _interval(c: ClassResult) -> str:
    return f"(95\u00a0% interval {percent(c.transfer_ci[0])} to {percent(c.transfer_ci[1])})"


def _budget(epsilon: float, result: ScanResult) -> str:
    """Return a budget, and what it means at this input size where that says more."""
    text, spec = SPACES[result.space].of(epsilon), result.input_spec
    if spec is None:
        return text
    if result.space == "patch":
        return f"{text}, {percent(epsilon / (spec.height * spec.width))} of the image"
    return text + _per_value(epsilon, spec) if result.space in ("l2", "frequency", "smooth") else text


def _per_value(epsilon: float, spec: InputSpec) -> str:
    """Return an L2 norm as the root-mean-square change of one value, in the 255 steps that people know."""
    rms = 255 * epsilon / math.sqrt(spec.channels * spec.height * spec.width)
    return f", a root mean square change of {number(rms, 2)} out of 255 for each value"
