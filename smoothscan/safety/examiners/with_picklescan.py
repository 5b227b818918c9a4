"""picklescan: a list of dangerous names that others keep."""

from __future__ import annotations

import logging
from importlib.metadata import version

from smoothscan.safety.interface import Opinion, Piece
from smoothscan.safety.names import sort_of


class Picklescan:
    """Has picklescan look at single pickles.

    Not at archives: it looks for pickles by the names of the members, and passes pt2 archives without a look inside.
    """

    name = "picklescan"

    def __init__(self) -> None:
        self.version = version("picklescan")

    def examine(self, piece: Piece) -> Opinion | None:
        """Judge a pickle; names that our own reader knows to be ordinary are not reported."""
        if piece.kind != "pickle":
            return None
        from picklescan.scanner import SafetyLevel, scan_bytes

        logging.getLogger("picklescan").disabled = True
        with piece.open() as file:
            found = scan_bytes(file, piece.name, piece.suffix)
        names = sorted(
            f"{entry.module}.{entry.name}"
            for entry in found.globals
            if entry.safety is SafetyLevel.Dangerous and sort_of(entry.module, entry.name) == "dangerous"
        )
        return Opinion(tuple(f"refers to {name[:100]!r}, says picklescan" for name in names), understood=False)
