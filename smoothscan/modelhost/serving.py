"""The host's loop: wait for a question, answer it, keep nothing but the last graph."""

from __future__ import annotations

import math
import mmap
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, fx

from smoothscan import wire
from smoothscan.activations import activation_bytes
from smoothscan.answers import UnsupportedError
from smoothscan.devices import native_bfloat16, pick_device
from smoothscan.modelhost.adapter import Adapter, training_ops
from smoothscan.modelhost.loaders import load
from smoothscan.modelhost.loaders.interface import LoadError
from smoothscan.result import InputSpec
from smoothscan.stored import Stored

S = TypeVar("S")
T = TypeVar("T")


def serve(channel: socket.socket, memory_fd: int) -> None:
    """Answer questions until the scanner hangs up."""
    host = Host(memory_fd)
    while True:
        try:
            question = wire.receive(channel)
        except wire.WireError:
            return
        started = time.perf_counter()
        try:
            answer = host.answer(question)
        except UnsupportedError as error:
            answer = {"error": "unsupported", "message": str(error), "hint": error.hint}
        except LoadError as error:
            answer = {"error": "load", "message": str(error), "hint": error.hint}
        except Exception as error:  # whatever the model raises is told, not fatal
            answer = {"error": "model", "message": f"{type(error).__name__}: {error}"[:4000]}
        number = question.get("number")
        wire.send(channel, {**answer, "number": number, "seconds": time.perf_counter() - started})


class Host:
    """One model and the shared memory that its questions and answers go through.

    Args:
        memory_fd: file descriptor of the shared memory; the scanner sizes it after `load`.
    """

    def __init__(self, memory_fd: int) -> None:
        self.memory_fd = memory_fd
        self.graph: list[tuple[Tensor, Tensor]] | None = None
        self.workers: ThreadPoolExecutor | None = None
        self.n_workers = 1

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to one question."""
        match question["ask"]:
            case "load":
                return self.load(question)
            case "map":
                return self.map(question)
            case "logits":
                return self.logits(question)
            case "gradient":
                return self.gradient(question)
            case other:
                raise ValueError(f"no such question: {other}")

    def load(self, question: dict[str, Any]) -> dict[str, Any]:
        """Load the model and describe it."""
        spec = InputSpec.model_validate(question["spec"])
        device = pick_device(question["device"])
        if question["threads"]:
            torch.set_num_threads(question["threads"])
        allowed = str(question["allow_code"]).lower()  # MLflow's own switches, besides the scanner's decision
        os.environ.update(MLFLOW_ALLOW_MODEL_CODE_EXECUTION=allowed, MLFLOW_ALLOW_PICKLE_DESERIALIZATION=allowed)
        loaded = load(Path(question["folder"]), Stored.model_validate(question["stored"]), spec, device)
        module = loaded.module
        if not callable(module):
            raise UnsupportedError(f"The model is a {type(module).__name__}, which cannot be called.")
        self.adapter = Adapter(module, spec, device)
        if device.type == "cpu" and isinstance(module, fx.GraphModule) and torch.get_num_threads() > 1:
            # parts of a batch side by side keep the cores busier than threads inside of each small operation; a graph
            # has no state that they could get at each other with
            self.n_workers = torch.get_num_threads()
            self.workers = ThreadPoolExecutor(self.n_workers, initializer=torch.set_num_threads, initargs=(1,))
        image = torch.full((1, spec.channels, spec.height, spec.width), 0.5, device=device)
        used = activation_bytes(lambda x: self.adapter.logits(x, "float32"), image)
        if used is None:
            raise UnsupportedError("No gradient flows from the model's answer to its input.")
        with torch.no_grad():
            n_classes = self.adapter.logits(image, "float32").shape[1]
        return {
            "n_classes": n_classes,
            "device": str(device),
            "activation_bytes": used,
            "static_batch": self.adapter.static_batch,
            "training_ops": [*training_ops(module), *loaded.training_ops],
            "dtype": str(self.adapter.dtype).removeprefix("torch."),
            "native_bfloat16": native_bfloat16(device),
            "threads": torch.get_num_threads(),
        }

    def map(self, question: dict[str, Any]) -> dict[str, Any]:
        """Map the shared memory."""
        layout = wire.Layout(question["batch"], tuple(question["shape"]), question["n_classes"])
        self.memory = mmap.mmap(self.memory_fd, layout.size)
        self.images, self.answers, self.cotangents, self.gradients = (
            torch.frombuffer(self.memory, dtype=torch.float32, offset=start, count=torch.Size(shape).numel()).view(
                shape
            )
            for start, shape in (layout.images, layout.logits, layout.cotangent, layout.gradient)
        )
        return {}

    def logits(self, question: dict[str, Any]) -> dict[str, Any]:
        """Answer the logits of the images; keep the graph when their gradient will be asked for."""
        count, keep, precision = question["count"], question["keep"], question["precision"]
        self.graph = None

        def forward(part: slice) -> tuple[Tensor, Tensor]:
            images = self.images[part].to(self.adapter.device).requires_grad_(keep)
            with torch.set_grad_enabled(keep):
                logits = self.adapter.logits(images, precision)
            self.answers[part] = logits.detach()
            return images, logits

        graph = self._side_by_side(forward, self._parts(count))
        self.graph = graph if keep else None
        return {}

    def gradient(self, question: dict[str, Any]) -> dict[str, Any]:
        """Answer the gradient of sum(cotangent * logits) with respect to the images."""
        count = question["count"]
        if self.graph is None or not question["reuse"]:
            self.logits({**question, "keep": True})
        assert self.graph is not None
        graph, self.graph = self.graph, None

        def backward(kept: tuple[slice, tuple[Tensor, Tensor]]) -> None:
            part, (images, logits) = kept
            (gradient,) = torch.autograd.grad(logits, images, self.cotangents[part].to(logits.device))
            self.gradients[part] = gradient

        self._side_by_side(backward, list(zip(self._parts(count), graph, strict=True)))
        return {}

    def _parts(self, count: int) -> list[slice]:
        """Divide a batch among the workers, by whole batches of an export that takes no others."""
        whole = self.adapter.static_batch or 1
        size = math.ceil(math.ceil(count / self.n_workers) / whole) * whole
        return [slice(start, min(start + size, count)) for start in range(0, count, size)]

    def _side_by_side(self, work: Callable[[S], T], parts: list[S]) -> list[T]:
        if self.workers is None or len(parts) == 1:
            return [work(part) for part in parts]
        return list(self.workers.map(work, parts))
