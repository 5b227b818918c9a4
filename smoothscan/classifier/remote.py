"""A classifier in a process of its own, behind an ordinary nn.Module."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from smoothscan import wire
from smoothscan.classifier.asked import NO_CLASSIFIER, AskedClassifier, batch_size, check_classes
from smoothscan.classifier.launcher import HostProcess
from smoothscan.config import ScanConfig
from smoothscan.errors import (
    InconclusiveError,
    ModelHostError,
    ModelLoadError,
    ScanTimeoutError,
    UnstableModelError,
    UnsupportedModelError,
)
from smoothscan.result import InputSpec
from smoothscan.sandbox.disk import MOST_BYTES
from smoothscan.stored import Stored


class RemoteClassifier(AskedClassifier):
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
        super().__init__(spec)
        self._host = host
        self._deadline = deadline
        self._asked = 0
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
        check_classes(self.n_classes)
        self.device = _plain(told.get("device"))[:20]
        self.native_bfloat16 = told.get("native_bfloat16") is True
        self.dtype = _plain(told.get("dtype"))[:20]
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
        self.batch_size = batch_size(config.memory_bytes, _count(told, "activation_bytes"))
        self._map()

    def _logits(self, images: Tensor, *, keep: bool) -> Tensor:
        self._images[: len(images)] = images
        self._exchange({"ask": "logits", "count": len(images), "keep": keep})
        return self._logits_there[: len(images)].clone()

    def _gradient(self, images: Tensor, cotangent: Tensor, *, reuse: bool) -> Tensor:
        if not reuse:
            self._images[: len(images)] = images
        self._cotangents[: len(images)] = cotangent
        self._exchange({"ask": "gradient", "count": len(images), "reuse": reuse})
        return self._gradients[: len(images)].clone()

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
            raise UnsupportedModelError(message, hint or NO_CLASSIFIER)
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
        self._images, self._logits_there, self._cotangents, self._gradients = (
            torch.frombuffer(memory, dtype=torch.float32, offset=offset, count=torch.Size(shape).numel()).view(shape)
            for offset, shape in (layout.images, layout.logits, layout.cotangent, layout.gradient)
        )
        self._ask({"ask": "map", "batch": layout.batch, "shape": layout.shape, "n_classes": layout.n_classes})


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
