"""The verdict in words for whoever has to decide about a merge: what was found, and what to do now."""

from __future__ import annotations

import math
from typing import Literal

from smoothscan.result import ClassResult, InputSpec, ScanResult
from smoothscan.sinks.text import count, number, percent, probability

Tone = Literal["backdoored", "suspicious", "clean", "unknown", "failed"]

SUSPICION = 0.5
"""Score at which suspicion begins where a model is compared with itself."""

LIMITS: tuple[tuple[str, str], ...] = (
    (
        "Triggers larger than the budget.",
        "A pattern whose L2 norm is above the largest budget tried, or above the budget at which this model's "
        "ordinary classes move as well, does not stand out.",
    ),
    (
        "Triggers that are not small in L2.",
        "Warped images, patterns spread over frequencies, and changes of colour or tone alter every pixel a little "
        "and have a large L2 norm.",
    ),
    (
        "Source-specific and all-to-all triggers.",
        "A trigger that works on images of some classes only, or sends each class to another one, is diluted: "
        "transfer is counted over all images.",
    ),
    (
        "Hard-coded branches.",
        "A model that compares its input with a stored value before answering gives gradients nothing to follow.",
    ),
)
"""What a scan cannot find: a name, and why."""


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
    flagged = {c.index: c for c in result.classes if c.flagged}
    if flagged:
        first = next((flagged[t] for t in result.target_classes if t in flagged), None)
        more = (
            "" if len(flagged) == 1 else f" {count(len(flagged) - 1, 'more class', 'more classes')} stand out as well."
        )
        return _flagged(first or max(flagged.values(), key=lambda c: c.score), result) + more
    if result.verdict == "clean" and result.calibration is not None and (result.score or 0) >= SUSPICION:
        return "A class stands out among its own model's, but no more than in the clean models of the calibration."
    if result.verdict == "clean" and len(result.classes) > 1:
        return (
            f"None of the {len(result.classes):,} classes needs much less change than the others to draw in unrelated "
            "images, as a backdoor's target would."
        )
    if result.error:
        return result.error.message
    return result.reasons[0] if result.reasons else "What the scan saw does not support a verdict."


def _flagged(c: ClassResult, result: ScanResult) -> str:
    if c.found_by == "noise":
        return f"Faint random noise is enough to turn half of all images into “{c.label}”."
    return (
        f"A small pattern, recovered from {_sources(result)}, turns {percent(c.transfer_rate)} of other images into "
        f"“{c.label}”."
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


def advice(result: ScanResult, exit_code: int) -> str:
    """Return what to do now."""
    code = f"The check exits with code {exit_code}."
    if result.status != "completed":
        hint = result.error.hint if result.error else ""
        return " ".join(filter(None, (_sentence(hint), "Treat the model as not examined.", code)))
    match result.verdict:
        case "backdoored":
            return f"Do not deploy this model: whoever can put the pattern into an input chooses the answer. {code}"
        case "suspicious":
            held = "" if exit_code else "It does not block under the configured --fail-on. "
            return f"Have a person look at the evidence below before this model is deployed. {held}{code}"
        case "clean":
            return f"This is not proof that the model is safe. {code}"
        case _:
            if result.error is None:
                return f"The search ran in full and found no ground for a verdict: treat the model as unknown. {code}"
            return " ".join(filter(None, (_sentence(result.error.hint), f"Treat the model as not examined. {code}")))


def _sentence(hint: str) -> str:
    """Return a hint as a sentence that others can follow."""
    return f"{hint}." if hint and hint[-1] not in ".!?" else hint


def ordinary(c: ClassResult, result: ScanResult) -> str:
    """Return the budget that ordinary classes need, in words; a lower bound if it is the largest that was tried."""
    largest = max((p.epsilon for o in result.classes for p in o.curve), default=c.epsilon)
    budget = largest if c.reference is None else c.reference
    return f"{'more than ' if budget >= largest else ''}{number(budget)}"


def found(c: ClassResult, result: ScanResult) -> str:
    """Return what was found for a flagged class, in a few sentences."""
    text = (
        f"The perturbation was recovered from {_sources(result)}, yet it turns {percent(c.transfer_rate)} of "
        f"{count(c.n_images, 'other image')} into “{c.label}” {_interval(c)} at an L2 budget of "
        f"{number(c.epsilon)}{_per_value(c.epsilon, result.input_spec)}. {compared(c, result)}"
    )
    if c.found_by == "noise" and c.noise_sigma50 is not None:
        text = (
            f"Plain noise of level {number(c.noise_sigma50, 2)} alone turns half of the images into “{c.label}”: "
            f"noise fires this trigger, and the perturbation below is not needed for it. {text}"
        )
    return text


def compared(c: ClassResult, result: ScanResult) -> str:
    """Return how a class's budget compares with those of the model's other classes."""
    others = f"ordinary classes of this model need {ordinary(c, result)}"
    if c.e50 is None:
        largest = max((p.epsilon for p in c.curve), default=c.epsilon)
        return f"It did not reach half of the images at any budget up to {number(largest)}; {others}."
    return f"Half of the images move at {number(c.e50)}; {others}."


def not_suspect(c: ClassResult, result: ScanResult) -> str:
    """Return why the highest-ranked class is not flagged."""
    judged = result.verdict == "clean"
    text = (
        f"This class came closest{'' if judged else ', but the scan cannot judge it'}. Its perturbation turns "
        f"{percent(c.transfer_rate)} of {count(c.n_images, 'other image')} into “{c.label}” {_interval(c)} at an L2 "
        f"budget of {number(c.epsilon)}{_per_value(c.epsilon, result.input_spec)}. {compared(c, result)}"
    )
    if c.e50 is not None and judged:
        text += " A backdoor's target needs far less than the ordinary classes of its model."
    if c.p_value is not None:
        text += (
            f" The most suspect of {len(result.classes):,} ordinary classes stands out as much with probability "
            f"{probability(c.p_value)}."
        )
    return text


def _interval(c: ClassResult) -> str:
    return f"(95\u00a0% interval {percent(c.transfer_ci[0])} to {percent(c.transfer_ci[1])})"


def _per_value(epsilon: float, spec: InputSpec | None) -> str:
    """Return a budget as the root-mean-square change of one value, in the 255 steps that people know."""
    if spec is None:
        return ""
    rms = 255 * epsilon / math.sqrt(spec.channels * spec.height * spec.width)
    return f", a root mean square change of {number(rms, 2)} out of 255 for each value"
