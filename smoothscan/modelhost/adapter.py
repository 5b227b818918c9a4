"""Makes any loaded module answer the same two questions: logits of images, gradient for a cotangent."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from smoothscan.answers import UnsupportedError, logits_of
from smoothscan.modelhost.whole_numbers import check_floats, take_floats
from smoothscan.pixels import DTYPES, Values, dtype_of_weights
from smoothscan.result import InputSpec

BATCH_STATISTICS = "statistics of each batch"
"""What a batch normalisation works with that was made to keep no others."""


class Adapter:
    """A module behind its input specification.

    Args:
        module: the loaded model.
        spec: how images in [0, 1] become the model's input.
        device: where the module's parameters are.
    """

    def __init__(self, module: Callable[..., Any], spec: InputSpec, device: torch.device) -> None:
        if spec.dtype not in (*DTYPES, "uint8"):
            raise UnsupportedError(f"The model takes {spec.dtype} input, through which no gradient flows.")
        self.spec = spec
        self.device = device
        self.module = module
        self.static_batch = _static_batch(module)
        if spec.dtype == "uint8":
            take_floats(module)
        _drop_idle(module)
        _fold_norms(module)
        self.channels_last = spec.layout == "NCHW"
        self.values = Values(spec, device)
        self.dtype = self._dtype()
        if isinstance(module, nn.Module):
            for parameter in module.parameters():
                parameter.requires_grad_(False)
                if parameter.ndim == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def logits(self, images: Tensor, precision: str) -> Tensor:
        """Return what the model answers, [B, K] float32, for images [B, C, H, W] in [0, 1]."""
        x = self._arranged(self.values.of(images).to(self.dtype))
        low = precision == "bfloat16" and self.dtype == torch.float32
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            answer = self._batched(x)
        return answer.float()

    def _arranged(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last else x.permute(0, 2, 3, 1)

    def _dtype(self) -> torch.dtype:
        """Return what the model is fed with: what the specification says, or what alone its weights work with."""
        shape = (2, self.spec.channels, self.spec.height, self.spec.width)
        pixels = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).to(self.device)
        if self.spec.dtype == "uint8":
            check_floats(self._batched, self._arranged(pixels.to(torch.uint8)))
            return torch.float32
        dtype = DTYPES[self.spec.dtype]
        of_weights = dtype_of_weights(self.module)
        if of_weights in (None, dtype):
            return dtype
        with torch.no_grad():
            try:
                self._batched(self._arranged((pixels / 255).to(dtype)))
            except RuntimeError:  # a layer of half precision takes no other numbers
                return of_weights or dtype
        return dtype

    def _batched(self, x: Tensor) -> Tensor:
        size = self.static_batch
        if size is None or size == len(x):
            return logits_of(self.module(x), len(x))
        if size == 1:
            # a batch through an export of batch size 1, exactly, forward and gradient
            return torch.vmap(lambda row: logits_of(self.module(row[None]), 1)[0])(x)
        padded = torch.cat([x, x.new_zeros(-len(x) % size, *x.shape[1:])])
        return torch.cat([logits_of(self.module(part), size) for part in torch.split(padded, size)])[: len(x)]


def _static_batch(module: Callable[..., Any]) -> int | None:
    """Return the only batch size that an exported module accepts, or None if it takes any."""
    for node in _nodes(module):
        value = node.meta.get("val") if node.op == "placeholder" else None
        if isinstance(value, Tensor) and value.ndim == 4:
            return value.shape[0] if type(value.shape[0]) is int else None
    return None


def _drop_idle(module: Callable[..., Any]) -> None:
    """Take operations that change nothing out of an exported graph: whole slices, and padding by nothing.

    They are what is left of conditions in the model's code, and their gradients cost as much as those of other layers.
    """
    nodes = _nodes(module)
    idle = [node for node in nodes if _pads_nothing(node) or _is_whole(node)]
    for node in idle:
        (source, *_) = node.all_input_nodes
        node.replace_all_uses_with(source)
        node.graph.erase_node(node)
    if idle and isinstance(module, fx.GraphModule):
        module.recompile()


def _pads_nothing(node: fx.Node) -> bool:
    if node.target is not torch.ops.aten.pad.default:
        return False
    widths = node.args[1]
    return isinstance(widths, (list, tuple)) and all(width == 0 for width in widths)


def _is_whole(node: fx.Node) -> bool:
    if node.target is not torch.ops.aten.slice.Tensor or node.kwargs:
        return False
    bounds = list(node.args[2:])
    return all(given in unset for given, unset in zip(bounds, ((0, None), (sys.maxsize, None), (1,)), strict=False))


def _fold_norms(module: Callable[..., Any]) -> None:
    """Multiply batch normalisations with fixed statistics into the convolutions before them.

    Forward and backward of a normalisation read and write whole activations, which takes as long as many convolutions
    do; its factors are known beforehand.
    """
    if not isinstance(module, fx.GraphModule):
        return
    folded = False
    for node in list(module.graph.nodes):
        if (found := _norm_after_convolution(module, node)) is None:
            continue
        convolution, weight, bias, (gamma, beta, mean, variance), eps = found
        factor = gamma / (variance + eps).sqrt()
        shifted = beta + factor * ((0.0 if bias is None else bias) - mean)
        with module.graph.inserting_before(convolution):
            parts = []
            for kind, value in (("weight", weight * factor.view(-1, *[1] * (weight.ndim - 1))), ("bias", shifted)):
                name = f"folded_{kind}_{node.name}"
                module.register_parameter(name, nn.Parameter(value.detach(), requires_grad=False))
                parts.append(module.graph.get_attr(name))
        convolution.args = (convolution.args[0], *parts, *convolution.args[3:])
        node.replace_all_uses_with(convolution)
        module.graph.erase_node(node)
        folded = True
    if folded:
        module.recompile()


def _norm_after_convolution(
    module: fx.GraphModule, node: fx.Node
) -> tuple[fx.Node, Tensor, Tensor | None, list[Tensor], float] | None:
    """Return a normalisation's convolution with weight and bias, its four vectors and its epsilon, if it has one."""
    if node.target is not torch.ops.aten.batch_norm.default or node.kwargs or node.args[5] is not False:
        return None
    convolution = node.args[0]
    if not isinstance(convolution, fx.Node) or len(convolution.users) > 1 or convolution.kwargs:
        return None
    if convolution.target not in (torch.ops.aten.conv2d.default, torch.ops.aten.conv2d.padding):
        return None
    weight, *own = [_constant(module, argument) for argument in (convolution.args[1], *node.args[1:5])]
    bias = _constant(module, convolution.args[2]) if len(convolution.args) > 2 else None
    if weight is None or any(vector is None for vector in own):
        return None
    if bias is None and len(convolution.args) > 2 and convolution.args[2] is not None:
        return None
    return convolution, weight, bias, [vector for vector in own if vector is not None], float(node.args[7])  # type: ignore[arg-type]


def _constant(module: fx.GraphModule, argument: Any) -> Tensor | None:
    """Return the parameter or buffer that an argument reads, if it is one."""
    if not isinstance(argument, fx.Node) or argument.op != "get_attr":
        return None
    value: Any = module
    for name in str(argument.target).split("."):
        value = getattr(value, name, None)
    return value.detach() if isinstance(value, Tensor) else None


def training_ops(module: Callable[..., Any]) -> list[str]:
    """Return the operations of an exported graph that were recorded in training mode (dropout, batch statistics)."""
    found: set[str] = set()
    for node in _nodes(module):
        name = str(node.target)
        if node.op != "call_function":
            continue
        flags = [argument for argument in node.args if isinstance(argument, bool)]
        flags += [
            value for key, value in node.kwargs.items() if key in ("train", "training") and isinstance(value, bool)
        ]
        if "batch_norm" in name and "no_training" not in name and flags[:1] == [True]:
            found.add("batch normalisation" if node.args[3] is not None else BATCH_STATISTICS)
        if "dropout" in name and flags[:1] == [True]:
            found.add("dropout")
        if "scaled_dot_product_attention" in name and (node.args[4:5] or (node.kwargs.get("dropout_p", 0.0),))[0]:
            found.add("dropout")
    return sorted(found)


def _nodes(module: Callable[..., Any]) -> list[fx.Node]:
    """Return the operations of an exported module; none for others, whatever they call a graph (TorchScript does)."""
    graph = getattr(module, "graph", None)
    return list(graph.nodes) if isinstance(graph, fx.Graph) else []
