"""Tells what a file is by its bytes, and what its name promises."""

from __future__ import annotations

import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from smoothscan.safety.interface import Piece

Kind = Literal[
    "empty", "zip", "tar", "packed", "pickle", "safetensors", "native", "bytecode", "picture", "numpy", "text", "other"
]

HEAD = 512
"""Bytes from which the kind is told."""
_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    *((start, "zip") for start in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")),
    *((bytes([0x80, protocol]), "pickle") for protocol in range(6)),
    *(
        (start, "native")
        for start in (b"\x7fELF", b"MZ\x90\x00", b"\xca\xfe\xba\xbe", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe")
    ),
    *((start, "native") for start in (b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"!<arch>\n", b"\x00asm")),
    *(
        (start, "packed")
        for start in (b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"\xfd7zXZ\x00", b"BZh", b"\x28\xb5\x2f\xfd")
    ),
    (b"Rar!\x1a\x07", "packed"),
    *((start, "picture") for start in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8")),
    (b"\x93NUMPY", "numpy"),
)
_TAR = slice(257, 262)
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r\f\x1b")) + b"\x7f"


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


TEXT_NAMES = frozenset(
    {
        *("mlmodel", "license", "licence", "notice", "readme", "authors", "changelog", "makefile", "dockerfile"),
        *("registered_model_meta", "py.typed", "record", "wheel", "installer", "metadata", "merges", "vocab"),
        *(".gitignore", ".gitattributes", ".dockerignore", ".amlignore", ".editorconfig"),
    }
)
TEXT_SUFFIXES = _words(
    ".txt .md .rst .json .jsonl .yaml .yml .toml .cfg .ini .csv .tsv .log .lock .pyi .ipynb",
    ".html .css .xml .svg .sh .sql",
)
PICKLE_SUFFIXES = _words(".pth .pt .pkl .pickle .ckpt .joblib .cloudpickle .dill")
"""What is always meant to be unpickled; `.bin` may be anything."""
NATIVE_SUFFIXES = _words(".so .pyd .dll .dylib .exe .a .o")

_PROMISES: dict[str, frozenset[Kind]] = {
    **dict.fromkeys(TEXT_SUFFIXES | {".py"}, frozenset({"text", "empty"})),
    **dict.fromkeys(PICKLE_SUFFIXES, frozenset({"pickle", "zip", "tar", "text", "other", "empty"})),
    ".safetensors": frozenset({"safetensors"}),
    ".pt2": frozenset({"zip"}),
    **dict.fromkeys((".zip", ".whl", ".egg", ".npz"), frozenset({"zip"})),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".gif"), frozenset({"picture"})),
    ".npy": frozenset({"numpy"}),
    **dict.fromkeys((".pyc", ".pyo"), frozenset({"bytecode"})),
    **dict.fromkeys((".7z", ".xz", ".bz2", ".zst", ".rar", ".gz", ".tgz"), frozenset({"packed"})),
    ".tar": frozenset({"tar"}),
    **dict.fromkeys((".onnx", ".parquet", ".h5", ".bmp", ".webp"), frozenset({"other"})),
}


def kind_of(piece: Piece) -> Kind:
    """Return what a piece is by its bytes."""
    head = piece.head
    if not head:
        return "empty"
    if head[4:9] == b"\0\0\0\0{" and int.from_bytes(head[:8], "little") <= piece.size - 8:
        return "safetensors"  # first of all: a length may look like the beginning of a pickle
    for start, kind in _MAGIC:
        if head.startswith(start):
            return kind
    if head[_TAR] == b"ustar":
        return "tar"
    if head[2:4] == b"\r\n" and head[1] in (12, 13, 14):  # the magic numbers of Python 3's bytecode
        return "bytecode"
    with piece.open() as file:
        if zipfile.is_zipfile(file):
            return "zip"  # Python reads an archive from its end, whatever stands before it
    return "text" if head == head.translate(None, _CONTROL) else "other"


def promised(name: str) -> frozenset[Kind] | None:
    """Return what a name lets one expect; None if it promises nothing."""
    path = PurePosixPath(name.lower())
    if path.suffix in _PROMISES:
        return _PROMISES[path.suffix]
    return _PROMISES[".txt"] if path.name in TEXT_NAMES else None
