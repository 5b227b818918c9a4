"""How the scanner and the model host talk: small JSON messages on a socket, tensors in shared memory.

The scanner asks, the host answers, one question at a time. The host is not trusted: a message is bounded in size and
holds data only, and tensors are copied out of the shared memory before they are looked at.
"""

from __future__ import annotations

import json
import math
import select
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

MAX_MESSAGE = 256 * 1024
"""Largest message in bytes."""

_HEADER = struct.Struct("!I")


class WireError(Exception):
    """The other side broke the protocol or hung up."""


class WireTimeoutError(WireError):
    """The other side did not answer in time."""


def send(channel: socket.socket, message: dict[str, Any]) -> None:
    """Send one message; raises WireError when the other side is gone or the message is too large."""
    data = json.dumps(message, separators=(",", ":")).encode()
    if len(data) > MAX_MESSAGE:
        raise WireError(f"a message of {len(data)} bytes is over the limit of {MAX_MESSAGE}")
    try:
        channel.sendall(_HEADER.pack(len(data)) + data)
    except OSError as error:
        raise WireError("the connection is closed") from error


def receive(channel: socket.socket, deadline: float | None = None) -> dict[str, Any]:
    """Return the next message.

    Args:
        channel: a connected stream socket.
        deadline: value of `time.monotonic()` after which WireTimeoutError is raised; None waits for ever.

    Raises:
        WireError: the other side hung up, or sent what is no message.
    """
    (length,) = _HEADER.unpack(_read(channel, _HEADER.size, deadline))
    if length > MAX_MESSAGE:
        raise WireError(f"a message of {length} bytes is over the limit of {MAX_MESSAGE}")
    try:
        message = json.loads(_read(channel, length, deadline))
    except (ValueError, RecursionError) as error:
        raise WireError("a message is not valid JSON") from error
    if not isinstance(message, dict):
        raise WireError("a message is not an object")
    return message


def _read(channel: socket.socket, size: int, deadline: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([channel], [], [], left)[0]:
                raise WireTimeoutError("no answer in time")
        try:
            part = channel.recv(size - len(parts))
        except OSError as error:
            raise WireError("the connection is closed") from error
        if not part:
            raise WireError("the connection is closed")
        parts += part
    return bytes(parts)


@dataclass(frozen=True)
class Layout:
    """Where the four float32 tensors of one exchange lie in the shared memory."""

    batch: int
    """Most images of one exchange."""
    shape: tuple[int, int, int]
    """Channels, height and width of an image."""
    n_classes: int
    """Number of logits."""

    @property
    def images(self) -> tuple[int, tuple[int, ...]]:
        """Offset in bytes and shape of the images the scanner sends."""
        return 0, (self.batch, *self.shape)

    @property
    def gradient(self) -> tuple[int, tuple[int, ...]]:
        """Offset in bytes and shape of the gradient the host answers."""
        return self._image_bytes, (self.batch, *self.shape)

    @property
    def logits(self) -> tuple[int, tuple[int, ...]]:
        """Offset in bytes and shape of the logits the host answers."""
        return 2 * self._image_bytes, (self.batch, self.n_classes)

    @property
    def cotangent(self) -> tuple[int, tuple[int, ...]]:
        """Offset in bytes and shape of the cotangent the scanner sends."""
        return 2 * self._image_bytes + self._logit_bytes, (self.batch, self.n_classes)

    @property
    def size(self) -> int:
        """Bytes in all."""
        return 2 * self._image_bytes + 2 * self._logit_bytes

    @property
    def _image_bytes(self) -> int:
        return 4 * self.batch * math.prod(self.shape)

    @property
    def _logit_bytes(self) -> int:
        return 4 * self.batch * self.n_classes
