"""Tells an activation function from a gate: both compare, but an activation does not jump.

`torch.where(x > 0, x, exp(x) - 1)` and `x * (x > 0)` are functions of one number, and continuous; a gate that opens at
one value is not. Functions are evaluated as such, number by number, at the places where one of their comparisons turns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any

MAX_DEPTH = 40
"""Steps of one function that are looked at."""
_SERIAL = count()


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


def is_continuous(step: Step, root: int) -> bool:
    """Tell whether a value is a continuous function of the step numbered `root`, as far as trying it out tells."""
    hard = [each for each in _steps(step, root) if each.operation in JUMPING]
    if any(each.operation in _BEYOND and not _of_infinity(each) for each in hard):
        return False
    places = sorted({*_GRID, *(near for value in _constants(step, root) for near in (value - 1, value, value + 1))})
    for each in hard:
        for low, high in pairwise(places):
            if _value(each, root, low) != _value(each, root, high) and _jumps(step, each, root, low, high):
                return False
    return True


def _of_infinity(step: Step) -> bool:
    """Whether a comparison asks for infinity, or for NaN, as `isinf` and `isnan` do when they are taken apart."""
    one, other = step.arguments.get("self"), step.arguments.get("other")
    return one is other or (isinstance(other, float) and math.isinf(other))


def _jumps(step: Step, turning: Step, root: int, low: float, high: float) -> bool:
    """Whether the function jumps where a comparison within it turns, somewhere between two places."""
    before = _value(turning, root, low)
    for _ in range(100):
        middle = low + (high - low) / 2
        if not low < middle < high:
            break
        if _value(turning, root, middle) == before:
            low = middle
        else:
            high = middle
    left, right = _value(step, root, low), _value(step, root, high)
    return left != right and not abs(left - right) <= 1e-6 * max(1.0, abs(left))


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


def _value(step: Step, root: int, x: float) -> float:
    """Return the step's value where that of the root is x; NaN where it has none."""
    known: dict[int, float] = {root: x}

    def of(argument: Step | float | str | None) -> Any:
        if not isinstance(argument, Step):
            return argument
        if argument.serial not in known:
            known[argument.serial] = _computed(argument.operation, {k: of(v) for k, v in argument.arguments.items()})
        return known[argument.serial]

    if step.serial == root:
        return x
    return float(of(step))


def _computed(operation: str, arguments: dict[str, Any]) -> float:
    try:
        return float(_FUNCTIONS[operation](**arguments))
    except (ArithmeticError, ValueError, TypeError, KeyError):
        return math.nan


def _clamped(self: float, min: float | None = None, max: float | None = None) -> float:
    at_least = self if min is None or self >= min else min
    return at_least if max is None or at_least <= max else max


def _gelu(self: float, approximate: str = "none") -> float:
    if approximate == "tanh":
        return self * 0.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * (self + 0.044715 * self**3)))
    return self * 0.5 * (1 + math.erf(self / math.sqrt(2)))


def _sigmoid(self: float) -> float:
    return 1 / (1 + math.exp(-self)) if self >= 0 else math.exp(self) / (1 + math.exp(self))


def _elu(self: float, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> float:
    return scale * (self if self > 0 else alpha * math.expm1(self * input_scale))


def _sign(self: float) -> float:
    return math.copysign(1, self) if self else 0.0


def _softplus(self: float, beta: float = 1.0, threshold: float = 20.0) -> float:
    return self if self * beta > threshold else math.log1p(math.exp(self * beta)) / beta


def _of(function: Callable[[float], float]) -> Callable[..., float]:
    """Return a function of Python's library with the name that torch gives its argument."""
    return lambda self: function(self)


_COMPARISONS: dict[str, Callable[..., Any]] = {
    "eq": lambda self, other: self == other,
    "ne": lambda self, other: self != other,
    "gt": lambda self, other: self > other,
    "ge": lambda self, other: self >= other,
    "lt": lambda self, other: self < other,
    "le": lambda self, other: self <= other,
    "isnan": _of(math.isnan),
    "isinf": _of(math.isinf),
    "isfinite": _of(math.isfinite),
    "logical_not": lambda self: not self,
    "bitwise_not": lambda self: not self,
    "logical_and": lambda self, other: bool(self) and bool(other),
    "logical_or": lambda self, other: bool(self) or bool(other),
    "logical_xor": lambda self, other: bool(self) != bool(other),
}
_COMPARISONS |= {f"bitwise_{name}": _COMPARISONS[f"logical_{name}"] for name in ("and", "or", "xor")}
_COMPARISONS |= {f"__{name}__": _COMPARISONS[f"logical_{name}"] for name in ("and", "or", "xor")}

TRUTHS = frozenset({*_COMPARISONS, "to_bool"})
"""Operations that answer true or false."""

_STEPPED: dict[str, Callable[..., Any]] = {
    "sign": _sign,
    "sgn": _sign,
    "heaviside": lambda self, values: values if self == 0 else float(self > 0),
    "round": _of(round),
    "floor": _of(math.floor),
    "ceil": _of(math.ceil),
    "trunc": _of(math.trunc),
    "fix": _of(math.trunc),
    "frac": lambda self: self - math.trunc(self),
    "remainder": lambda self, other: self % other,
    "fmod": lambda self, other: math.fmod(self, other),
    "floor_divide": lambda self, other: self // other,
    "threshold": lambda self, threshold, value: self if self > threshold else value,
    "hardshrink": lambda self, lambd=0.5: self if abs(self) > lambd else 0.0,
    "to_bool": _of(bool),
    "to_whole": _of(math.trunc),
}
_BEYOND = frozenset({"eq", "ne", "isclose", "equal", "detach"})
"""Comparisons that hold at single points, which no grid of numbers meets, and what has a value but no gradient."""
JUMPING = frozenset({*TRUTHS, *_STEPPED, *_BEYOND})
"""Operations whose value jumps, or that pass no gradient."""

_SMOOTH: dict[str, Callable[..., Any]] = {
    "add": lambda self, other, alpha=1: self + alpha * other,
    "sub": lambda self, other, alpha=1: self - alpha * other,
    "rsub": lambda self, other, alpha=1: other - alpha * self,
    "mul": lambda self, other: self * other,
    "div": lambda self, other: self / other if other else math.copysign(math.inf, self),
    "pow": lambda self, exponent: self**exponent,
    "maximum": lambda self, other: max(self, other),
    "minimum": lambda self, other: min(self, other),
    "where": lambda condition, self, other: self if condition else other,
    "masked_fill": lambda self, mask, value: value if mask else self,
    "index_put": lambda self, indices, values: values if indices else self,  # where the index is a mask
    "clamp": _clamped,
    "clamp_min": _clamped,
    "clamp_max": _clamped,
    "hardtanh": lambda self, min_val=-1, max_val=1: _clamped(self, min_val, max_val),
    "relu": lambda self: max(self, 0.0),
    "relu6": lambda self: _clamped(self, 0, 6),
    "leaky_relu": lambda self, negative_slope=0.01: self if self > 0 else self * negative_slope,
    "prelu": lambda self, weight: self if self > 0 else self * weight,
    "elu": _elu,
    "celu": lambda self, alpha=1.0: _elu(self, alpha, 1, 1 / alpha),
    "selu": lambda self: _elu(self, 1.6732632423543772, 1.0507009873554805),
    "gelu": _gelu,
    "sigmoid": _sigmoid,
    "silu": lambda self: self * _sigmoid(self),
    "hardsigmoid": lambda self: _clamped(self / 6 + 0.5, 0, 1),
    "hardswish": lambda self: self * _clamped(self / 6 + 0.5, 0, 1),
    "softplus": _softplus,
    "mish": lambda self: self * math.tanh(math.log1p(math.exp(min(self, 30.0)))),
    "softshrink": lambda self, lambd=0.5: self - _clamped(self, -lambd, lambd),
    "tanh": _of(math.tanh),
    "exp": _of(math.exp),
    "expm1": _of(math.expm1),
    "log": lambda self: math.log(self) if self else -math.inf,
    "log1p": _of(math.log1p),
    "erf": _of(math.erf),
    "sin": _of(math.sin),
    "cos": _of(math.cos),
    "abs": _of(abs),
    "neg": lambda self: -self,
    "sqrt": _of(math.sqrt),
    "rsqrt": lambda self: 1 / math.sqrt(self) if self else math.inf,
    "square": lambda self: self * self,
    "reciprocal": lambda self: 1 / self if self else math.inf,
    "same": lambda self: self,
    "constant": lambda value: value,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {**_COMPARISONS, **_STEPPED, **_SMOOTH}
"""Operations as functions of numbers; arguments have the names of torch's schemas."""
ELEMENTWISE = frozenset({*_FUNCTIONS, *_BEYOND})
"""Operations that work number by number."""
_GRID = (0.0, *(sign * 10.0**power for sign in (-1, 1) for power in range(-6, 13)), *(n / 4 for n in range(-40, 41)))
