"""The transfer test: does a trigger made from one image move others too?"""

from __future__ import annotations

import torch
from torch import Tensor

from smoothscan.classifier.interface import Classifier
from smoothscan.spaces.interface import Trigger


def transfer(classifier: Classifier, images: Tensor, clean: Tensor, trigger: Trigger, target: int) -> Tensor:
    """Return which images the trigger moves to the target class, [N] bool.

    Images that the model gives to the target already are not moved; they count neither as hits nor as tries.

    Args:
        classifier: the base classifier; nothing is smoothed here.
        images: held-out images, [N, C, H, W] in [0, 1].
        clean: their predictions, [N].
        trigger: what was found for the class.
        target: class t.
    """
    moved = torch.zeros(len(images), dtype=torch.bool)
    sources = torch.nonzero(clean != target).flatten()
    for part in torch.split(sources, classifier.batch_size) if len(sources) else ():
        moved[part] = classifier.predict(trigger.on(images[part])) == target
    return moved
