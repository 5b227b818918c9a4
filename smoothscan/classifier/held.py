"""The classifier that the caller's own process holds: the same two questions, answered by the module itself.

The module is used as it is, so nothing in it is changed: no folding, no other memory format. See `intake/memory.py` for
what keeps its state.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from smoothscan.activations import activation_bytes
from smoothscan.answers import UnsupportedError, logits_of
from smoothscan.classifier.asked import NO_CLASSIFIER, AskedClassifier, batch_size, check_classes
from smoothscan.devices import native_bfloat16
from smoothscan.errors import ModelHostError, ModelLoadError, ScanTimeoutError, SmoothscanError, UnsupportedModelError
from smoothscan.pixels import Values, dtype_of_weights
from smoothscan.result import InputSpec


class HeldClassifier(AskedClassifier):
    """A module of this process.

    Args:
        module: the module, in evaluation mode.
        spec: how images become its input.
        memory_bytes: memory for the activations of one batch.
        deadline: value of `time.monotonic()` at which the scan must be over.

    Raises:
        ModelLoadError: it does not take such images.
        UnsupportedModelError: it is no differentiable image classifier.
    """

    def __init__(self, module: nn.Module, spec: InputSpec, memory_bytes: int, deadline: float) -> None:
        super().__init__(spec)
        self._held = (module,)  # in a tuple, for it is no part of this classifier, and stays as it is
        self._spec, self._deadline = spec, deadline
        self._graph: tuple[Tensor, Tensor] | None = None
        place = device_of(module)
        self.device, self.native_bfloat16 = str(place), native_bfloat16(place)
        self._values = Values(spec, place)
        self._dtype = dtype_of_weights(module) or torch.float32
        self.dtype = str(self._dtype).removeprefix("torch.")
        image = torch.full((1, *self.input_shape), 0.5, device=place)
        try:
            used = activation_bytes(self._answer, image)
        except SmoothscanError:
            raise
        except Exception as error:  # whatever the module raises on images that it does not take
            shape = (2, *self.input_shape) if spec.layout == "NCHW" else (2, *self.input_shape[1:], spec.channels)
            raise ModelLoadError(
                f"The module does not take images {list(shape)} ({self.dtype}): {_words(error)}",
                "Say what it takes: input_size=(H, W), channels, layout; a module with further inputs needs a wrapper "
                "whose forward takes images alone.",
            ) from error
        if used is None:
            raise UnsupportedModelError(
                "No gradient flows from the module's answer to its input.",
                "Leave torch.no_grad(), detach() and whole numbers out of its forward.",
            )
        with torch.no_grad():
            self.n_classes = self._answer(image).shape[1]
        check_classes(self.n_classes)
        self.batch_size = batch_size(memory_bytes, used)

    def _logits(self, images: Tensor, *, keep: bool) -> Tensor:
        if time.monotonic() > self._deadline:
            raise ScanTimeoutError(
                "The time limit passed before the scan was complete.", "Allow more: time_limit, in seconds."
            )
        started = time.perf_counter()
        x = images.detach().to(self.device).requires_grad_(keep)
        with torch.set_grad_enabled(keep), _told():
            logits = self._answer(x)
        self._graph = (x, logits) if keep else None
        self.meter.host_seconds += time.perf_counter() - started
        return logits.detach().cpu()

    def _gradient(self, images: Tensor, cotangent: Tensor, *, reuse: bool) -> Tensor:
        if self._graph is None or not reuse:
            self._logits(images, keep=True)
        assert self._graph is not None
        (x, logits), self._graph = self._graph, None
        started = time.perf_counter()
        with _told():
            (gradient,) = torch.autograd.grad(logits, x, cotangent.to(logits.device))
        self.meter.host_seconds += time.perf_counter() - started
        return gradient.cpu()

    def _answer(self, images: Tensor) -> Tensor:
        """Return what the module answers, [B, K] float32, for images [B, C, H, W] in [0, 1] on its device."""
        x = self._values.of(images).to(self._dtype)
        x = x if self._spec.layout == "NCHW" else x.permute(0, 2, 3, 1)
        low = self.precision == "bfloat16" and self._dtype == torch.float32
        with torch.autocast(images.device.type, torch.bfloat16, enabled=low):
            answer = self._held[0](x)
        try:
            return logits_of(answer, len(x)).float()
        except UnsupportedError as error:
            raise UnsupportedModelError(str(error), error.hint or NO_CLASSIFIER) from error


@contextmanager
def _told() -> Iterator[None]:
    """Turn whatever the module raises into one kind of error."""
    try:
        yield
    except SmoothscanError:
        raise
    except Exception as error:
        raise ModelHostError(
            f"The module failed while it was asked: {_words(error)}",
            "If its memory was too little, a smaller memory_bytes makes smaller batches.",
        ) from error


def device_of(module: nn.Module) -> torch.device:
    """Return where a module lives: the device of its first tensor; the CPU where it has none."""
    for tensor in (*module.parameters(), *module.buffers()):
        return tensor.device
    return torch.device("cpu")


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:1000]
