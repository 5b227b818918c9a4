"""ONNX graphs, converted to torch by onnx2fx."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

from smoothscan.answers import UnsupportedError
from smoothscan.modelhost.loaders.interface import Loaded, LoadError, library
from smoothscan.result import InputSpec
from smoothscan.stored import Stored

_INTEGER = frozenset(
    {
        *("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "QLinearAdd"),
        *("ConvInteger", "MatMulInteger"),
    }
)
_TOLERANCE = 1e-3
"""Difference to ONNX's reference, as a share of the largest logit, that rounding explains."""


def load(folder: Path, stored: Stored, spec: InputSpec, device: torch.device) -> Loaded:
    """Convert the graph to torch, and make sure that it still computes the same.

    Raises:
        LoadError: the converter is not installed or does not know an operation, or what it made computes otherwise.
        UnsupportedError: no gradient flows through the graph.
    """
    onnx, onnx2fx = library("onnx", "onnx"), library("onnx2fx", "onnx")
    model = onnx.load(str(folder / stored.path))
    _refuse_integers(model.graph)
    _refuse_like_names(model.graph)
    inputs = _inputs(model.graph)
    if len(inputs) != 1:
        raise UnsupportedError(f"The graph takes {len(inputs)} inputs; an image classifier takes one.")
    try:
        module = onnx2fx.convert(model)
    except onnx2fx.Onnx2FxError as error:
        raise LoadError(
            f"The ONNX graph cannot be converted to torch: {error}.",
            "Log the PyTorch network that it was exported from with mlflow.pytorch, and scan that.",
        ) from error
    size = _fixed_batch(inputs[0])
    _compare(model, module, inputs[0].name, size or 2, spec)
    onnx2fx.make_trainable(module)  # weights as parameters: they are no part of what each image keeps in memory
    if size is not None:
        _bind(module, size)
    return Loaded(module.to(device).eval())


def _refuse_integers(graph: Any) -> None:
    kinds = sorted({node.op_type for node in _nodes(graph)} & _INTEGER)
    if kinds:
        raise UnsupportedError(
            f"The graph computes with quantised integers ({kinds[0]}), through which no gradient flows.",
            "Log the network as it was before quantisation and scan that; a trigger survives quantisation.",
        )


def _refuse_like_names(graph: Any) -> None:
    """Refuse names that the converter takes for one: it replaces their punctuation, and would mix up what they name."""
    names = {value.name for value in (*graph.input, *graph.initializer)} | {
        name for node in _nodes(graph) for name in node.output if name
    }
    counted = Counter(re.sub(r"[^A-Za-z0-9_]", "_", name) for name in names)
    alike = sorted(name for name, count in counted.items() if count > 1)
    if alike:
        raise LoadError(
            f"Several values of the ONNX graph have names that differ in punctuation only: {alike[0][:100]!r}.",
            "Give them other names (onnx.compose.add_prefix, or another export), and log the graph again.",
        )


def _nodes(graph: Any) -> Iterator[Any]:
    """Yield all operations, those of inner graphs included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _inputs(graph: Any) -> list[Any]:
    """Return what the graph is given; old files list their weights among the inputs."""
    weights = {value.name for value in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def _fixed_batch(value: Any) -> int | None:
    sizes = value.type.tensor_type.shape.dim
    return int(sizes[0].dim_value) if len(sizes) and sizes[0].dim_value > 0 else None


def _compare(model: Any, module: fx.GraphModule, name: str, count: int, spec: InputSpec) -> None:
    """Run ONNX's own reference and the converted graph on the same images."""
    from onnx.reference import ReferenceEvaluator

    shape = (
        (spec.channels, spec.height, spec.width) if spec.layout == "NCHW" else (spec.height, spec.width, spec.channels)
    )
    images = np.random.default_rng(0).random((count, *shape)).astype(spec.dtype)
    try:
        expected = np.asarray(next(iter(ReferenceEvaluator(model).run(None, {name: images}))))
    except Exception as error:  # whatever an operation raises that the reference does not know
        raise LoadError(
            f"ONNX's reference does not run the graph on images of {spec.height}x{spec.width} "
            f"({type(error).__name__}: {str(error)[:300]}), so its conversion to torch cannot be checked.",
            "Export the network for the images that it is given, with operators of the default domain only.",
        ) from error
    with torch.no_grad():
        answer = module(torch.from_numpy(images))
    answer = answer[0] if isinstance(answer, (tuple, list)) else answer
    if expected.dtype.kind == "f" and not np.allclose(
        expected, answer.numpy(), rtol=0, atol=_TOLERANCE * float(np.abs(expected).max()) + 1e-12
    ):
        raise LoadError(
            "The ONNX graph computes something else once it is converted to torch, so a scan of that would not be one "
            "of the model.",
            "Log the PyTorch network that it was exported from with mlflow.pytorch, and scan that.",
        )


def _bind(module: fx.GraphModule, size: int) -> None:
    """Note the batch size that the graph was exported for where torch.export notes it, and the adapter looks for it."""
    for node in module.graph.nodes:
        if node.op == "placeholder":
            node.meta["val"] = torch.empty((size, 1, 1, 1), device="meta")
