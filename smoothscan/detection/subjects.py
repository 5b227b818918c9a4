"""The images of one scan, by their part in it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FOLDS = 2
"""Parts of the held-out images; what is chosen on one part is measured on the other."""


@dataclass(frozen=True)
class Subjects:
    """The images of one scan."""

    images: Tensor
    """All usable images, [N, C, H, W] in [0, 1]."""
    clean: Tensor
    """Their predictions, [N]."""
    synthesis: tuple[int, ...]
    """Positions of the images that perturbations start from."""
    per_class: int = 1
    """Number of them that each class starts from."""

    screening: tuple[int, ...] = ()
    """Positions of the images that many classes are screened on; none where there are few."""
    probes: tuple[int, ...] = ()
    """Positions of those that a screening looks at the outcome on."""

    @property
    def held_out(self) -> Tensor:
        """Positions of all other images, [H]; fold f has every FOLDS-th of them, beginning with the f-th."""
        used = {*self.synthesis, *self.screening, *self.probes}
        return torch.tensor([i for i in range(len(self.images)) if i not in used])

    def sources(self, target: int) -> list[int]:
        """Return the positions of the images that class `target` starts from: the first that are not given to it."""
        return [i for i in self.synthesis if int(self.clean[i]) != target][: self.per_class]
