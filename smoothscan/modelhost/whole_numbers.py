"""Models that take bytes: floating-point numbers are handed to them in place of bytes, so that a gradient can flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from smoothscan.answers import UnsupportedError

REMEDY = "Log the model with floating-point input, and turn bytes into such numbers before it is called."


def take_floats(module: Callable[..., Any]) -> None:
    """Let an exported graph take other numbers than those it was exported with: drop the checks of data types."""
    if not isinstance(module, fx.GraphModule):
        return
    for node in list(module.graph.nodes):
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            module.graph.erase_node(node)
    module.recompile()


def check_floats(forward: Callable[[Tensor], Tensor], bytes_: Tensor) -> None:
    """Check that a model answers the same to floating-point numbers as to bytes.

    Args:
        forward: the model, from its own input to logits.
        bytes_: any images as the model takes them, uint8.

    Raises:
        UnsupportedError: it does not, or not at all.
    """
    with torch.no_grad():
        try:
            expected = forward(bytes_).float()
        except RuntimeError:  # bytes are what the example looks like, and not what the model takes
            return
        try:
            answer = forward(bytes_.float()).float()
        except RuntimeError as error:
            raise UnsupportedError(
                "The model takes uint8 input, through which no gradient flows, and fails on floating-point numbers in "
                f"its place: {str(error)[:200]}.",
                REMEDY,
            ) from None
    spread = (expected.amax(1) - expected.amin(1)).mean()
    if answer.shape != expected.shape or (answer - expected).abs().max() > 1e-3 * spread:
        raise UnsupportedError(
            "The model takes uint8 input, through which no gradient flows, and answers otherwise when the same images "
            "come as floating-point numbers.",
            REMEDY,
        )
