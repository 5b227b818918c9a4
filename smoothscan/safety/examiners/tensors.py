"""Numbers alone: safetensors, and arrays of NumPy without objects in them."""

from __future__ import annotations

import ast
import json
import math
import struct
from collections.abc import Iterator
from typing import Any

from smoothscan._version import __version__
from smoothscan.safety.interface import Opinion, Piece

MAX_HEADER_BYTES = 100_000_000
"""Longest header that the library safetensors reads."""
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E5M2FNUZ", "F8_E4M3FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}
_ARRAY_HEADER_BYTES = 65_536


class SafetensorsReader:
    """Validates the header against the file, as the library does: every byte belongs to exactly one tensor."""

    name = "safetensors"
    version = __version__

    def examine(self, piece: Piece) -> Opinion | None:
        """Judge what is named or built like a file of safetensors."""
        if piece.kind != "safetensors":
            return None
        (length,) = struct.unpack("<Q", piece.head[:8])
        if length > MAX_HEADER_BYTES:
            return Opinion(dangerous=(f"has a header of {length} bytes",))
        with piece.open() as file:
            header = file.read(8 + length)[8:]
        try:
            document = json.loads(header.decode("utf-8"), object_pairs_hook=_without_doubles)
            problem = next(_problems(document, piece.size - 8 - length), None)
        except (ValueError, RecursionError):
            problem = "is no JSON, or names a tensor twice"
        return Opinion(dangerous=(f"has a header that {problem}",) if problem else ())


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError
    return document


def _problems(document: Any, data_bytes: int) -> Iterator[str]:
    if not isinstance(document, dict):
        yield "is no list of tensors"
        return
    metadata = document.pop("__metadata__", {})
    if not (isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())):
        yield "has metadata other than text"
    end = 0
    tensors = [_tensor(entry) for entry in document.values()]
    if any(tensor is None for tensor in tensors):
        yield "describes a tensor in another way than the format allows"
        return
    for start, stop, size in sorted(tensor for tensor in tensors if tensor is not None):
        if start != end or stop - start != size:
            yield "has tensors that overlap, leave gaps or have another size than they state"
            return
        end = stop
    if end != data_bytes:
        yield f"describes {end} bytes of numbers where {data_bytes} are"


def _tensor(entry: Any) -> tuple[int, int, int] | None:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(start), int(stop)]} if dtype in _BITS:
            if all(type(extent) is int and extent >= 0 for extent in shape) and 0 <= start <= stop:
                return start, stop, math.prod(shape) * _BITS[dtype] // 8
    return None


class NumpyReader:
    """Accepts arrays of numbers; arrays of objects are pickles."""

    name = "numpy"
    version = __version__

    def examine(self, piece: Piece) -> Opinion | None:
        """Judge a .npy file."""
        if piece.kind != "numpy":
            return None
        wide = piece.head[6] >= 2
        length = int.from_bytes(piece.head[8 : 12 if wide else 10], "little")
        if length > _ARRAY_HEADER_BYTES:
            return Opinion(dangerous=(f"has a header of {length} bytes",))
        with piece.open() as file:
            header = file.read((12 if wide else 10) + length)[12 if wide else 10 :]
        try:
            description = str(ast.literal_eval(header.decode("latin-1").strip())["descr"])
        except (ValueError, SyntaxError, RecursionError, MemoryError, KeyError, TypeError):
            return Opinion(dangerous=("has a header that NumPy does not write",))
        if "O" in description:
            return Opinion(dangerous=("is an array of objects, which is a pickle",))
        return Opinion()
