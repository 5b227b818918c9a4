"""Published detectors to compare with: small implementations of our own, one file for each."""

from __future__ import annotations

from baselines.interface import Baseline
from baselines.mmbd import MaximumMargin
from baselines.neural_cleanse import NeuralCleanse
from baselines.smoothinv import PlainInversion, SmoothInv


def all_baselines() -> tuple[Baseline, ...]:
    """Return every baseline at the effort it is reported with, cheapest first.

    For ten classes that is 9,000, 30,000, 32,000, 64,000 and 960,000 passes.
    """
    return PlainInversion(), MaximumMargin(), SmoothInv(steps=50, n_noise=10), NeuralCleanse(), SmoothInv()
