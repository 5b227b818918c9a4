"""Texts that nobody runs: descriptions, settings, lists of packages, examples."""

from __future__ import annotations

import json
import re

from smoothscan._version import __version__
from smoothscan.safety.formats import promised
from smoothscan.safety.interface import MAX_PIECE_BYTES, Opinion, Piece

MAX_TEXT_BYTES = 64 * 2**20
"""Longest text that is read; an input example in JSON may have some megabytes."""
_OBJECTS = re.compile(rb"!!?python/|!!?java|!<tag:yaml\.org,2002:python/")
"""Tags by which an unwary reader of YAML makes objects of any class."""
_YAML = (".yaml", ".yml")
_PICKLE_MODULES = frozenset(
    {"mlflow.pytorch.pickle_module", "pickle", "cloudpickle", "dill", "cloudpickle.cloudpickle"}
)


class TextReader:
    """Accepts texts that are what their names say."""

    name = "text"
    version = __version__

    def examine(self, piece: Piece) -> Opinion | None:
        """Judge what is named like a text."""
        if piece.kind not in ("text", "empty") or "text" not in (promised(piece.name) or ()) or piece.suffix == ".py":
            return None
        if piece.size > min(MAX_TEXT_BYTES, MAX_PIECE_BYTES):
            return None
        content = piece.read()
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            return Opinion(dangerous=("is named like a text, and is none",))
        if "\0" in text:
            return Opinion(dangerous=("is named like a text, and is none",))
        if piece.base == "pickle_module_info.txt" and text.strip() not in _PICKLE_MODULES:
            return Opinion(code=(f"has MLflow import the module {text.strip()[:80]!r} to read pickles",))
        return Opinion(dangerous=tuple(_problems(piece, content, text)))


def _problems(piece: Piece, content: bytes, text: str) -> list[str]:
    if piece.suffix in (".json", ".ipynb") and text.strip():
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return ["is named JSON, and is none"]
    elif (piece.suffix in _YAML or piece.base == "MLmodel") and _OBJECTS.search(content):
        return ["has YAML that makes Python objects"]
    return []
