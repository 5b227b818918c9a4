"""MM-BD: which class reaches an unusually large margin, over all inputs there can be?

Wang, Xiang, Miller, Kesidis: MM-BD: Post-Training Detection of Backdoor Attacks with Arbitrary Backdoor Pattern Types
Using a Maximum Margin Statistic, IEEE S&P 2024, arXiv 2205.06900: the maximum margin statistic, and detection by the
order statistic's p-value under a gamma null. Constants that the paper leaves open are those of the authors' published
code (github.com/wanghangpsu/MM-BD). It needs no images.

What differs: 10 random starts for each class instead of 30; a fixed 300 steps where the published code may stop early
on a plateau; the best margin of all steps instead of the last one's. There is no momentum: the published code asks for
0.2 but makes a new optimiser at every step, which forgets it. The step is an absolute one, so a model whose logits are
multiplied by a constant is searched differently, there as here.

A null fitted to all but the largest is too narrow by construction: of 300 samples of ten normal values each, 13 % have
a p-value of 0.05 or less.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import FitError, gamma
from torch import Tensor

from baselines.interface import Answer
from smoothscan.classifier.interface import Classifier

STEP_SIZE = 0.01
"""Step along the gradient of the margin, in [0, 1] pixel units."""
THRESHOLD = 0.05
"""p-value up to which a model is held to be backdoored."""


@dataclass(frozen=True)
class MaximumMargin:
    """The detector. The score is -log10 of the p-value, at most 308."""

    starts: int = 10
    """Random starts for each class."""
    steps: int = 300
    """Gradient steps from each start."""

    @property
    def name(self) -> str:
        """The method and its effort."""
        return f"mm-bd-{self.starts}x{self.steps}"

    def scan(self, classifier: Classifier, images: Tensor, clean: Tensor, seed: int) -> Answer:
        """Examine one model; see `Baseline.scan`. The images are not looked at."""
        before = classifier.meter.passes
        margins = self.margins(classifier, torch.Generator().manual_seed(seed))
        p = p_value(margins)
        verdict = p <= THRESHOLD
        targets = (int(margins.argmax()),) if verdict else ()
        return Answer(-math.log10(max(p, sys.float_info.min)), targets, classifier.meter.passes - before, verdict)

    def margins(self, classifier: Classifier, generator: torch.Generator) -> NDArray[np.float64]:
        """Return the maximum margin of every class, [K]: max over x in [0, 1] of f_c(x) - max_{k != c} f_k(x).

        Args:
            classifier: the model f.
            generator: source of the starts, uniform in [0, 1].
        """
        largest = []
        for group in torch.arange(classifier.n_classes).split(max(classifier.batch_size // self.starts, 1)):
            classes = group.repeat_interleave(self.starts)[:, None]
            x = torch.rand(len(classes), *classifier.input_shape, generator=generator)
            best = torch.full((len(classes),), -math.inf)
            for _ in range(self.steps):
                logits = classifier(x.requires_grad_())
                margin = logits.gather(1, classes)[:, 0] - logits.scatter(1, classes, -math.inf).amax(1)
                (gradient,) = torch.autograd.grad(margin.sum(), x)
                best = torch.maximum(best, margin.detach())
                x = (x.detach() + STEP_SIZE * gradient).clamp(0, 1)
            largest.append(best.view(len(group), self.starts).amax(1))
        return torch.cat(largest).double().numpy()


def p_value(margins: NDArray[np.float64]) -> float:
    """Return the chance that the largest of K ordinary margins is as large as this one, 1 - F(r_max)^K.

    Args:
        margins: maximum margins, [K]; the null F is a gamma distribution fitted to all but the largest. Where there is
            none, the others being equal or too few, nothing stands out from it and the answer is 1.
    """
    try:
        with np.errstate(invalid="ignore"):  # equal margins, which the fit refuses a moment later
            shape, location, scale = gamma.fit(np.delete(margins, margins.argmax()))
    except FitError:
        return 1.0
    beyond = float(gamma.sf(margins.max(), shape, location, scale))
    return -math.expm1(len(margins) * math.log1p(-beyond)) if beyond < 1 else 1.0
