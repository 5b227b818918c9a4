"""fickling: decompiles a pickle and knows which imports attacks use."""

from __future__ import annotations

from importlib.metadata import version

from smoothscan.safety.interface import Opinion, Piece
from smoothscan.safety.names import sort_of

MAX_BYTES = 128 * 2**10
"""Longest pickle that is decompiled; that takes ten times as long as our own reader, which reads all of them."""
_MAX_PICKLES = 5
"""Pickles that follow one another in the legacy files of torch.save; raw numbers come behind them."""


class Fickling:
    """Has fickling name the imports that it holds to be unsafe.

    Its other analyses call every module outside of the standard library unsafe, and so every model.
    """

    name = "fickling"

    def __init__(self) -> None:
        self.version = version("fickling")

    def examine(self, piece: Piece) -> Opinion | None:
        """Judge a pickle; names that our own reader knows to be ordinary are not reported."""
        if piece.kind != "pickle" or piece.size > MAX_BYTES:
            return None
        from fickling.fickle import Pickled

        unsafe = []
        with piece.open() as file:
            for _ in range(_MAX_PICKLES):
                pickled = Pickled.load(file, fail_on_decode_error=False)
                unsafe += list(pickled.unsafe_imports())
                if pickled.has_invalid_opcode or file.tell() >= piece.size:
                    break
        imports = {(getattr(node, "module", None) or "", alias.name) for node in unsafe for alias in node.names}
        names = sorted(f"{module}.{name}" for module, name in imports if sort_of(module, name) == "dangerous")
        return Opinion(tuple(f"refers to {name[:100]!r}, says fickling" for name in names), understood=False)
