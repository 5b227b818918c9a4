"""Walks the fields of a protocol buffer where it lies, without copying the large ones."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


class ProtobufError(Exception):
    """The bytes are no protocol buffer."""


@dataclass(frozen=True)
class Message:
    """A message, or a text or bytes; the format does not tell which."""

    buffer: bytes | mmap.mmap
    """Bytes of the whole file."""
    start: int
    """Where it begins."""
    stop: int
    """Where it ends."""

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.stop - self.start

    def text(self, limit: int = 1000) -> str:
        """Return it as a text, cut at a number of bytes."""
        return self.buffer[self.start : min(self.stop, self.start + limit)].decode("utf-8", "replace")

    def fields(self) -> Iterator[tuple[int, Message | int]]:
        """Yield the number and the value of each field; integers are unsigned.

        Raises:
            ProtobufError: it is no message.
        """
        position = self.start
        while position < self.stop:
            key, position = self._varint(position)
            number, wire = key >> 3, key & 7
            if wire == _VARINT:
                value, position = self._varint(position)
                yield number, value
            elif wire == _BYTES:
                length, position = self._varint(position)
                if length > self.stop - position:
                    raise ProtobufError
                yield number, Message(self.buffer, position, position + length)
                position += length
            elif wire in (_FIXED32, _FIXED64):
                width = 4 if wire == _FIXED32 else 8
                if width > self.stop - position:
                    raise ProtobufError
                yield number, int.from_bytes(self.buffer[position : position + width], "little")
                position += width
            else:
                raise ProtobufError

    def messages(self, wanted: int) -> Iterator[Message]:
        """Yield the messages or texts of one field."""
        for number, value in self.fields():
            if number == wanted:
                if isinstance(value, int):
                    raise ProtobufError
                yield value

    def texts(self, wanted: int) -> Iterator[str]:
        """Yield the texts of one field."""
        return (message.text() for message in self.messages(wanted))

    def integers(self, wanted: int) -> Iterator[int]:
        """Yield the integers of one field, packed or not."""
        for number, value in self.fields():
            if number != wanted:
                continue
            if isinstance(value, int):
                yield value
                continue
            position = value.start
            while position < value.stop:
                item, position = value._varint(position)
                yield item

    def _varint(self, position: int) -> tuple[int, int]:
        value = 0
        for shift in range(_LONGEST_VARINT):
            if position >= self.stop:
                raise ProtobufError
            byte = self.buffer[position]
            position += 1
            value |= (byte & 127) << (7 * shift)
            if byte < 128:
                return value, position
        raise ProtobufError
