"""Archives of `torch.export`."""

from __future__ import annotations

import zipfile

from smoothscan._version import __version__
from smoothscan.safety import zips
from smoothscan.safety.interface import MAX_PIECE_BYTES, Opinion, Piece
from smoothscan.safety.pt2 import archive_findings, raw_tensors

_BEGINNINGS = (b"PK\x03\x04", *(bytes([0x80, protocol]) for protocol in range(6)), b"\x7fELF")


class ExportReader:
    """Validates an exported archive: everything in it has to be data."""

    name = "pt2"
    version = __version__

    def examine(self, piece: Piece) -> Opinion | None:
        """Judge a zip that is named .pt2, or has the record by which torch knows such an archive."""
        if piece.kind != "zip":
            return None
        try:
            with piece.open() as file, zipfile.ZipFile(file) as archive:
                if piece.suffix != ".pt2" and not any(n.endswith("archive_format") for n in archive.namelist()):
                    return None
                dangerous = zips.torch_problems(file, archive)
                inside = () if dangerous else _suspicious_members(piece, archive)
        except zips.ERRORS as error:
            return Opinion(dangerous=(zips.unreadable(error),))
        with piece.open() as file:
            return Opinion(dangerous=(*dangerous, *archive_findings(file)), inside=inside)


def _suspicious_members(piece: Piece, archive: zipfile.ZipFile) -> tuple[Piece, ...]:
    """Return members that begin like an archive, a pickle or a program, so that the other scanners see them."""
    records = [info for info in archive.infolist() if not info.is_dir()]
    raw = raw_tensors(archive, records)  # numbers may begin like anything
    members = []
    room = MAX_PIECE_BYTES
    for info in records:
        if info.filename in raw or info.file_size > room:
            continue
        with archive.open(info) as record:
            start = record.read(4)
        if start.startswith(_BEGINNINGS):
            members.append(piece.member(info.filename, archive.read(info)))
            room -= info.file_size
    return tuple(members)
