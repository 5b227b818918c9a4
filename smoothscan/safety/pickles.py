"""Reads pickle opcodes without running any of them."""

from __future__ import annotations

import pickletools

_STORAGES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_TENSOR_GLOBALS = frozenset(
    {
        "collections OrderedDict",
        "torch Size",
        "torch device",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_tensor_v2",
        *(f"torch {name}Storage" for name in _STORAGES),
    }
)
_DATA_OPCODES = frozenset(
    {
        *("PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE"),
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"),
        *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
        *("BINPERSID", "GLOBAL", "REDUCE"),
    }
)


def tensor_pickle_problem(pickle: bytes) -> str | None:
    """Say what in a pickle goes beyond tensors in plain containers; None if nothing does.

    Only opcodes that build data are allowed, and only the few globals by which `torch.save` rebuilds tensors.
    """
    try:
        for opcode, argument, _ in pickletools.genops(pickle):
            if opcode.name not in _DATA_OPCODES:
                return f"uses the pickle opcode {opcode.name}"
            if opcode.name == "GLOBAL" and argument not in _TENSOR_GLOBALS:
                return f"refers to {str(argument).replace(' ', '.')[:100]!r}"
    except Exception as error:  # pickletools raises all sorts of errors on malformed streams
        return f"is no readable pickle ({type(error).__name__})"
    return None
