"""ONNX: a graph in a protocol buffer. It holds no code, but may name files to read and operators that others bring."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from smoothscan._version import __version__
from smoothscan.safety.interface import Opinion, Piece
from smoothscan.safety.protobuf import Message, ProtobufError
from smoothscan.safety.zips import short

MAX_NESTING = 30
"""Graphs in graphs: bodies of branches and loops."""
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft"})
_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8, 15: 16, 16: 2}
"""Bytes of an element, by the number of its data type."""

# Numbers of the fields, from onnx.proto.
_IR_VERSION, _GRAPH, _OPSET, _TRAINING, _FUNCTIONS = 1, 7, 8, 20, 25
_NODES, _INITIALIZERS, _SPARSE = 1, 5, 15
_FUNCTION_NAME, _FUNCTION_NODES, _FUNCTION_DOMAIN = 1, 7, 10
_OPERATOR, _ATTRIBUTES, _NODE_DOMAIN = 4, 5, 7
_TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS = 5, 6, 10, 11
_DIMENSIONS, _DATA_TYPE, _RAW, _EXTERNAL = 1, 2, 9, 13


@dataclass
class _Seen:
    operators: set[tuple[str, str]] = field(default_factory=set)
    files: dict[str, int] = field(default_factory=dict)
    """Files of numbers, and how far the tensors reach into them."""
    problems: list[str] = field(default_factory=list)


class OnnxReader:
    """Reads a graph and says which operators and which files beside it the graph wants."""

    name = "onnx"
    version = __version__

    def examine(self, piece: Piece) -> Opinion | None:
        """Judge a file that is named .onnx."""
        if piece.suffix != ".onnx" or piece.kind != "other":
            return None
        try:
            if isinstance(piece.source, bytes):
                return _judged(Message(piece.source, 0, piece.size), None)
            with (
                piece.source.open("rb") as file,
                closing(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) as mapped,
            ):
                return _judged(Message(mapped, 0, piece.size), piece.source.parent)
        except (ProtobufError, RecursionError):
            return Opinion(dangerous=("is named ONNX, and cannot be read as such",))


def _judged(model: Message, folder: Path | None) -> Opinion:
    if not list(model.integers(_IR_VERSION)) or not list(model.messages(_GRAPH)):
        raise ProtobufError
    seen = _Seen()
    own: set[tuple[str, str]] = set()
    for function in model.messages(_FUNCTIONS):
        own.add((next(function.texts(_FUNCTION_DOMAIN), ""), next(function.texts(_FUNCTION_NAME), "")))
        _read_nodes(function.messages(_FUNCTION_NODES), seen, 0)
    for graph in model.messages(_GRAPH):
        _read_graph(graph, seen, 0)
    code = ["is meant to be trained: it brings graphs for that"] if any(model.messages(_TRAINING)) else []
    foreign = sorted({domain for domain, name in seen.operators - own if domain not in _DOMAINS})
    if foreign:
        code.append("needs operators that a native library would bring, from " + ", ".join(map(short, foreign[:8])))
    problems = list(dict.fromkeys([*seen.problems, *_file_problems(seen.files, folder)]))
    return Opinion(tuple(problems), tuple(code), numbers=() if problems else tuple(sorted(seen.files)))


def _read_graph(graph: Message, seen: _Seen, depth: int) -> None:
    if depth > MAX_NESTING:
        raise ProtobufError
    for tensor in graph.messages(_INITIALIZERS):
        _read_tensor(tensor, seen)
    for sparse in graph.messages(_SPARSE):
        for part in (*sparse.messages(1), *sparse.messages(2)):  # values and indices
            _read_tensor(part, seen)
    _read_nodes(graph.messages(_NODES), seen, depth)


def _read_nodes(nodes: Iterator[Message], seen: _Seen, depth: int) -> None:
    for node in nodes:
        seen.operators.add((next(node.texts(_NODE_DOMAIN), ""), next(node.texts(_OPERATOR), "")))
        for attribute in node.messages(_ATTRIBUTES):
            for tensor in (*attribute.messages(_TENSOR), *attribute.messages(_TENSORS)):
                _read_tensor(tensor, seen)
            for graph in (*attribute.messages(_SUBGRAPH), *attribute.messages(_SUBGRAPHS)):
                _read_graph(graph, seen, depth + 1)


def _read_tensor(tensor: Message, seen: _Seen) -> None:
    item = _ITEM_BYTES.get(next(tensor.integers(_DATA_TYPE), 0))
    needed = math.prod(tensor.integers(_DIMENSIONS)) * item if item else None
    for raw in tensor.messages(_RAW):
        if needed is not None and raw.size != needed:
            seen.problems.append("declares a tensor of another size than its numbers")
    entries = [(next(entry.texts(1), ""), next(entry.texts(2), "")) for entry in tensor.messages(_EXTERNAL)]
    if not entries:
        return
    outside = dict(entries)
    offset, length = outside.get("offset", "0"), outside.get("length", str(needed or 0))
    if len(outside) < len(entries) or not (offset.isdecimal() and length.isdecimal()):
        seen.problems.append("says twice or unclearly where its numbers are")
        return
    name = outside.get("location", "")
    seen.files[name] = max(seen.files.get(name, 0), int(offset) + max(int(length), needed or 0))


def _file_problems(files: dict[str, int], folder: Path | None) -> Iterator[str]:
    for name, end in files.items():
        path = Path(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or not name.isprintable() or len(name) > 200:
            yield f"wants numbers from {short(name)}, outside of its folder"
        elif folder is None or not (folder / name).is_file() or (folder / name).is_symlink():
            yield f"wants numbers from {short(name)}, which is not there"
        elif (folder / name).stat().st_size < end:
            yield f"wants more numbers from {short(name)} than it holds"
