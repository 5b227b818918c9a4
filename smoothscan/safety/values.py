"""What is known of the values of a graph while the image is followed through it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from smoothscan.safety.activation import Step
from smoothscan.safety.exported import MalformedError, Node
from smoothscan.safety.operations import BOOL


@dataclass(frozen=True)
class Value:
    """What is known of one value of the graph. Sets of hard steps are bit masks."""

    step: Step
    """How it came about, number by number."""
    image: bool = False
    """Whether it depends on the image."""
    pixels: bool = False
    """Whether it is the image itself, or a part of it."""
    soft: bool = True
    """Whether it is floating-point numbers, which a gradient may pass through."""
    pending: int = 0
    """Hard steps whose outcome this is, perhaps within a function of one number."""
    spent: int = 0
    """Hard steps whose outcome was computed with before."""
    roots: frozenset[int] = frozenset()
    """Steps of the image that it is a function of, number by number."""

    @property
    def hard(self) -> int:
        """Hard steps that an answer with this value in it depends on."""
        return self.spent | (self.pending if self.soft else 0)


@dataclass(frozen=True)
class HardStep:
    """An operation on values of the image whose outcome has no gradient."""

    kind: Literal["branch", "gate"]
    """Whether what is computed depends on it, or only the numbers that are computed with."""
    node: Node
    """The operation."""
    of: tuple[Value, ...]
    """What it works on."""
    behind: int
    """Hard steps whose outcome that is."""


class Scope:
    """The values of one graph by name.

    Args:
        values: its inputs.
        tensors: what the graph says of its tensors, by name.
    """

    def __init__(self, values: dict[str, Value], tensors: dict[str, Any]) -> None:
        self.values = values
        self.tensors = tensors
        self.shared = {name: [name] for name in values}
        """Names of the values that may share their memory, by each of them."""

    def value(self, name: str) -> Value:
        """Return a value."""
        if name not in self.values:
            raise MalformedError
        return self.values[name]

    def dtype(self, name: str) -> int:
        """Return a value's data type; sizes and truths, which are no tensors, count as truths."""
        described = self.tensors.get(name)
        dtype = described.get("dtype") if isinstance(described, dict) else BOOL
        if not isinstance(dtype, int):
            raise MalformedError
        return dtype

    def define(self, name: str, value: Value, shares: str | None) -> None:
        """Add a value, which may share its memory with another one."""
        self.values[name] = value
        self.shared[name] = self.shared[shares] if shares is not None else []
        self.shared[name].append(name)

    def written(self, name: str, value: Value) -> None:
        """Note that a value was written into the place of another one."""
        for other in self.shared[name]:
            before = self.values[other]
            self.values[other] = joined([before, value], soft=before.soft)
        self.values[name] = value


def joined(values: Iterable[Value], *, soft: bool) -> Value:
    """Return a value that may be any of some, or be made of all of them."""
    image, pending, spent = False, 0, 0
    for value in values:
        image, spent = image or value.image, spent | value.spent
        pending |= value.pending
    step = Step("")
    if soft:
        pending, spent = 0, spent | pending
    roots = frozenset({step.serial}) if image and not pending else frozenset[int]()
    return Value(step, image, False, soft, pending, spent, roots)
