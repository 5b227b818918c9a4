"""Torch's operations that work number by number, as functions of numbers; arguments are named as in torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


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
BEYOND = frozenset({"eq", "ne", "isclose", "equal", "detach"})
"""Comparisons that hold at single points, which no grid of numbers meets, and what has a value but no gradient."""
JUMPING = frozenset({*TRUTHS, *_STEPPED, *BEYOND})
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
FUNCTIONS: dict[str, Callable[..., Any]] = {**_COMPARISONS, **_STEPPED, **_SMOOTH}
"""Operations by name."""
ELEMENTWISE = frozenset({*FUNCTIONS, *BEYOND})
"""Operations that work number by number."""
