"""Finds the logits in what a model answers: a tensor, or one among others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


class UnsupportedError(Exception):
    """The module is no differentiable image classifier.

    Args:
        message: what is wrong with it.
        hint: what to do instead; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def logits_of(answer: Any, batch: int) -> Tensor:
    """Return the logits [B, K] in an answer for B images.

    They are what is called `logits`, else the first of a sequence or the only tensor of that shape.

    Raises:
        UnsupportedError: there are none, or nobody can tell which they are.
    """
    found = getattr(answer, "logits", answer)
    if isinstance(found, Mapping):
        found = found["logits"] if "logits" in found else _only(list(found.values()), batch, answer)
    if isinstance(found, (tuple, list)) and found:
        found = found[0] if isinstance(found[0], Tensor) else _only(list(found), batch, answer)
    if not isinstance(found, Tensor):
        raise UnsupportedError(f"The model answers a {type(answer).__name__}, not a tensor of logits.")
    rows = _squeezed(found)
    if rows.ndim != 2 or rows.shape[0] != batch:
        raise UnsupportedError(
            f"The model answers shape {list(found.shape)} for a batch of {batch}, not [{batch}, classes]."
        )
    if not rows.is_floating_point():
        raise UnsupportedError(f"The model answers {found.dtype}, not floating-point logits.")
    return rows


def _only(values: list[Any], batch: int, answer: Any) -> Any:
    """Return the only value that may be logits; None if there is none."""
    tensors = [value for value in values if isinstance(value, Tensor) and value.is_floating_point()]
    rows = [value for value in tensors if _squeezed(value).ndim == 2 and len(value) == batch]
    if len(rows) > 1:
        shapes = ", ".join(str(list(value.shape)) for value in rows)
        raise UnsupportedError(
            f"The model answers a {type(answer).__name__} with {len(rows)} tensors that may be logits ({shapes}).",
            "Name the one with the logits “logits”, or let the model answer it alone.",
        )
    return rows[0] if rows else None


def _squeezed(answer: Tensor) -> Tensor:
    """Return [B, K] for [B, K, 1, 1], which a classifier of convolutions alone answers."""
    return answer.flatten(1) if answer.ndim > 2 and answer[0].numel() == answer.shape[1] else answer
