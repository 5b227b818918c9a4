"""What a benchmark asks of a detector to compare with, and what it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from smoothscan.classifier.interface import Classifier


@dataclass(frozen=True)
class Answer:
    """What a detector says about one model."""

    score: float
    """How suspect the model is, higher is more; each detector has a scale of its own."""
    targets: tuple[int, ...]
    """Classes that the method itself names as targets, most suspect first; empty unless `verdict`."""
    passes: float
    """What it cost: one pass is one image through forward and backward, a forward alone counts 1/3."""
    verdict: bool
    """Whether the method holds the model to be backdoored, by its published threshold."""


class Baseline(Protocol):
    """A detector. Same classifier, images and seed give the same answer."""

    @property
    def name(self) -> str:
        """The method and its effort, unique among the baselines of one benchmark."""

    def scan(self, classifier: Classifier, images: Tensor, clean: Tensor, seed: int) -> Answer:
        """Examine one model.

        Args:
            classifier: the model; its meter counts the passes.
            images: the clean images that the scanner gets too, [N, C, H, W] in [0, 1].
            clean: the model's predictions for them, [N].
            seed: seed of all randomness.
        """
