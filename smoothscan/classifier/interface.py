"""The classifier as the scanner sees it, wherever it runs."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from smoothscan.meter import Meter

Arithmetic = Literal["float32", "bfloat16"]
Outputs = Literal["logits", "probabilities", "log_probabilities"]


class Classifier(nn.Module):
    """The base classifier f: images [B, C, H, W] in [0, 1] -> logits [B, K], differentiable in the images.

    Implementations answer any B; `batch_size` is the most images whose gradient is computed at once.
    """

    n_classes: int
    """Number of classes K."""
    input_shape: tuple[int, int, int]
    """Channels, height and width of an image."""
    batch_size: int
    """Most images of one exchange; a function of the model and of the memory it may use."""
    precision: Arithmetic
    """Arithmetic of the model; the answers are float32 either way."""
    device: str
    """Torch device the model runs on."""
    outputs: Outputs = "logits"
    """What the model itself answers; `forward` always gives logits."""
    meter: Meter
    """What was asked so far."""

    def predict(self, images: Tensor) -> Tensor:
        """Return the classes [B] of images [B, C, H, W] in [0, 1]."""
        with torch.no_grad():
            classes: Tensor = self(images).argmax(1)
        return classes


def kind_of_outputs(answer: Tensor) -> Outputs:
    """Tell logits from probabilities and their logarithms, by whether every row [K] adds up to one.

    Args:
        answer: what the model answers, [B, K].
    """
    for kind, probabilities in (("probabilities", answer), ("log_probabilities", answer.exp())):
        if (probabilities >= 0).all() and (probabilities.sum(1) - 1).abs().max() < 1e-2:
            return kind  # type: ignore[return-value]
    return "logits"


def as_logits(answer: Tensor, outputs: Outputs) -> Tensor:
    """Return logits for what the model answers; log-probabilities are logits already."""
    if outputs == "probabilities":
        return answer.clamp_min(torch.finfo(answer.dtype).tiny).log()
    return answer
