"""What is known of torch's operations: which look at values at all, and which are functions number by number."""

from __future__ import annotations

from collections.abc import Sequence

from smoothscan.safety.activation import MAX_DEPTH, Step
from smoothscan.safety.exported import Node, scalar
from smoothscan.safety.functions import ELEMENTWISE, TRUTHS

BOOL = 12
"""Number of torch's truths among its data types."""
WHOLE = frozenset({1, 2, 3, 4, 5, BOOL, 28, 33, 34})
"""Data types that no gradient passes."""
CUTS = frozenset({"multinomial", "bernoulli", "histc", "nextafter"})
"""Operations that pass no gradient though they give floating-point numbers; the others are in `JUMPING`."""
TO_PYTHON = frozenset({"item", "_local_scalar_dense", "is_nonzero"})
"""Operations that hand a value to the program."""
_FILLED = {"zeros_like": 0.0, "new_zeros": 0.0, "zeros": 0.0, "ones_like": 1.0, "new_ones": 1.0, "ones": 1.0}
_SIZES = ("sym_size", "sym_stride", "sym_numel", "sym_storage_offset", "size", "numel")
OF_SHAPE = frozenset({*_FILLED, *_SIZES, "full_like", "new_full", "empty_like", "new_empty", "rand_like", "randn_like"})
"""Operations that look at the shape of their first argument alone."""
_CASTS = ("to", "_to_copy", "type_as")
_SAME = frozenset(
    {*_CASTS, "clone", "contiguous", "alias", "lift_fresh", "lift_fresh_copy", "dropout", "feature_dropout"}
)
VIEWS = frozenset(
    {
        *("view", "reshape", "_unsafe_view", "view_as", "flatten", "unflatten", "squeeze", "unsqueeze", "select"),
        *("slice", "transpose", "permute", "movedim", "t", "mT", "swapaxes", "expand", "expand_as", "narrow"),
        *("broadcast_to", "split", "split_with_sizes", "chunk", "tensor_split", "unbind", "diagonal", "unfold"),
        *("as_strided", "detach", "real", "imag", "view_as_real", "view_as_complex", "adjoint", *_SAME),
    }
)
"""Operations whose answer may share its memory with their first argument."""
ARRANGED = VIEWS | {"flip", "roll", "cat", "stack", "pad", "constant_pad_nd", "repeat", "pixel_unshuffle"}
"""Operations whose answer has the values of their arguments."""


def step_of(node: Node, arguments: Sequence[tuple[str, Step]], *, of_image: bool, dtype: int) -> Step:
    """Return how an operation's answer comes about, number by number.

    Args:
        node: the operation.
        arguments: its arguments that are values, in their order.
        of_image: whether the answer depends on the image; of another one the values have to be made up.
        dtype: data type of the answer.
    """
    base, steps = node.base, dict(reversed(arguments))
    numbers = {name: scalar(value) for name, value in node.arguments}
    if base in _SAME or (base in VIEWS and not of_image):
        name = "same" if dtype not in WHOLE else "to_bool" if dtype == BOOL else "to_whole"
        return _number_by_number(name, {"self": arguments[0][1]} if arguments else {}, of_image=of_image)
    if base in _FILLED:
        return stored(_FILLED[base])
    filled = numbers.get("s" if base == "scalar_tensor" else "fill_value")
    if base in ("full", "full_like", "new_full", "scalar_tensor") and isinstance(filled, int | float):
        return stored(filled)
    if base == "div" and isinstance(numbers.get("rounding_mode"), str):
        base = "floor_divide"
        numbers.pop("rounding_mode")
    if base in ELEMENTWISE and (base != "index_put" or _is_masked(node, arguments)):
        given = {name: value for name, value in numbers.items() if value is not None}
        return _number_by_number(base, {**given, **steps}, of_image=of_image)
    return Step(base, dict(steps)) if of_image else unknown()


def _is_masked(node: Node, arguments: Sequence[tuple[str, Step]]) -> bool:
    """Whether values are put where one mask is true, instead of at positions."""
    indices = [step.operation for name, step in arguments if name == "indices"]
    return len(indices) == 1 and indices[0] in TRUTHS and ("accumulate", {"as_bool": True}) not in node.arguments


def _number_by_number(operation: str, arguments: dict[str, Step | float | str | None], *, of_image: bool) -> Step:
    depth = 1 + max((each.depth for each in arguments.values() if isinstance(each, Step)), default=0)
    if depth > MAX_DEPTH and not of_image:
        return unknown()
    return Step(operation, arguments, depth if depth <= MAX_DEPTH else 0)


def stored(value: float) -> Step:
    """Return a stored number."""
    return Step("constant", {"value": value})


def unknown() -> Step:
    """Return stored numbers of which nothing is known; one is made up, another one than those of the others."""
    step = Step("constant")
    step.arguments["value"] = 0.1 + step.serial * 0.6180339887498949 % 0.8
    return step


def guarded_softmax(step: Step) -> int | None:
    """Return the softmax that a step leaves as it is, where there is any number to take it of.

    That is how `scaled_dot_product_attention` is taken apart: rows of which every value is masked become zero.
    """
    softmax, chain = step.arguments.get("other"), step.arguments.get("condition")
    for operation in ("logical_not", "any", "logical_not", "eq"):
        if not isinstance(chain, Step) or chain.operation != operation or step.operation != "where":
            return None
        of, with_ = chain.arguments.get("self"), chain.arguments.get("other")
        chain = of
    if not isinstance(softmax, Step) or softmax.operation not in ("_softmax", "softmax") or with_ != float("-inf"):
        return None
    return softmax.serial if softmax.arguments.get("self") is of else None
