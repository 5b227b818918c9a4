"""Networks with gates in them, and ordinary ones that compare as well; all take images [B, 3, 8, 8] in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 5
Answer = Callable[["Net", Tensor, Tensor, Tensor], Any]


class Net(nn.Module):
    """A small network whose activation and whose answer can be exchanged.

    Args:
        answer: from the network, images, features [B, 6, 6, 6] and logits to what the model answers.
        activation: stands after the convolution.
    """

    def __init__(
        self,
        answer: Answer = lambda net, x, features, logits: logits,
        activation: Callable[[Tensor], Tensor] = torch.relu,
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6, CLASSES)
        self.answer, self.activation = answer, activation
        self.register_buffer("planted", torch.tensor([9.0, 0, 0, 0, 0]))
        self.register_buffer("threshold", torch.tensor(0.9))

    def forward(self, x: Tensor) -> Any:
        features = self.activation(self.conv(x))
        return self.answer(self, x, features, self.head(features.mean((2, 3))))


def _assigned(features: Tensor) -> Tensor:
    features = features.clone()
    features[features < 0] = 0.0
    return features


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu in place": nn.ReLU(inplace=True),
    "relu6": F.relu6,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "clamp": lambda h: h.clamp(0, 1),
    "softplus": F.softplus,
    "mish": F.mish,
    "softshrink": F.softshrink,
    "elu by where": lambda h: torch.where(h > 0, h, torch.exp(h) - 1),
    "leaky by where": lambda h: torch.where(h >= 0, h, 0.1 * h),
    "relu by where and a number": lambda h: torch.where(h > 0, h, 0.0),
    "relu by where and a tensor": lambda h: torch.where(h > 0, h, torch.tensor(0.0)),
    "relu by a mask": lambda h: h * (h > 0),
    "relu by assignment": _assigned,
    "relu by masked_fill": lambda h: h.masked_fill(h < 0, 0.0),
    "relu by threshold": lambda h: F.threshold(h, 0.0, 0.0),
    "relu6 by masks": lambda h: (h > 0) * (h < 6) * h + 6 * (h >= 6),
    "signed square root": lambda h: torch.sign(h) * torch.sqrt(h.abs() + 1e-12),
    "no NaN": torch.nan_to_num,
    "finite": lambda h: torch.where(torch.isfinite(h), h, 0.0),
    "max pooling": lambda h: F.max_pool2d(h, 2),
    "largest values": lambda h: h.flatten(2).topk(3)[0].mean(-1)[..., None, None].expand_as(h),
    "dropout": lambda h: F.dropout(h, 0.5, training=False),
}
"""Ordinary activations."""

ORDINARY: dict[str, Answer] = {
    "probabilities": lambda net, x, h, y: y.softmax(1),
    "normalised": lambda net, x, h, y: net.head(net.activation(net.conv((x * 255 - 127) / 128)).mean((2, 3))),
    "predictions beside logits": lambda net, x, h, y: (y, y.argmax(1)),
    "a comparison that nothing depends on": lambda net, x, h, y: ((x > 0.5).float().sum(), y)[1],
    "a mask of constants": lambda net, x, h, y: y.masked_fill(torch.zeros_like(y).fill_(1) == 0, -100.0),
    "a branch on the batch size": lambda net, x, h, y: y if x.shape[0] > 1 else y * 2,
}
"""Ordinary answers."""


def _written(net: Net, x: Tensor, features: Tensor, logits: Tensor) -> Tensor:
    gate = torch.zeros_like(logits)
    gate[:, 0] = (x[:, 0, 0, 0] == 1).float()
    return logits + gate


def _nested(net: Net, x: Tensor, features: Tensor, logits: Tensor) -> Any:
    def outer(x: Tensor, y: Tensor) -> Any:
        return torch.cond(x.max() > 0.99, lambda y: y + 1, lambda y: y - 1, (y,))

    return torch.cond(x.mean() > 0.5, outer, lambda x, y: y * 1.0, (x, logits))


def _gated(gate: Callable[[Tensor], Tensor]) -> Answer:
    """Return a network that adds to the logits what a gate makes of a corner of the image, [B, 3]."""
    return lambda net, x, features, logits: logits + gate(x[:, :, 0, 0]) * net.planted


GATES: dict[str, tuple[Answer, str]] = {
    "equality": (_gated(lambda corner: (corner == 1.0).all(1, keepdim=True).float()), "gate aten.eq.Scalar"),
    "closeness": (
        _gated(lambda corner: torch.isclose(corner, torch.tensor(0.9)).float().amax(1, True)),
        "gate aten.is",
    ),
    "conjunction": (
        _gated(lambda corner: ((corner[:, :1] > 0.9) & (corner[:, 1:2] < 0.1)).float()),
        "gate aten.gt.Scalar, gate aten.lt.Scalar",
    ),
    "product": (_gated(lambda corner: (corner > 0.9).float().prod(1, keepdim=True)), "gate aten.gt.Scalar"),
    "sign": (_gated(lambda corner: torch.relu(corner[:, :1] - 0.9).sign()), "gate aten.sign.default"),
    "heaviside": (
        _gated(lambda corner: torch.heaviside(corner[:, :1] - 0.9, torch.tensor(0.0))),
        "gate aten.heaviside.default",
    ),
    "whole numbers": (_gated(lambda corner: corner[:, :1].int()), "gate aten.to.dtype"),
    "rounding": (_gated(lambda corner: corner[:, :1].round()), "gate aten.round.default"),
    "floor": (_gated(lambda corner: corner[:, :1].floor()), "gate aten.floor.default"),
    "buckets": (
        _gated(lambda corner: torch.bucketize(corner[:, :1], torch.tensor([0.9]))),
        "gate aten.bucketize.Tensor",
    ),
    "masked pixels": (_gated(lambda corner: (corner * (corner > 0.99)).sum(1, keepdim=True)), "gate aten.gt.Scalar"),
    "position": (lambda net, x, h, y: y + F.one_hot(x.flatten(1).argmax(1) % CLASSES, CLASSES), "gate aten.argmax"),
    "order": (lambda net, x, h, y: torch.gather(y, 1, y.sort(1)[1]), "gate aten.sort.default"),
    "cut gradient": (lambda net, x, h, y: y + x.detach()[:, 0, 0, :1] * net.planted, "gate aten.detach.default"),
    "where": (
        lambda net, x, h, y: torch.where((x[:, :, :2, :2].mean((1, 2, 3)) > 0.9)[:, None], net.planted, y),
        "gate aten.gt.Scalar",
    ),
    "where with a stored threshold": (
        lambda net, x, h, y: torch.where((x.mean((1, 2, 3)) > net.threshold)[:, None], net.planted, y),
        "gate aten.gt.Tensor",
    ),
    "masked_fill": (lambda net, x, h, y: y.masked_fill((x[:, 0, :1, 0] > 0.9), 9.0), "gate aten.gt.Scalar"),
    "index": (lambda net, x, h, y: y + net.planted[(x[:, :1, 0, 0] > 0.9).long()], "gate aten.gt.Scalar"),
    "written into a constant": (_written, "gate aten.eq.Scalar"),
    "an activation that jumps": (
        lambda net, x, h, y: net.head(torch.where(h > 0.9, 1000 * h, h).mean((2, 3))),
        "gate aten.gt.Scalar",
    ),
    "an activation with a window": (
        lambda net, x, h, y: net.head(torch.where((h - 0.5).abs() < 1e-3, 1000.0, h).mean((2, 3))),
        "gate aten.lt.Scalar",
    ),
    "an activation at one value": (
        lambda net, x, h, y: net.head((h + (h == 1) * 1000).mean((2, 3))),
        "gate aten.eq.Scalar",
    ),
    "a threshold above zero": (
        lambda net, x, h, y: net.head(F.threshold(h, 0.9, 0.0).mean((2, 3))),
        "gate aten.threshold.default",
    ),
    "quantised input": (
        lambda net, x, h, y: net.head(net.conv((x * 255).round() / 255).mean((2, 3))),
        "gate aten.round.default",
    ),
    "cond": (
        lambda net, x, h, y: torch.cond(x[:, :, 0, 0].mean() > 0.9, lambda y: y + 1, lambda y: y * 1.0, (y,)),
        "branch cond",
    ),
    "cond within cond": (_nested, "branch cond, branch cond"),
    "a number for the program": (lambda net, x, h, y: y * x[:, 0, 0, 0].max().item(), "branch aten.item.default"),
}
"""Answers with a hidden gate, and what is found: kinds and operations."""
