"""Tells an activation function from a gate: both compare, but an activation does not jump.

`torch.where(x > 0, x, exp(x) - 1)` and `x * (x > 0)` are functions of one number, and continuous; a gate that opens at
one value is not. Functions are evaluated as such, number by number, at the places where one of their comparisons turns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any

from smoothscan.safety.functions import BEYOND, FUNCTIONS, JUMPING

MAX_DEPTH = 40
"""Steps of one function that are looked at."""
MAX_EVALUATIONS = 1_000_000
"""Steps that are computed for one graph; functions that come later count as jumping."""
_SERIAL = count()
_GRID = (0.0, *(sign * 10.0**power for sign in (-1, 1) for power in range(-6, 13)), *(n / 4 for n in range(-40, 41)))


@dataclass(frozen=True)
class Step:
    """One value of a graph, as far as it is a function of others, number by number."""

    operation: str
    """Name of the operation, without overload; empty where nothing is known of how the value came about."""
    arguments: dict[str, Step | float | str | None] = field(default_factory=dict)
    """Arguments by name."""
    depth: int = 0
    """Longest chain of operations to a value of which nothing is known."""
    serial: int = field(default_factory=lambda: next(_SERIAL))
    """Steps are numbered in the order of the graph."""


class Trials:
    """Tries functions out, number by number, within a limit for all of a graph."""

    def __init__(self) -> None:
        self.left = MAX_EVALUATIONS

    def is_continuous(self, step: Step, root: int) -> bool:
        """Tell whether a value is a continuous function of the step numbered `root`, as far as trying it out tells."""
        if self.left <= 0:
            return False
        hard = [each for each in _steps(step, root) if each.operation in JUMPING]
        if any(each.operation in BEYOND and not _of_infinity(each) for each in hard):
            return False
        places = sorted({*_GRID, *(near for value in _constants(step, root) for near in (value - 1, value, value + 1))})
        for each in hard:
            values = [self._value(each, root, place) for place in places]
            for (low, high), (before, after) in zip(pairwise(places), pairwise(values), strict=True):
                if before != after and self._jumps(step, each, root, low, high):
                    return False
        return self.left > 0

    def _jumps(self, step: Step, turning: Step, root: int, low: float, high: float) -> bool:
        """Whether the function jumps where a comparison within it turns, somewhere between two places."""
        before = self._value(turning, root, low)
        for _ in range(100):
            middle = low + (high - low) / 2
            if not low < middle < high:
                break
            if self._value(turning, root, middle) == before:
                low = middle
            else:
                high = middle
        left, right = self._value(step, root, low), self._value(step, root, high)
        return left != right and not abs(left - right) <= 1e-6 * max(1.0, abs(left))

    def _value(self, step: Step, root: int, x: float) -> float:
        """Return the step's value where that of the root is x; NaN where it has none, and when the limit is reached."""
        known: dict[int, float] = {root: x}

        def of(argument: Step | float | str | None) -> Any:
            if not isinstance(argument, Step):
                return argument
            if argument.serial not in known:
                self.left -= 1
                arguments = {name: of(value) for name, value in argument.arguments.items()} if self.left > 0 else {}
                known[argument.serial] = _computed(argument.operation, arguments)
            return known[argument.serial]

        return float(of(step))


def _of_infinity(step: Step) -> bool:
    """Whether a comparison asks for infinity, or for NaN, as `isinf` and `isnan` do when they are taken apart."""
    one, other = step.arguments.get("self"), step.arguments.get("other")
    return one is other or (isinstance(other, float) and math.isinf(other))


def _steps(step: Step, root: int) -> Iterator[Step]:
    seen, waiting = {root}, [step]
    while waiting:
        each = waiting.pop()
        if each.serial not in seen:
            seen.add(each.serial)
            yield each
            waiting += [argument for argument in each.arguments.values() if isinstance(argument, Step)]


def _constants(step: Step, root: int) -> Iterator[float]:
    for each in _steps(step, root):
        for argument in each.arguments.values():
            if isinstance(argument, int | float) and abs(argument) < 1e30:
                yield float(argument)


def _computed(operation: str, arguments: dict[str, Any]) -> float:
    try:
        return float(FUNCTIONS[operation](**arguments))
    except (ArithmeticError, ValueError, TypeError, KeyError):
        return math.nan
