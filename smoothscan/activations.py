"""How much memory a backward pass needs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def activation_bytes(forward: Callable[[Tensor], Tensor], image: Tensor) -> int | None:
    """Return the memory that one image's backward pass keeps, in bytes; depends on the model alone.

    Args:
        forward: what is differentiated, for a batch of images.
        image: any one image, [1, C, H, W].

    Returns:
        The bytes, at least those of the image; None if no gradient flows to the images.
    """
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, nn.Parameter):
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    pair = image.expand(2, *image.shape[1:]).clone().requires_grad_(True)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        answer = forward(pair)
    if not answer.requires_grad:
        return None
    return max(sum(sizes.values()) // 2, pair.nbytes // 2)
