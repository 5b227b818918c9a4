"""A classifier in this process, for models that the caller already holds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from smoothscan.classifier.interface import Arithmetic, Classifier, as_logits, kind_of_outputs
from smoothscan.meter import Meter


class LocalClassifier(Classifier):
    """A module that takes images [B, C, H, W] in [0, 1] and answers [B, K].

    Args:
        module: the model, in evaluation mode.
        images: a few clean images, [B, C, H, W] in [0, 1]; they tell the input shape and what the model answers.
        precision: arithmetic of the model.
    """

    def __init__(self, module: nn.Module, images: Tensor, precision: Arithmetic = "float32") -> None:
        super().__init__()
        self.module = module.to(memory_format=torch.channels_last).requires_grad_(False)  # type: ignore[call-overload]
        self.input_shape = (int(images.shape[1]), int(images.shape[2]), int(images.shape[3]))
        self.batch_size = 256
        self.precision = precision
        self.device = "cpu"
        self.meter = Meter()
        with torch.no_grad():
            answer = self.module(images)
        self.n_classes = int(answer.shape[1])
        self.outputs = kind_of_outputs(answer)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, K] of images [B, C, H, W] in [0, 1]."""
        self.meter.passes += len(images) * (1 if torch.is_grad_enabled() and images.requires_grad else 1 / 3)
        x = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
            answer = self.module(x)
        return as_logits(answer.float(), self.outputs)
