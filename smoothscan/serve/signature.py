"""Whether a delivery comes from the registry: the headers that MLflow sends, its clock, and its signature.

MLflow signs `<delivery id>.<timestamp>.<body>` with HMAC-SHA256. When it repeats a delivery that was not answered,
all three headers are the same.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from smoothscan.serve.interface import Refused

SIGNATURE = "x-mlflow-signature"
TIMESTAMP = "x-mlflow-timestamp"
DELIVERY_ID = "x-mlflow-delivery-id"

# Without a dot: where the id ends and the timestamp begins must not be a matter of opinion.
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SECONDS = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True)
class Stamp:
    """What the headers of one delivery say."""

    delivery_id: str
    """Unique for each delivery; the same when MLflow repeats it."""
    timestamp: str
    """When it was signed: seconds since 1970, UTC, as written."""
    signature: str
    """`v1,` and the signature in base64."""


def read_stamp(header: Callable[[str], Sequence[str]], *, now: float, tolerance: float) -> Stamp:
    """Read the headers, and check the clock.

    Args:
        header: returns every value of a header.
        now: seconds since 1970, UTC.
        tolerance: by how many seconds the timestamp may lie in the past or in the future.

    Raises:
        Refused: a header is missing or wrong, or the delivery is too old or from the future.
    """
    signatures, ids, timestamps = header(SIGNATURE), header(DELIVERY_ID), header(TIMESTAMP)
    if len(signatures) != 1:
        raise Refused(401, "forged", "signature")
    if len(ids) != 1 or len(timestamps) != 1 or not _ID.fullmatch(ids[0]) or not _SECONDS.fullmatch(timestamps[0]):
        raise Refused(400, "malformed", "headers")
    if abs(now - int(timestamps[0])) > tolerance:
        raise Refused(400, "late", "timestamp")
    return Stamp(ids[0], timestamps[0], signatures[0])


def sign(secret: bytes, delivery_id: str, timestamp: str, body: bytes) -> str:
    """Return the signature that MLflow sends with a delivery."""
    content = f"{delivery_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()


def verify(stamp: Stamp, body: bytes, secret: bytes) -> None:
    """Compare the signature with the right one, in a time that tells nothing about it.

    Raises:
        Refused: it is another one.
    """
    right = sign(secret, stamp.delivery_id, stamp.timestamp, body)
    if not hmac.compare_digest(right.encode(), stamp.signature.encode("utf-8", "surrogateescape")):
        raise Refused(401, "forged", "signature")
