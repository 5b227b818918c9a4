"""What would change a verdict, or make it surer: options, files and images that the user can give."""

from __future__ import annotations

from collections.abc import Iterator

from smoothscan.result import Obstacle, ScanResult
from smoothscan.sinks import words
from smoothscan.sinks.text import count
from smoothscan.vocabulary import SPACES

_ENOUGH_IMAGES = 200
"""Held-out images from which on intervals are at most 14 points wide."""

_REMEDIES: dict[Obstacle, str] = {
    "no-answer": "No option makes such a model answer: scan it as it was before whatever rounds or withholds its "
    "answers was put around it.",
    "no-grip": "Check the input specification (--value-range, --mean, --std) first. Of a quantised or otherwise "
    "hardened model, scan the version that it was made from.",
    "hard-step": "Have the author explain the steps that are listed, or leave them out of the model; who answers for "
    "them can waive them (rule hard-step, see docs/gate.md).",
    "no-null": "A calibration on clean models of the same kind would decide: smoothscan calibrate, then --calibration.",
    "unfinished": "The same command again goes on from here; a longer --time-budget, or none, lets it come to an end.",
}
"""What helps against each obstacle."""


def changes(result: ScanResult) -> Iterator[str]:
    """Yield what would change the verdict, the most telling first."""
    if result.status != "completed" or result.error is not None:
        if result.error is not None and result.error.hint:
            yield result.error.hint
        return
    for obstacle in result.obstacles:
        yield _REMEDIES[obstacle]
    flagged = bool(result.target_classes) or result.verdict in ("suspicious", "backdoored")
    if flagged:
        yield from _of_a_flag(result)
    if 0 < result.coverage.held_out < _ENOUGH_IMAGES:
        yield (
            f"More images: transfer was counted on {count(result.coverage.held_out, 'image')}; {_ENOUGH_IMAGES} make "
            "every interval at most 14 points wide."
        )
    if result.config.get("profile") == "quick":
        yield "A deeper search: --profile standard looks for six kinds of trigger, at every budget, and starts twice."
    left_out = [name for name in SPACES if name not in {result.space, *(each.space for each in result.spaces)}]
    if not flagged and left_out and result.config.get("profile") != "paper":
        yield f"More kinds of trigger: --spaces all also looks for {', '.join(left_out)}."
    if not flagged and result.pairs is None and words.takes_pairs(result):
        yield "Triggers that work on images of one class only: --pairs looks for them."
    if result.calibration is None and "no-null" not in result.obstacles:
        yield (
            "A calibration: smoothscan calibrate learns from clean models of the same kind how anomalous those are, "
            "and --calibration judges this one by them."
        )
    if not flagged and result.denoiser is None and result.verdict == "clean":
        yield "Faint triggers that noise hides: a --denoiser trained on such images lets the search see through noise."


def _of_a_flag(result: ScanResult) -> Iterator[str]:
    """Yield how to tell a false alarm from a backdoor."""
    yield (
        "Another seed, or other images: --seed 1 searches with other noise. A backdoor's class is found again, with "
        "about the same budget; a false alarm moves to another class, or goes."
    )
    if result.config.get("synthesis_images", 1) == 1:
        yield "Perturbations made from more images: --synthesis-images 3 leans less on what one image shows."
    yield (
        "If it is explained (a logo, a watermark or a frame that belongs to the class), whoever answers for that can "
        "waive the finding until a day: --waivers, see docs/gate.md."
    )
