"""Opens archives with care: what could be read in two ways, or would unpack to more than it is, is found first."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

MAX_RECORDS = 100_000
"""Members of an archive that are looked at; a weight is one member."""
MAX_RATIO = 100
"""Largest ratio of unpacked to packed size; numbers of a network hardly shrink."""
SMALL_BYTES = 16 * 2**20
"""Unpacked size below which the ratio does not matter."""
ERRORS = (
    *(zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, ValueError, EOFError, zlib.error, struct.error),
    *(IndexError, OverflowError),
)
"""What `zipfile` raises for archives that cannot be read."""
_LOCAL_HEADER = 30
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENCRYPTED = 0x1


def problems(archive: zipfile.ZipFile) -> Iterator[str]:
    """Yield what in an archive's directory no ordinary archive has."""
    members = archive.infolist()
    if len(members) > MAX_RECORDS:
        yield f"holds {len(members)} members, more than the {MAX_RECORDS} that are looked at"
        return
    names: set[str] = set()
    for info in members:
        if problem := _member_problem(info):
            yield f"member {short(info.filename)} {problem}"
        if info.filename.lower() in names:
            yield f"holds member {short(info.filename)} twice"
        names.add(info.filename.lower())
    packed = sum(info.compress_size for info in members)
    unpacked = sum(info.file_size for info in members)
    if unpacked > SMALL_BYTES and unpacked > MAX_RATIO * max(packed, 1):
        yield f"would unpack to {unpacked} bytes, more than {MAX_RATIO} times its size"
    if _overlapping(members):
        yield "holds members that lie one over another"


def torch_problems(file: BinaryIO, archive: zipfile.ZipFile) -> tuple[str, ...]:
    """Return what no archive that torch writes has: a second reading, or anything of `problems`.

    Args:
        file: what the archive was opened from.
        archive: the open archive.
    """
    return (*filter(None, [two_readings(file)]), *problems(archive))


def unreadable(error: Exception) -> str:
    """Say that an archive cannot be read."""
    return f"cannot be read as an archive ({type(error).__name__})"


def two_readings(file: BinaryIO) -> str | None:
    """Say whether torch, which believes what an archive states, and Python, which looks for it, see two directories.

    Args:
        file: an archive that torch would read; it has no comment and nothing before or behind it.
    """
    size = file.seek(0, 2)
    if size < _END.size:
        return "has no directory"
    signature, *_, length, start, comment = _END.unpack(_read_at(file, size - _END.size, _END.size))
    if signature != b"PK\x05\x06" or comment:
        return "does not end with its directory"
    end = size - _END.size
    locator = _read_at(file, end - _LOCATOR.size, _LOCATOR.size) if end >= _LOCATOR.size + _END64.size else b""
    if locator.startswith(b"PK\x06\x07"):
        end -= _LOCATOR.size + _END64.size
        if _LOCATOR.unpack(locator)[2] != end:
            return "states another place for its directory than where it is"
        *_, length, start = _END64.unpack(_read_at(file, end, _END64.size))
    return None if start + length == end else "states another place for its directory than where it is"


def _read_at(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)


def short(name: str) -> str:
    """Return a name that came with the model, quoted and cut."""
    return repr(name if len(name) <= 80 else name[:80] + "...")


def _member_problem(info: zipfile.ZipInfo) -> str | None:
    path = PurePosixPath(info.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in info.filename or ":" in info.filename:
        return "would be unpacked outside of its folder"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a link"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is packed by method {info.compress_type}, which models do not use"
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        return "states two sizes"
    if info.file_size > SMALL_BYTES and info.file_size > MAX_RATIO * max(info.compress_size, 1):
        return f"would unpack to {info.file_size} bytes, more than {MAX_RATIO} times its size"
    return None


def _overlapping(members: list[zipfile.ZipInfo]) -> bool:
    ordered = sorted(members, key=lambda info: info.header_offset)
    ends = (info.header_offset + _LOCAL_HEADER + len(info.filename) + info.compress_size for info in ordered)
    return any(end > after.header_offset for end, after in zip(ends, ordered[1:], strict=False))
