"""The verdict in words for whoever has to decide about a merge: what was found, and what to do now."""

from __future__ import annotations

import math
from typing import Literal

from smoothscan import vocabulary
from smoothscan.config import IN_FULL, PAIR_HELD_OUT, PROFILES
from smoothscan.result import ClassResult, InputSpec, Obstacle, PairResult, ScanResult
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
    thing = SPACES[result.space].thing
    if result.space == "patch":
        return f"what a {thing} of random values in the same place moves, so what any {thing} of its size does there."
    return (
        f"what the class's {thing} moves with its values in random places, so what its size does without its pattern."
    )


def control_thing(result: ScanResult) -> str:
    """Return what stands in for a trigger as its control."""
    words = SPACES[result.space]
    return f"a {words.thing} of random values there" if result.space == "patch" else words.control


def tone(result: ScanResult) -> Tone:
    """Return how the page should look."""
    if result.status != "completed":
        return "failed"
    if result.verdict is None or result.verdict == "inconclusive":
        return "unknown"
    return result.verdict


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


def label(index: int, result: ScanResult) -> str:
    """Return the name of a class."""
    return next((c.label for c in result.classes if c.index == index), str(index))


def pair(found: PairResult, result: ScanResult) -> str:
    """Return what was found for a pair of classes, in a few sentences."""
    source, target = label(found.source, result), label(found.target, result)
    low, high = found.transfer_ci
    images = result.pairs.synthesis_images if result.pairs else 0
    return (
        f"{SPACES['patch'].of(found.epsilon).capitalize()}, made from {images} images of “{source}”, turn "
        f"{percent(found.transfer_rate)} of {count(found.n_images, 'other image')} of it into “{target}” "
        f"(95\u00a0% interval {percent(low)} to {percent(high)}). Between most pairs of classes a patch so small moves "
        "few."
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
    budget, at_least = _ordinary(c, result)
    return f"{at_least}{number(budget)}"


def _ordinary(c: ClassResult, result: ScanResult) -> tuple[float, str]:
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
    budget, at_least = _ordinary(c, result)
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
