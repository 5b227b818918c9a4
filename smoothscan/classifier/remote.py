"""A classifier in a process of its own, behind an ordinary nn.Module."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from smoothscan import wire
from smoothscan.classifier.interface import Classifier, as_logits, kind_of_outputs
from smoothscan.classifier.launcher import HostProcess
from smoothscan.config import Precision, ScanConfig
from smoothscan.errors import (
    InconclusiveError,
    ModelHostError,
    ModelLoadError,
    NonFiniteError,
    ScanTimeoutError,
    UnstableModelError,
    UnsupportedModelError,
)
from smoothscan.meter import Meter
from smoothscan.result import InputSpec
from smoothscan.sandbox.disk import MOST_BYTES
from smoothscan.stored import Stored

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


class RemoteClassifier(Classifier):
    """The model in a host process.

    Everything that the host answers is copied out of the shared memory first and then checked.

    Args:
        host: the running process.
        folder: the MLflow model's local folder.
        stored: where the network lies in it, and in which format.
        spec: how images become the model's input.
        config: device, threads, memory and precision.
        deadline: value of `time.monotonic()` at which the scan must be over.
        allow_code: whether loading may run code that the model brings along.

    Raises:
        ModelLoadError: the model does not load.
        UnsupportedModelError: it is no differentiable image classifier.
        InconclusiveError: it was exported in training mode, or works with the statistics of each batch.
        ScanTimeoutError: the deadline passed.
        ModelHostError: the process died or broke the protocol.
    """

    def __init__(
        self,
        host: HostProcess,
        folder: Path,
        stored: Stored,
        spec: InputSpec,
        config: ScanConfig,
        deadline: float,
        *,
        allow_code: bool,
    ) -> None:
        super().__init__()
        self._host = host
        self._deadline = deadline
        self.meter = Meter()
        self.precision = "float32"
        self.input_shape = (spec.channels, spec.height, spec.width)
        self._asked = 0
        self.newest = 0  # number of the newest question, whose graph the host keeps
        told = self._ask(
            {
                "ask": "load",
                "folder": str(folder),
                "stored": stored.model_dump(mode="json"),
                "spec": spec.model_dump(mode="json"),
                "device": config.device,
                "threads": config.threads,
                "allow_code": allow_code,
            },
            loading=True,
        )
        self.n_classes = _count(told, "n_classes")
        self.device = _plain(told.get("device"))[:20]
        self.native_bfloat16 = told.get("native_bfloat16") is True
        if self.n_classes == 1:
            raise UnsupportedModelError(
                "The model has a single output, so there is no class for a trigger to lead to.",
                "smoothscan examines classifiers with at least two classes.",
            )
        if self.n_classes > MAX_CLASSES:
            raise UnsupportedModelError(
                f"The model claims {self.n_classes} classes; at most {MAX_CLASSES} are supported."
            )
        self._dtype = _plain(told.get("dtype"))[:20]
        if told.get("training_ops") == ["statistics of each batch"]:
            raise UnstableModelError(
                "The model normalises by the statistics of each batch (batch normalisation with track_running_stats "
                "switched off), so its answer to an image depends on the images beside it.",
                "Train it with running statistics, or with GroupNorm, whose answers are those of one image.",
            )
        if told.get("training_ops"):
            raise InconclusiveError(
                "The model was exported in training mode, where dropout and batch statistics make its answers vary.",
                "Call model.eval() before the model is logged, register it again and scan the new version.",
            )
        self.batch_size = min(max(config.memory_bytes // _count(told, "activation_bytes"), 1), MAX_BATCH)
        self._map()

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
            self._images[: len(part)] = part
            self._exchange({"ask": "logits", "count": len(part), "keep": keep})
            answers.append(self._logits[: len(part)].clone())
            self.meter.total_seconds += time.perf_counter() - started
        answer = torch.cat(answers)
        if not answer.isfinite().all():
            half = self._dtype == "float16"
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
            asked: which question their answers were; the host still has its graph if it was the newest.

        Returns:
            [B, C, H, W].
        """
        answers = []
        reuse = asked == self.newest and len(images) <= self.batch_size
        self.newest += 1  # a graph serves once
        for part, weights in self._parts(images, cotangent):
            started = time.perf_counter()
            if not reuse:
                self._images[: len(part)] = part
            self._cotangents[: len(part)] = weights
            self._exchange({"ask": "gradient", "count": len(part), "reuse": reuse})
            answers.append(self._gradients[: len(part)].clone())
            self.meter.total_seconds += time.perf_counter() - started
        self.meter.passes += len(images) * (2 / 3 if reuse else 1)
        # a gradient that overflowed says nothing about its direction; zero keeps the image where it is
        return torch.cat(answers).nan_to_num_(0.0, 0.0, 0.0)

    def _parts(self, images: Tensor, cotangent: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(torch.split(images, self.batch_size), torch.split(cotangent, self.batch_size), strict=True)

    def _exchange(self, question: dict[str, Any]) -> None:
        started = time.perf_counter()
        seconds = self._ask({**question, "precision": self.precision}).get("seconds")
        if isinstance(seconds, (int, float)) and seconds >= 0:  # neither NaN nor more than it can have been
            self.meter.host_seconds += float(min(seconds, time.perf_counter() - started))

    def _ask(self, question: dict[str, Any], *, loading: bool = False) -> dict[str, Any]:
        self._asked += 1
        try:
            wire.send(self._host.channel, {**question, "number": self._asked})
            told = wire.receive(self._host.channel, self._deadline)
            if told.get("number") != self._asked:
                raise wire.WireError("it answers a question that was not asked")
        except wire.WireTimeoutError:
            raise ScanTimeoutError(
                "The time limit passed before the scan was complete.",
                "Allow more with --time-limit; unless --no-cache is given, the same command goes on from there.",
            ) from None
        except wire.WireError as error:
            raise self._lost(error) from None
        kind, message, hint = told.get("error"), _plain(told.get("message", "")), _plain(told.get("hint", ""))
        if kind == "unsupported":
            raise UnsupportedModelError(
                message,
                hint
                or "smoothscan examines image classifiers that answer scores [batch, classes]: log the network without "
                "what comes after it, such as argmax, or what it answers beside the scores.",
            )
        if kind == "load" and loading:
            raise ModelLoadError(message, hint)
        if kind and loading:
            raise ModelLoadError(
                f"The model does not load: {message}",
                "Check that it loads with MLflow outside of smoothscan and takes images of the stated size; a class "
                "that cannot be imported must be logged with code_paths.",
            )
        if kind:
            raise ModelHostError(
                f"The model failed while it was asked: {message}",
                "Check that it runs outside of smoothscan. Its process is held to the memory that a model of its size "
                "needs; if that was too little, a larger --memory gives it more.",
            )
        return told

    def _lost(self, error: wire.WireError) -> ModelHostError:
        """Say how the process ended, or what else went wrong with it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._host.process.wait(timeout=2)
        code = self._host.ending()
        if code is None:
            return ModelHostError(f"The process that holds the model broke the protocol: {error}.")
        if self._host.disk.exceeded:
            return ModelHostError(
                f"The model's code wrote more than {MOST_BYTES // 2**20} MiB of temporary files, and was stopped.",
                "No model needs that to be loaded or asked; look at its code.",
            )
        how = f"ended with code {code}" if code >= 0 else f"was killed by {_signal_name(-code)}"
        words = self._host.last_words().splitlines()[-1:]
        return ModelHostError(
            f"The process that holds the model {how}" + (f"; it printed last: {words[0][:400]}" if words else "."),
            "It may have run out of memory; try --memory 128MB."
            if code == -signal.SIGKILL
            else "The model's own code or a library ended it; check that the model runs outside of smoothscan.",
        )

    def _map(self) -> None:
        """Size the shared memory, so that the host can change what is in it but not how much there is."""
        layout = wire.Layout(self.batch_size, self.input_shape, self.n_classes)
        fd = self._host.memory_fd
        try:
            os.ftruncate(fd, layout.size)
            if hasattr(fcntl, "F_ADD_SEALS"):
                # a host that shrank it would crash the scanner at its next look
                fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            if os.fstat(fd).st_size != layout.size:
                raise OSError("its size was changed")
            memory = mmap.mmap(fd, layout.size)
        except OSError as error:  # no memory is left, or the model's code has its hands on it
            raise ModelHostError(f"The memory shared with the model's process cannot be set up: {error}.") from error
        self._images, self._logits, self._cotangents, self._gradients = (
            torch.frombuffer(memory, dtype=torch.float32, offset=offset, count=torch.Size(shape).numel()).view(shape)
            for offset, shape in (layout.images, layout.logits, layout.cotangent, layout.gradient)
        )
        self._ask({"ask": "map", "batch": layout.batch, "shape": layout.shape, "n_classes": layout.n_classes})

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
        if change > STEADY.get(self._dtype, STEADY["float32"]):
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
    def forward(ctx: Any, images: Tensor, classifier: RemoteClassifier) -> Tensor:
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


def _count(told: dict[str, Any], key: str) -> int:
    value = told.get(key)
    if type(value) is not int or value < 1:
        raise ModelHostError(f"The process that holds the model answered nonsense for {key}.")
    return value


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _plain(text: object) -> str:
    return "".join(c if c.isprintable() else " " for c in str(text))[:2000].strip()
