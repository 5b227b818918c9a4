"""Looks for a backdoor in the architecture: hard steps in the graph that depend on the image.

A model can compare its input with a stored value and answer otherwise where they agree. Such a step has no gradient, so
that trigger inversion cannot see it (MITRE ATLAS AML.T0018). The graph of a `torch.export` archive shows it; it is read
here without torch. Models that are Python code or TorchScript have no such graph.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from smoothscan.result import ArchitectureFinding
from smoothscan.safety.activation import Step
from smoothscan.safety.dataflow import Walk
from smoothscan.safety.exported import MalformedError, dictionary, items, names, scalar
from smoothscan.safety.operations import WHOLE, stored, unknown
from smoothscan.safety.pt2 import graph_of
from smoothscan.safety.values import HardStep, Scope, Value

ARCHIVE = "data/model.pt2"
MAX_FINDINGS = 20
"""Different findings of one graph; more say nothing new."""
_POSITIONS = frozenset({"argmax", "argmin", "argsort", "sort", "topk", "max", "min", "mode", "median", "kthvalue"})
_ROUNDING = frozenset({"round", "floor", "ceil", "trunc", "fix", "frac", "remainder", "fmod", "floor_divide", "div"})
_COMPARING = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "isclose", "equal", "allclose", "threshold"})


def architecture(folder: Path) -> tuple[tuple[ArchitectureFinding, ...], bool]:
    """Return the hard steps in a model's graph that its answer depends on, and whether there was a graph to read.

    Args:
        folder: the MLflow model's folder.
    """
    path = folder / ARCHIVE
    if not path.is_file() or (read := graph_of(path)) is None:
        return (), False
    try:
        return _findings(*read), True
    except MalformedError:
        return (), False


def _findings(document: Any, numbers: dict[str, float]) -> tuple[ArchitectureFinding, ...]:
    module = dictionary(dictionary(document).get("graph_module"))
    graph, signature = dictionary(module.get("graph")), dictionary(module.get("signature"))
    given = _inputs(signature, numbers)
    scope = Scope({}, dictionary(graph.get("tensor_values")))
    inputs = []
    for name in (name for each in items(graph, "inputs") for name in names(each)):
        step, soft = given.get(name, unknown()), scope.dtype(name) not in WHOLE
        is_image = step.operation == "image" and name in scope.tensors
        inputs.append(Value(step, is_image, is_image, soft, roots=frozenset({step.serial} if is_image else ())))
    if not any(value.image for value in inputs):
        raise MalformedError
    walk = Walk()
    mask = 0
    for value in walk.outputs(graph, inputs):
        mask |= value.hard
    found = Counter((step.node.shown, step.kind, _detail(step, walk)) for step in walk.among(mask))
    return tuple(
        ArchitectureFinding(file=ARCHIVE, operation=operation, kind=kind, count=count, detail=detail)
        for (operation, kind, detail), count in found.most_common(MAX_FINDINGS)
    )


def _inputs(signature: dict[str, Any], numbers: dict[str, float]) -> dict[str, Step]:
    """Return what the inputs of the graph are, by name: images, and stored values that are single numbers."""
    found = {}
    for spec in items(signature, "input_specs"):
        for kind, described in dictionary(spec).items():
            stored_as = dictionary(described).get(f"{kind}_name")
            for name in names(described.get("arg")):
                if kind == "user_input":
                    found[name] = Step("image")
                elif isinstance(stored_as, str) and stored_as in numbers:
                    found[name] = stored(numbers[stored_as])
    return found


def _detail(step: HardStep, walk: Walk) -> str:
    """Say what a hard step compares."""
    base = step.node.base
    what = "pixels of the image" if any(value.pixels for value in step.of) else "values computed from the image"
    if step.kind == "branch":
        behind = [_detail(each, walk) for each in walk.among(step.behind) if each is not step]
        does = "chooses by" if step.node.higher else "hands to the program"
        return f"{does} {what}" + (f" ({behind[0]})" if behind else "")
    if base in _COMPARING:
        return f"compares {what} with {_other(step)}"
    if base in _POSITIONS:
        return f"computes with positions among {what}, not with the values there"
    if base in _ROUNDING:
        return f"rounds {what}"
    if base in ("detach", "wrap_with_set_grad_enabled"):
        return f"cuts the gradient of {what}"
    return f"makes whole numbers or truths of {what}"


def _other(step: HardStep) -> str:
    numbers = dict(step.node.arguments)
    constant = next((scalar(numbers[key]) for key in ("other", "threshold") if key in numbers), None)
    if constant is not None:
        return f"the constant {constant:.6g}" if isinstance(constant, int | float) else "a constant"
    if all(value.image for value in step.of) and len(step.of) > 1:
        return "others of them"
    return "a stored value"
