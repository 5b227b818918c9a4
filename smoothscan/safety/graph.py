"""Looks for code in the graph of a `torch.export` archive.

The archive's graph is JSON, but not inert: `torch.export.load` evaluates its symbolic expressions and guards as
Python, resolves operator names along attributes of the torch module, and writes argument names into generated source.
What follows admits the small language that `torch.export.save` writes, and reports everything else.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

_MAX_EXPRESSION = 10_000
_NAME = re.compile(r"[A-Za-z0-9_.\-]*")
_OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims|quantized_decomposed|torchvision)\.(?!from_file\b|save\b)_?[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)?"
    r"|torch\.ops\.aten\.__(and|or|xor|lshift|rshift|iand|ior|ixor|ilshift|irshift)__\.[A-Za-z]+"
    r"|torch\.ops\.higher_order\.(cond|while_loop|scan|associative_scan|map_impl|wrap_with_set_grad_enabled|wrap_with_autocast)"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|getitem|index|eq|ne|lt|le|gt|ge|and_|or_|xor|not_|lshift|rshift)"
    r"|math\.[a-z][a-z0-9]*"
    r"|torch\._?sym_[a-z_]+"
)
_FREE_TEXT = frozenset({"metadata", "as_string", "as_strings", "torch_version"})
"""Keys whose values are never evaluated: stack traces, string arguments (quoted when source is generated), versions."""

_FUNCTIONS = frozenset(
    {
        *(
            "Symbol",
            "Integer",
            "Float",
            "Rational",
            "Add",
            "Mul",
            "Pow",
            "Abs",
            "Max",
            "Min",
            "Mod",
            "floor",
            "ceiling",
        ),
        *("Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not", "Piecewise", "Where", "Identity", "BooleanTrue"),
        *(
            "FloorDiv",
            "ModularIndexing",
            "PythonMod",
            "CleanDiv",
            "CeilDiv",
            "CeilToInt",
            "FloorToInt",
            "LShift",
            "RShift",
        ),
        *("PowByNatural", "FloatPow", "FloatTrueDiv", "IntTrueDiv", "IsNonOverlappingAndDenseIndicator"),
        *("TruncToFloat", "TruncToInt", "RoundToInt", "RoundDecimal", "ToFloat", "OpaqueUnaryFn_sqrt"),
        *("StrictLessThan", "LessThan", "StrictGreaterThan", "GreaterThan", "Equality", "Unequality"),
    }
)
_SYMBOL = re.compile(r"[A-Za-z]+[0-9]+|positive|integer|real|nonnegative|oo|int_oo|inf|True|False")
_GUARD_METHODS = frozenset({"size", "stride", "storage_offset", "dim", "shape"})
_ARITHMETIC = (
    *(ast.Expression, ast.Constant, ast.Tuple, ast.Load, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator),
    *(ast.unaryop, ast.boolop, ast.cmpop, ast.keyword),
)
_TREE_TYPES = frozenset({None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"})


def graph_problems(document: Any) -> Iterator[str]:
    """Yield what in a parsed JSON record of an archive is not the plain description of a graph.

    Raises:
        RecursionError: the document is nested too deeply to be read.
    """
    yield from _walk(document, "")


def _walk(value: Any, key: str) -> Iterator[str]:
    if key in _FREE_TEXT:
        return
    if isinstance(value, dict):
        for name, item in value.items():
            if not _NAME.fullmatch(name):
                yield f"a key that is no plain name: {_shown(name)}"
            yield from _walk(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item, key)
    elif isinstance(value, str):
        admitted, what = _CHECKS.get(key, (_is_name, "a text where a name belongs"))
        if not admitted(value):
            yield f"{what}: {_shown(value)}"


def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def _is_operator(text: str) -> bool:
    return _OPERATORS.fullmatch(text) is not None


def _is_expression(text: str) -> bool:
    """Whether a symbolic expression is arithmetic over symbols; sympy evaluates it as Python."""
    return _is_python(text, _expression_node)


def _is_guard(text: str) -> bool:
    """Whether a guard compares sizes of the inputs; torch pastes it into a function and compiles that."""
    return _is_python(text, _guard_node)


def _is_python(text: str, admitted: Callable[[ast.AST], bool]) -> bool:
    if len(text) > _MAX_EXPRESSION:
        return False
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(admitted(node) for node in ast.walk(tree))


def _expression_node(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return _plain_constant(node)
    if isinstance(node, ast.Name):
        return node.id in _FUNCTIONS or _SYMBOL.fullmatch(node.id) is not None
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
    return isinstance(node, _ARITHMETIC)


def _guard_node(node: ast.AST) -> bool:
    if isinstance(node, ast.Name) and node.id in ("L", "math"):
        return True
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant)
    if isinstance(node, ast.Attribute):
        of_math = isinstance(node.value, ast.Name) and node.value.id == "math" and not node.attr.startswith("_")
        return node.attr in _GUARD_METHODS or of_math
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return True  # the attribute itself is judged when the walk comes to it
    return _expression_node(node)


def _plain_constant(node: ast.Constant) -> bool:
    # A string may be evaluated once more (sympy) or pasted between quotes (guards): let only names through.
    if isinstance(node.value, str):
        return _is_name(node.value) and node.value.isidentifier()
    return node.value is None or isinstance(node.value, bool | int | float)


def _is_tree(text: str) -> bool:
    """Whether a tree of containers has only the types whose description torch reads without importing anything."""
    try:
        found = list(_tree_types(json.loads(text)))
    except (ValueError, RecursionError):
        return False
    return all(isinstance(name, str | None) and name in _TREE_TYPES for name in found)


def _tree_types(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        if "type" in value:
            yield value["type"]
        for item in value.values():
            yield from _tree_types(item)
    elif isinstance(value, list):
        for item in value:
            yield from _tree_types(item)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:80] + "...")


_CHECKS: dict[str, tuple[Callable[[str], bool], str]] = {
    "expr_str": (_is_expression, "an expression that is not plain arithmetic"),
    "guards_code": (_is_guard, "a guard that is no comparison of sizes"),
    "target": (_is_operator, "an operator outside the known ones"),
    "as_operator": (_is_operator, "an operator outside the known ones"),
    "in_spec": (_is_tree, "a container of an unknown type"),
    "out_spec": (_is_tree, "a container of an unknown type"),
}
