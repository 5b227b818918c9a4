"""Reads the parts of a serialised graph of `torch.export`, without trusting that they are what they should be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_OWN = re.compile(r"torch\.ops\.(?:aten|prims|quantized_decomposed|torchvision)\.(\w+)(?:\.(\w+))?")
_PYTHON = re.compile(r"(?:_operator|math|torch)\.(\w+)")
_HIGHER = "torch.ops.higher_order."
_WITHOUT_NAMES = frozenset({"as_graph", "as_string", "as_strings", "as_operator", "as_custom_obj"})


class MalformedError(Exception):
    """The graph is not what `torch.export` writes, or has parts that nothing is known of."""


@dataclass(frozen=True)
class Node:
    """One operation of a graph."""

    base: str
    """Its name, without namespace, overload and the mark of those that write into their first argument."""
    overload: str
    """Which of its versions it is."""
    higher: bool
    """Whether its arguments are graphs."""
    in_place: bool
    """Whether it writes into its first argument."""
    arguments: tuple[tuple[str, Any], ...]
    """Names and values of its arguments."""
    outputs: tuple[str, ...]
    """Names of what it gives."""
    tensors: tuple[tuple[str, str], ...] = field(default=())
    """Names of the arguments that are values of the graph, and of these values."""

    @property
    def shown(self) -> str:
        """What people know it by."""
        mark = "_" if self.in_place else ""
        return self.base if self.higher else f"aten.{self.base}{mark}" + (f".{self.overload}" if self.overload else "")

    def graphs(self) -> list[Any]:
        """Return the graphs among the arguments, in their order."""
        found = (dictionary(value).get("as_graph") for _, value in self.arguments)
        return [dictionary(graph).get("graph") for graph in found if graph is not None]


def node_of(raw: Any) -> Node:
    """Read one operation.

    Raises:
        MalformedError: it is none, or one of which nothing is known.
    """
    raw = dictionary(raw)
    target = raw.get("target")
    if not isinstance(target, str):
        raise MalformedError
    arguments = tuple((str(dictionary(each).get("name")), dictionary(each).get("arg")) for each in items(raw, "inputs"))
    outputs = tuple(name for each in items(raw, "outputs") for name in names(each))
    tensors = tuple((name, each) for name, value in arguments for each in names(value))
    if target.startswith(_HIGHER):
        return Node(target.removeprefix(_HIGHER), "", True, False, arguments, outputs, tensors)
    if python := _PYTHON.fullmatch(target):
        return Node(python[1], "", False, False, arguments, outputs, tensors)
    if (own := _OWN.fullmatch(target)) is None or str(own[2]).endswith("out"):  # `out` writes into that argument
        raise MalformedError
    in_place = own[1].endswith("_") and not own[1].endswith("__")
    return Node(own[1].rstrip("_") if in_place else own[1], own[2] or "", False, in_place, arguments, outputs, tensors)


def names(argument: Any) -> Iterator[str]:
    """Yield the names of the values in an argument or an output, in their order."""
    waiting = [argument]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += reversed(each)
        elif isinstance(each, dict):
            for key in ("name", "as_name"):
                if isinstance(each.get(key), str):
                    yield each[key]
            waiting += [value for key, value in reversed(each.items()) if key not in _WITHOUT_NAMES]


def scalar(argument: Any) -> float | str | None:
    """Return the number, or the text, that an argument is; None if it is anything else."""
    argument = dictionary(argument)
    for key in ("as_float", "as_int", "as_string"):
        value = argument.get(key)
        if isinstance(value, int | float | str):
            if key != "as_float":
                return value
            try:
                return float(value)  # infinity is a text
            except ValueError:
                return None
    return None


def dictionary(value: Any) -> dict[str, Any]:
    """Return a dictionary, or refuse what is none."""
    if not isinstance(value, dict):
        raise MalformedError
    return value


def items(value: dict[str, Any], key: str) -> list[Any]:
    """Return the list under a key, or refuse what is none."""
    found = value.get(key)
    if not isinstance(found, list):
        raise MalformedError
    return found
