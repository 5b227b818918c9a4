"""What the static check and its scanners say to each other."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from smoothscan.safety.formats import HEAD, Kind, kind_of

MAX_PIECE_BYTES = 256 * 2**20
"""Largest member of an archive that is unpacked, and largest file that is read at once."""


class TooLargeError(Exception):
    """A piece has more bytes than are read at once."""


@dataclass(frozen=True)
class Piece:
    """A file of the model, or a member of an archive in it."""

    name: str
    """Path inside the model's folder; behind `!` the path inside an archive."""
    source: Path | bytes
    """Where its bytes are."""
    depth: int = 0
    """Archives that it lies in."""

    @cached_property
    def size(self) -> int:
        """Number of bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    @cached_property
    def head(self) -> bytes:
        """The first bytes."""
        with self.open() as file:
            return file.read(HEAD)

    @cached_property
    def kind(self) -> Kind:
        """What the bytes are, whatever the name says."""
        return kind_of(self)

    @property
    def suffix(self) -> str:
        """End of the name in lower case, with its dot."""
        return PurePosixPath(self.name).suffix.lower()

    @property
    def base(self) -> str:
        """Last part of the name."""
        return PurePosixPath(self.name).name

    def open(self) -> BinaryIO:
        """Return a new reader."""
        return io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb")

    def read(self, limit: int = MAX_PIECE_BYTES) -> bytes:
        """Return all bytes.

        Raises:
            TooLargeError: there are more than `limit`.
        """
        if self.size > limit:
            raise TooLargeError(f"{self.size} bytes")
        if isinstance(self.source, bytes):
            return self.source
        with self.source.open("rb") as file:
            return file.read(limit)

    def member(self, name: str, content: bytes) -> Piece:
        """Return a member of this archive."""
        return Piece(f"{self.name}!{name}", content, self.depth + 1)


@dataclass(frozen=True)
class Opinion:
    """What a scanner says about a piece."""

    dangerous: tuple[str, ...] = ()
    """What no ordinary model gives rise to, in words that follow the name of the piece."""
    code: tuple[str, ...] = ()
    """How loading it runs code that the model brings along."""
    inside: tuple[Piece, ...] = ()
    """Members to be examined as well."""
    unread: tuple[str, ...] = ()
    """Members that were not read, by their path in the piece."""
    numbers: tuple[str, ...] = ()
    """Files beside the piece that loading it reads as plain numbers, whatever they hold, by their path from there."""
    understood: bool = True
    """Whether the scanner read all of the piece, so that its silence counts. Its members count by themselves."""


class Examiner(Protocol):
    """A static scanner. It reads bytes and never unpickles, imports or runs them."""

    name: str
    """As the report names it."""
    version: str
    """Version of the scanner."""

    def examine(self, piece: Piece) -> Opinion | None:
        """Judge a piece, or return None if it is not for this scanner.

        An error means that the scanner failed; the piece is then held to be unexamined by it.
        """
        ...
