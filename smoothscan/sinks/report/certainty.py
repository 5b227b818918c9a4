"""How sure the scan is, and what it did not examine: short, and from the result's own fields only."""

from __future__ import annotations

from smoothscan.config import PROFILES
from smoothscan.result import ClassResult, ScanResult
from smoothscan.sinks import words
from smoothscan.sinks.text import count, number, percent, probability
from smoothscan.vocabulary import SPACES, titles

Row = tuple[str, str]


def sureness(result: ScanResult, first: ClassResult | None) -> list[Row]:
    """Return what the verdict rests on: a name, and what can be said of it.

    Args:
        result: the scan.
        first: the class that the verdict is about, or came closest; None where none was looked at.
    """
    if result.status != "completed" or first is None:
        return [("Nothing was measured.", "The scan gave no number that says anything about a backdoor.")]
    c = result.coverage
    few = " With so few, every interval is wide." if c.held_out < words.FEW_IMAGES else ""
    rows = [
        (
            "Images.",
            f"Transfer was counted on {count(c.held_out, 'held-out image')}, none of which made a trigger.{few}",
        ),
        ("Interval.", _interval(first, result)),
        ("Chance.", _chance(result)),
        ("Calibration.", _calibration(result)),
    ]
    if control := _control(first, result):
        rows.append(("Control.", control))
    rows.append(("Smoothing.", _smoothing(result, first)))
    rows += [("In the way.", words.OBSTACLES[obstacle]) for obstacle in result.obstacles]
    return rows


def not_examined(result: ScanResult) -> list[Row]:
    """Return what was and was not looked at: a name, and how much of it."""
    if result.status != "completed":
        return [("The model.", "The scan did not complete: nothing about this model is known from it.")]
    c = result.coverage
    rows = []
    if not result.classes:
        return [("Classes.", "No class was searched: the scan ended before."), ("Code and graph.", _code(result))]
    if result.spaces:
        denoised = [s.space for s in result.spaces if s.denoised]
        through = f" Searched through the denoiser: {titles(denoised)}." if denoised else ""
        rows.append(("Kinds of trigger.", f"Searched: {titles(s.space for s in result.spaces)}.{through}"))
    rows += words.left_out(result)
    rows.append(("Classes.", _classes(result)))
    rows.append(("Pairs of classes.", _pairs(result)))
    rows.append(("Code and graph.", _code(result)))
    left = [
        count(len(c.images_skipped), "image file") + " could not be used" if c.images_skipped else "",
        count(c.images_left_out, "image") + " more than are of use, or fit into memory" if c.images_left_out else "",
    ]
    if any(left):
        rows.append(("Images that were left out.", "; ".join(filter(None, left)) + "."))
    if result.denoiser is None:
        rows.append(("Denoiser.", "None was used (--denoiser): triggers that fade under noise are harder to see."))
    else:
        rows.append(("Denoiser.", f"{result.denoiser.uri}, {result.denoiser.digest}."))
    profile = result.config.get("profile")
    if profile in PROFILES and profile != "paper":
        more = "standard and paper search" if profile == "quick" else "paper searches"
        rows.append(("Depth.", f"The profile was {profile}; {more} harder."))
    return rows


def _interval(c: ClassResult, result: ScanResult) -> str:
    found = words.pair_of(c, result) or c
    low, high = found.transfer_ci
    return (
        f"{percent(found.transfer_rate)} of {count(found.n_images, 'image')} move to “{c.label}”; with 95\u00a0% "
        f"confidence between {percent(low)} and {percent(high)} of all such images would."
    )


def _chance(result: ScanResult) -> str:
    if result.p_value is None:
        return "There is no p-value: the model's own classes give none for this finding."
    return (
        f"If no class were a target, the most suspect of {result.coverage.classes_total:,} would stand out this much "
        f"with probability {probability(result.p_value)}, going by the model's own classes."
    )


def _calibration(result: ScanResult) -> str:
    used = result.calibration
    if used is None:
        return (
            "None was used: the classes of this model are compared with each other, not the model with clean ones "
            "(smoothscan calibrate)."
        )
    return (
        f"Of {count(used.n_models, 'clean model')} the most anomalous has {number(used.highest_anomaly)}, this one "
        f"{number(result.anomaly or 0)}: p\u00a0=\u00a0{probability(used.p_value)}, where so many models allow "
        f"{probability(used.smallest_p)} at best."
    )


def _control(c: ClassResult, result: ScanResult) -> str:
    """Return what as large a change without the pattern does, and what the trigger does at that size."""
    if c.control_rate is None or c.control_epsilon is None or words.pair_of(c, result) is not None:
        return ""
    space, there = SPACES[result.space], words.at_control(c)
    own = f", the {space.thing} itself {percent(there.transfer_rate)} of them" if there is not None else ""
    return f"At {space.of(c.control_epsilon)}, {space.control} moves {percent(c.control_rate)} of the same images{own}."


def _smoothing(result: ScanResult, c: ClassResult) -> str:
    pair = words.pair_of(c, result)
    sigma = result.pairs.sigma if pair is not None and result.pairs is not None else c.sigma
    seed = result.config.get("seed", 0)
    noise = f"Noise level \u03c3 = {number(sigma, 2)}; seed {seed}."
    return f"{noise} The same command on the same machine gives the same result."


def _classes(result: ScanResult) -> str:
    c = result.coverage
    if c.classes_examined < c.classes_total:
        return f"{c.classes_examined:,} of {c.classes_total:,} were examined{words.screened(result)}."
    if screened := words.screened(result):
        return f"All {c.classes_total:,} were looked at{screened}."
    return f"All {c.classes_total:,} were searched in full."


def _pairs(result: ScanResult) -> str:
    if result.pairs is None:
        return "Not searched (--pairs)." if words.takes_pairs(result) else "Not searched."
    missing = result.coverage.classes_total - len(result.pairs.sources)
    without = f"; of {count(missing, 'class', 'classes')} there were too few images" if missing else ""
    return f"Small patches from {count(len(result.pairs.sources), 'source class', 'source classes')}{without}."


def _code(result: ScanResult) -> str:
    s = result.safety
    parts = ["The graph was examined." if s.architecture_examined else words.not_examined(result)]
    if s.unexamined:
        parts.append(f"No scanner understood {count(len(s.unexamined), 'file')} (listed under Safety).")
    if s.held_by_caller:
        parts.append("The module was in the memory of a Python program: no file and no code of it was looked at.")
    elif s.model_code_executed:
        parts.append("Code of the model's own was run, and only looked at from outside.")
    return " ".join(parts)
