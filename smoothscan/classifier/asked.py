"""What classifiers have in common that are asked two questions: logits of images, and the gradient for a cotangent.

Their answers are checked, whoever gives them: they have to be finite, and the same when the same is asked again.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from smoothscan.classifier.interface import Classifier, as_logits, kind_of_outputs
from smoothscan.config import Precision
from smoothscan.errors import ModelHostError, NonFiniteError, UnstableModelError, UnsupportedModelError
from smoothscan.meter import Meter
from smoothscan.result import InputSpec

MAX_BATCH = 512
"""Most images of one exchange; larger batches gain nothing."""
MAX_CLASSES = 100_000
"""Most classes that a model may claim to have."""
MIN_AGREEMENT = 0.95
"""Share of predictions that bfloat16 has to keep to be used without being asked for."""

STEADY_IMAGES = 48
"""Most images that are asked about more than once, to see whether their answers stay."""
STEADY = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.05}
"""Largest change of an answer, as a share of the range of the model's answers, that arithmetic alone explains."""
NO_CLASSIFIER = (
    "smoothscan examines image classifiers that answer scores [batch, classes]: log the network without what comes "
    "after it, such as argmax, or what it answers beside the scores."
)
"""What to do with a model whose answers are no logits."""


def batch_size(memory_bytes: int, activation_bytes: int) -> int:
    """Return the most images of one question.

    Args:
        memory_bytes: memory for the activations of one batch.
        activation_bytes: what one image's backward pass keeps.
    """
    return min(max(memory_bytes // activation_bytes, 1), MAX_BATCH)


def check_classes(n_classes: int) -> None:
    """Refuse a model with too few or too many classes.

    Raises:
        UnsupportedModelError: it has.
    """
    if n_classes == 1:
        raise UnsupportedModelError(
            "The model has a single output, so there is no class for a trigger to lead to.",
            "smoothscan examines classifiers with at least two classes.",
        )
    if n_classes > MAX_CLASSES:
        raise UnsupportedModelError(f"The model claims {n_classes} classes; at most {MAX_CLASSES} are supported.")


class AskedClassifier(Classifier):
    """A classifier behind two questions.

    Args:
        spec: what the model's images are like.
    """

    dtype: str
    """Data type of the model's input."""
    native_bfloat16: bool
    """Whether its device multiplies bfloat16 in hardware."""

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.meter = Meter()
        self.precision = "float32"
        self.input_shape = (spec.channels, spec.height, spec.width)
        self.newest = 0  # number of the newest question, whose graph is kept

    @abstractmethod
    def _logits(self, images: Tensor, *, keep: bool) -> Tensor:
        """Return what the model answers, [B, K], for at most `batch_size` images [B, C, H, W] in [0, 1].

        Args:
            images: the images.
            keep: whether their gradient will be asked for next.
        """

    @abstractmethod
    def _gradient(self, images: Tensor, cotangent: Tensor, *, reuse: bool) -> Tensor:
        """Return the gradient [B, C, H, W] of sum(cotangent * answer).

        Args:
            images: [B, C, H, W] in [0, 1].
            cotangent: [B, K].
            reuse: whether these are the images of the newest question, whose graph was kept.
        """

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, K] of images [B, C, H, W] in [0, 1]."""
        answer: Tensor = _Exchange.apply(images, self)  # type: ignore[no-untyped-call]
        return as_logits(answer, self.outputs)

    def answers(self, images: Tensor, *, keep: bool = False) -> Tensor:
        """Ask for the answers [B, K] to images [B, C, H, W]; `keep` when their gradient will be asked for next."""
        answers = []
        self.newest += 1
        keep = keep and len(images) <= self.batch_size
        for part in torch.split(images, self.batch_size):
            started = time.perf_counter()
            answers.append(self._logits(part, keep=keep))
            self.meter.total_seconds += time.perf_counter() - started
        answer = torch.cat(answers)
        if not answer.isfinite().all():
            half = self.dtype == "float16"
            raise NonFiniteError(
                "The model answers NaN or infinity on clean or slightly changed images."
                + (" It computes in float16, whose largest number is 65,504." if half else ""),
                "Check the input specification that the result states (value range, mean, std) and the model itself"
                + ("; bfloat16 and float32 have a wider range." if half else "."),
            )
        self.meter.passes += len(images) / 3
        return answer

    def gradient(self, images: Tensor, cotangent: Tensor, *, asked: int) -> Tensor:
        """Ask for the gradient of sum(cotangent * logits).

        Args:
            images: [B, C, H, W] in [0, 1].
            cotangent: [B, K].
            asked: which question their answers were; its graph is still there if it was the newest.

        Returns:
            [B, C, H, W].
        """
        answers = []
        reuse = asked == self.newest and len(images) <= self.batch_size
        self.newest += 1  # a graph serves once
        parts = (torch.split(both, self.batch_size) for both in (images, cotangent))
        for part, weights in zip(*parts, strict=True):
            started = time.perf_counter()
            answers.append(self._gradient(part, weights, reuse=reuse))
            self.meter.total_seconds += time.perf_counter() - started
        self.meter.passes += len(images) * (2 / 3 if reuse else 1)
        # a gradient that overflowed says nothing about its direction; zero keeps the image where it is
        return torch.cat(answers).nan_to_num_(0.0, 0.0, 0.0)

    def settle(self, wanted: Precision, images: Tensor) -> None:
        """Find out what the model answers, and set its arithmetic: bfloat16 where it is fast and keeps the predictions.

        Args:
            wanted: the user's choice.
            images: clean images to try, [B, C, H, W] in [0, 1].

        Raises:
            UnstableModelError: the same images get other answers when they are asked about in another way.
        """
        exact = self.answers(images)
        self.outputs = kind_of_outputs(exact)
        self._first = images[:STEADY_IMAGES]
        self._first_answers = self.answers(self._first)
        self._compare(exact[: len(self._first)], "more of them at once")
        # one by itself and the others from last to first, so that every image has other neighbours
        parts = [self._first[:1], self._first[1:].flip(0)]
        alone, others = (self.answers(part) if len(part) else exact[:0] for part in parts)
        self._compare(torch.cat([alone, others.flip(0)]), "in another order")
        self._choose(wanted, images, exact)
        if self.precision != "float32":
            self._first_answers = self.answers(self._first)

    def verify(self) -> None:
        """Ask about the first images of `settle` once more, in the same way.

        Raises:
            UnstableModelError: the answers are not those of then.
        """
        self._compare(self.answers(self._first), "at the end of the scan")

    def _compare(self, answers: Tensor, how: str) -> None:
        """Compare answers to the first images with those that were given first."""
        width = (self._first_answers.amax(1) - self._first_answers.amin(1)).median()
        change = float((answers - self._first_answers).abs().max() / width.clamp_min(1e-12))
        if change > STEADY.get(self.dtype, STEADY["float32"]):
            raise UnstableModelError(
                f"The model answers differently when it is asked about the same {len(answers)} images again, {how}: by "
                f"up to {change:.2g} times the range of its outputs.",
                "Random operations, normalisation by the statistics of each batch, or state that is kept between calls "
                "do that. Log the model in evaluation mode, and without such operations.",
            )

    def _choose(self, wanted: Precision, images: Tensor, exact: Tensor) -> None:
        if wanted == "float32" or (wanted == "auto" and not self.native_bfloat16):
            return
        self.precision = "bfloat16"
        if wanted == "auto":
            try:
                agreement = (self.answers(images).argmax(1) == exact.argmax(1)).float().mean()
            except (NonFiniteError, ModelHostError):  # a network may insist on the precision that it was written in
                self.precision = "float32"
            else:
                self.precision = "bfloat16" if agreement >= MIN_AGREEMENT else "float32"


class _Exchange(torch.autograd.Function):
    """The two questions as one differentiable function."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, classifier: AskedClassifier) -> Tensor:
        ctx.classifier = classifier
        ctx.save_for_backward(images)
        answer = classifier.answers(images.detach(), keep=ctx.needs_input_grad[0])
        ctx.asked = classifier.newest
        return answer

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
        (images,) = ctx.saved_tensors
        return ctx.classifier.gradient(images, cotangent, asked=ctx.asked), None
