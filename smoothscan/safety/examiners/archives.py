"""Archives of other kinds: zip, tar and gzip. Their members are examined like files of the model."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
import zlib
from pathlib import PurePosixPath

from smoothscan._version import __version__
from smoothscan.safety import zips
from smoothscan.safety.interface import MAX_PIECE_BYTES, Opinion, Piece

_GZIP = b"\x1f\x8b"
_TAR_ERRORS = (tarfile.TarError, *zips.ERRORS)


class ArchiveReader:
    """Unpacks archives in memory, up to a bound, and hands their members on."""

    name = "archive"
    version = __version__

    def examine(self, piece: Piece) -> Opinion | None:
        """Judge an archive by its directory; 7z, xz, bzip2, zstd and rar are for other scanners."""
        try:
            if piece.kind == "zip":
                return _zip(piece)
            if piece.kind == "tar":
                return _tar(piece)
            if piece.kind == "packed" and piece.head.startswith(_GZIP):
                return _gzip(piece)
        except (*_TAR_ERRORS, gzip.BadGzipFile, zlib.error) as error:
            return Opinion(dangerous=(zips.unreadable(error),))
        return None


def _zip(piece: Piece) -> Opinion | None:
    with piece.open() as file, zipfile.ZipFile(file) as archive:
        members = [info for info in archive.infolist() if not info.is_dir()]
        if piece.suffix == ".pt2" or any(_is_torch(info.filename) for info in members):
            return None  # raw numbers in those can be told only by what refers to them
        if dangerous := tuple(zips.problems(archive)):
            return Opinion(dangerous=dangerous)
        inside, unread, room = [], [], MAX_PIECE_BYTES
        for info in members:
            if info.file_size > room:
                unread.append(info.filename)
            else:
                room -= info.file_size
                inside.append(piece.member(info.filename, archive.read(info)))
        return Opinion(inside=tuple(inside), unread=tuple(unread))


def _is_torch(name: str) -> bool:
    return PurePosixPath(name).name in ("data.pkl", "constants.pkl", "archive_format")


def _tar(piece: Piece) -> Opinion:
    dangerous, inside, unread, room = [], [], [], MAX_PIECE_BYTES
    with piece.open() as file, tarfile.open(fileobj=file, mode="r:") as archive:
        for number, member in enumerate(archive):
            path = PurePosixPath(member.name)
            if number == zips.MAX_RECORDS:
                return Opinion(dangerous=(f"holds more than the {zips.MAX_RECORDS} members that are looked at",))
            if path.is_absolute() or ".." in path.parts:
                dangerous.append(f"member {zips.short(member.name)} would be unpacked outside of its folder")
            elif not (member.isfile() or member.isdir()):
                dangerous.append(f"member {zips.short(member.name)} is no plain file")
            elif member.isfile() and member.size > room:
                unread.append(member.name)
            elif member.isfile() and (content := archive.extractfile(member)):
                room -= member.size
                inside.append(piece.member(member.name, content.read()))
    return Opinion(tuple(dangerous), inside=tuple(inside), unread=tuple(unread))


def _gzip(piece: Piece) -> Opinion:
    with piece.open() as file, gzip.open(file) as unpacked:
        content = unpacked.read(MAX_PIECE_BYTES + 1)
    if len(content) > max(zips.SMALL_BYTES, zips.MAX_RATIO * piece.size):
        return Opinion(dangerous=(f"would unpack to more than {zips.MAX_RATIO} times its size",))
    if len(content) > MAX_PIECE_BYTES:
        return Opinion(unread=(piece.base,))
    return Opinion(inside=(piece.member(PurePosixPath(piece.base).stem, content),))
