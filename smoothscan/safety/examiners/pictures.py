"""PNG, JPEG and GIF: pictures beside a model, with nothing behind their end."""

from __future__ import annotations

from smoothscan._version import __version__
from smoothscan.safety.interface import Opinion, Piece

_PNG = b"\x89PNG\r\n\x1a\n"
_ENDS = ((b"\xff\xd8\xff", b"\xff\xd9"), (b"GIF8", b";"))
_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif")
_BEHIND = "is a picture with something behind its end"


class PictureReader:
    """Accepts pictures that end where they say they end. It does not decode them, and neither does loading a model."""

    name = "picture"
    version = __version__

    def examine(self, piece: Piece) -> Opinion | None:
        """Judge what begins and is named like a picture."""
        if piece.kind != "picture" or piece.suffix not in _SUFFIXES:
            return None
        content = piece.read()
        if content.startswith(_PNG):
            whole = _png_end(content) == len(content)
        else:
            whole = any(content.startswith(start) and content.endswith(end) for start, end in _ENDS)
        return Opinion(dangerous=() if whole else (_BEHIND,))


def _png_end(content: bytes) -> int | None:
    position = len(_PNG)
    while position + 12 <= len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        kind = content[position + 4 : position + 8]
        position += 12 + length
        if kind == b"IEND":
            return position
    return None
