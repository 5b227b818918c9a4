"""TorchScript: scripted and traced modules, which mlflow.pytorch writes to data/model.pth with torch.jit.save."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smoothscan.answers import UnsupportedError
from smoothscan.modelhost.loaders.interface import Loaded
from smoothscan.result import InputSpec
from smoothscan.stored import Stored

_SIZES = (2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 48, 64, 128)
"""Batch sizes that a trace may have been made with."""
_TRAINING = {"aten::batch_norm": ("batch normalisation", 5), "aten::instance_norm": ("instance normalisation", 5)}
_DROPOUTS = ("aten::dropout", "aten::feature_dropout", "aten::alpha_dropout", "aten::feature_alpha_dropout")


def load(folder: Path, stored: Stored, spec: InputSpec, device: torch.device) -> Loaded:
    """Load a script without unpickling Python objects: torch's own reader knows tensors and scripted code only.

    Raises:
        UnsupportedError: it computes with integers.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and models in it go on existing
        script = torch.jit.load(  # type: ignore[no-untyped-call]
            str(folder / stored.path), map_location=device
        )
    script.eval()
    graph = script.inlined_graph
    if kinds := sorted({node.kind() for node in _nodes(graph.nodes()) if node.kind().startswith("quantized::")}):
        raise UnsupportedError(
            f"The script computes with quantised integers ({kinds[0]}), through which no gradient flows.",
            "Log the network as it was before quantisation and scan that; a trigger survives quantisation.",
        )
    for parameter in script.parameters():
        parameter.requires_grad_(False)
    training = _training_ops(graph)
    return Loaded(Script(script, _batch_size(script, spec, device)), training_ops=tuple(training))


class Script(nn.Module):
    """A script that gets batches of the sizes that it can take.

    Args:
        script: the loaded script.
        batch_size: the only batch size that it answers rightly; None if it takes any.
    """

    def __init__(self, script: Any, batch_size: int | None) -> None:
        super().__init__()
        self.script = script
        self.batch_size = batch_size

    def forward(self, x: Tensor) -> Any:
        """Return what the script answers to a batch."""
        if self.batch_size in (None, len(x)):
            return self._ask(x)
        padded = torch.cat([x, x.new_zeros(-len(x) % self.batch_size, *x.shape[1:])])
        return torch.cat([_tensor(self._ask(part)) for part in torch.split(padded, self.batch_size)])[: len(x)]

    def _ask(self, x: Tensor) -> Any:
        # the optimiser rewrites a script after its first runs, so that the same images would get other last bits then
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            return self.script(x)


def _batch_size(script: Any, spec: InputSpec, device: torch.device) -> int | None:
    """Find the batch size that a trace is bound to: nothing in it says so, and another one may be answered wrongly.

    Returns:
        None if the script answers two images together as it answers each alone, or if it answers no batch at all.
    """
    shape = (
        (spec.channels, spec.height, spec.width) if spec.layout == "NCHW" else (spec.height, spec.width, spec.channels)
    )
    dtype = {"float64": torch.float64, "float16": torch.float16}.get(spec.dtype, torch.float32)
    images = torch.rand((_SIZES[-1], *shape), generator=torch.Generator().manual_seed(0)).to(device, dtype)

    def answer(start: int, stop: int) -> Tensor | None:
        try:
            with torch.no_grad():
                rows = _tensor(Script(script, None)(images[start:stop]))
        except Exception:  # whatever the script raises, it does not take so many
            return None
        return rows if rows.ndim and len(rows) == stop - start else None

    one, other = answer(0, 1), answer(1, 2)
    if one is None or other is None:
        return next((size for size in _SIZES if answer(0, size) is not None), None)
    alone, together = torch.cat([one, other]), answer(0, 2)
    if together is not None and torch.allclose(alone, together, rtol=1e-2, atol=1e-3 * float(alone.abs().max())):
        return None
    return 1


def _tensor(answer: Any) -> Tensor:
    if isinstance(answer, dict):
        answer = answer.get("logits", next(iter(answer.values()), None))
    while isinstance(answer, (tuple, list)) and answer:
        answer = answer[0]
    if not isinstance(answer, Tensor):
        raise UnsupportedError(f"The script answers a {type(answer).__name__}, not a tensor of logits.")
    return answer


def _training_ops(graph: Any) -> list[str]:
    """Return the operations whose training mode is a constant: `eval` changes attributes, and a trace has none."""
    found = set()
    for node in _nodes(graph.nodes()):
        inputs = list(node.inputs())
        if node.kind() in _DROPOUTS and _constant(inputs[2]) is True and _constant(inputs[1]) != 0.0:
            found.add("dropout")
        if node.kind() in _TRAINING and _constant(inputs[_TRAINING[node.kind()][1]]) is True:
            found.add(_TRAINING[node.kind()][0])
        if node.kind() == "aten::scaled_dot_product_attention" and _constant(inputs[4]) not in (0.0, None):
            found.add("dropout")
    return sorted(found)


def _nodes(nodes: Any) -> Sequence[Any]:
    """Return all operations, those inside of conditions and loops included."""
    found = []
    for node in nodes:
        found.append(node)
        for block in node.blocks():
            found += _nodes(block.nodes())
    return found


def _constant(value: Any) -> Any:
    return value.toIValue() if value.node().kind() == "prim::Constant" else None
