"""Pickles: plain ones, and the legacy files of `torch.save`, which are five pickles and raw numbers behind them."""

from __future__ import annotations

import struct
from typing import BinaryIO

from smoothscan._version import __version__
from smoothscan.safety.formats import PICKLE_SUFFIXES
from smoothscan.safety.interface import Opinion, Piece
from smoothscan.safety.machine import Reading, Storage, follow
from smoothscan.safety.names import shown

_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PICKLES = 5
_ITEM_BYTES = {
    **dict.fromkeys(("ComplexDouble",), 16),
    **dict.fromkeys(("Double", "Long", "ComplexFloat"), 8),
    **dict.fromkeys(("Float", "Int", "QInt32"), 4),
    **dict.fromkeys(("Half", "BFloat16", "Short"), 2),
}
_KNOWN_PACKAGES = ("torch.", "collections.", "numpy.")


class PickleReader:
    """Follows pickles with stand-ins for what they would make."""

    name = "pickle"
    version = __version__

    def examine(self, piece: Piece) -> Opinion | None:
        """Judge what begins like a pickle, or is named like one and is nothing else."""
        named = piece.suffix in PICKLE_SUFFIXES
        if piece.kind != "pickle" and piece.kind not in ("text", "other", "empty"):
            return None
        if piece.kind != "pickle" and not named:
            return _disguised(piece)
        with piece.open() as file:
            readings = [follow(file)]
            behind = _behind(file, readings)
        dangerous = [f"its pickle {finding}" for reading in readings for finding in reading.dangerous]
        nested = (content for reading in readings for content in reading.nested)
        return Opinion(
            dangerous=(*dangerous, *behind),
            code=words(readings),
            inside=tuple(piece.member(f"string {number}", content) for number, content in enumerate(nested)),
        )


def _disguised(piece: Piece) -> Opinion | None:
    """Judge what is no pickle by name or beginning; the oldest pickles begin like any text."""
    with piece.open() as file:
        reading = follow(file)
    if not any("refers" in finding for finding in reading.dangerous):
        return None
    return Opinion(tuple(f"can be read as a pickle that {finding}" for finding in reading.dangerous), understood=False)


def words(readings: list[Reading]) -> tuple[str, ...]:
    """Return how loading pickles runs code; empty if they hold tensors in plain containers alone."""
    if not any(reading.runs_code for reading in readings):
        return ()
    names = {name for reading in readings for name in reading.names if not name.startswith(_KNOWN_PACKAGES)}
    more = f"; it refers to {shown(names)}" if names else ""
    return (f"is a pickle: loading it runs whatever code its author put in{more}",)


def storage_bytes(storage: Storage) -> int:
    """Return the bytes that a storage's numbers take."""
    kind = storage.type.rsplit(".", 1)[-1].removesuffix("Storage")
    return storage.numel * _ITEM_BYTES.get(kind, 1)


def _behind(file: BinaryIO, readings: list[Reading]) -> list[str]:
    """Follow the pickles behind the first, and judge what stands behind the last."""
    if readings[0].result == _TORCH_MAGIC:
        readings += [follow(file) for _ in range(_LEGACY_PICKLES - 1)]
        return _numbers_behind(file, readings)
    here = file.tell()
    if readings[0].dangerous or not file.read(1):
        return []
    file.seek(here)
    second = follow(file)  # so that its names are told; whether it can be read does not matter
    readings[0].names |= second.names
    named = [f"a pickle behind its pickle {finding}" for finding in second.dangerous if "refers" in finding]
    return [*named, "has bytes behind the end of its pickle"]


def _numbers_behind(file: BinaryIO, readings: list[Reading]) -> list[str]:
    storages = {key: storage for reading in readings for key, storage in reading.storages.items()}
    if any(reading.dangerous for reading in readings):
        return []
    end = file.seek(0, 2)
    position = end - sum(8 + storage_bytes(storage) for storage in storages.values())
    for key in sorted(storages):
        file.seek(max(position, 0))
        if file.read(8) != struct.pack("<q", storages[key].numel):
            return ["declares other numbers than those that stand behind its pickles"]
        position += 8 + storage_bytes(storages[key])
    return []
