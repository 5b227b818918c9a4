"""Code that is no pickle: Python files, bytecode and native libraries."""

from __future__ import annotations

from smoothscan._version import __version__
from smoothscan.safety.formats import NATIVE_SUFFIXES
from smoothscan.safety.interface import MAX_PIECE_BYTES, Opinion, Piece


class ProgramReader:
    """Names code. What Python code does is not judged: whether it may run is for the sandbox and the user."""

    name = "program"
    version = __version__

    def examine(self, piece: Piece) -> Opinion | None:
        """Judge what is built or named like code."""
        if piece.kind == "native" or piece.suffix in NATIVE_SUFFIXES:
            return Opinion(dangerous=("is a native library or program",))
        if piece.kind == "bytecode":
            return Opinion(dangerous=("is compiled Python without its source",))
        if piece.suffix == ".py" and piece.kind in ("text", "empty") and piece.size <= MAX_PIECE_BYTES:
            return Opinion(code=("is Python code",), dangerous=() if _is_text(piece) else ("is no text",))
        return None


def _is_text(piece: Piece) -> bool:
    content = piece.read()
    try:
        return b"\0" not in content and isinstance(content.decode("utf-8-sig"), str)
    except UnicodeDecodeError:
        return b"coding" in content[:200]
