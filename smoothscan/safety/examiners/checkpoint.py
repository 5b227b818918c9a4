"""Archives of `torch.save` and of TorchScript: a pickle, raw numbers beside it, and for TorchScript its code."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath

from smoothscan._version import __version__
from smoothscan.safety import zips
from smoothscan.safety.examiners.pickled import storage_bytes
from smoothscan.safety.interface import MAX_PIECE_BYTES, Opinion, Piece
from smoothscan.safety.machine import follow
from smoothscan.safety.reading import Storage

_PICKLES = {"data.pkl": "data", "constants.pkl": "constants", "traced_inputs.pkl": "traced_inputs"}
"""Pickles whose numbers lie in a folder beside them."""
_NOTES = frozenset({"version", "byteorder", ".format_version", ".storage_alignment", "serialization_id"})
_NOTE = re.compile(rb"[A-Za-z0-9._-]{0,64}\n?")
_FILE_OPERATORS = re.compile(
    rb"(?<![.\w])(?:(?:torch|ops\.\w+)\.(?:save|from_file|load)\(|ops\.(?!aten\b|prim\b|torchvision\b)\w+\.)"
)
"""Operators by which TorchScript writes or maps files, and those that a library of the author's would bring. Names of
classes, such as `__torch__.torchvision.ops.misc.Conv2dNormActivation`, are none."""


class CheckpointReader:
    """Reads the records of an archive that torch writes, its raw numbers apart."""

    name = "checkpoint"
    version = __version__

    def examine(self, piece: Piece) -> Opinion | None:
        """Judge a zip that holds a data.pkl or a constants.pkl."""
        if piece.kind != "zip":
            return None
        try:
            with piece.open() as file, zipfile.ZipFile(file) as archive:
                records = {info.filename: info for info in archive.infolist() if not info.is_dir()}
                if not any(PurePosixPath(name).name in _PICKLES for name in records):
                    return None
                if dangerous := zips.torch_problems(file, archive):
                    return Opinion(dangerous=dangerous)
                return _judged(piece, archive, records)
        except zips.ERRORS as error:
            return Opinion(dangerous=(zips.unreadable(error),))


def _judged(piece: Piece, archive: zipfile.ZipFile, records: dict[str, zipfile.ZipInfo]) -> Opinion:
    dangerous: list[str] = []
    code: list[str] = []
    inside: list[Piece] = []
    unread: list[str] = []
    room = MAX_PIECE_BYTES
    storages = dict(_storages(archive, records))
    dangerous += _storage_problems(storages, records)
    scripted = any(PurePosixPath(name).name == "constants.pkl" for name in records)
    if scripted:
        code.append("is a TorchScript archive: loading it runs code that is compiled from it")
    for name, info in records.items():
        if name in storages:
            continue
        if info.file_size > room:
            unread.append(name)
            continue
        room -= info.file_size
        content = archive.read(info)
        if PurePosixPath(name).name in _NOTES:
            if not _NOTE.fullmatch(content):
                dangerous.append(f"member {zips.short(name)} is not the short text that it should be")
        elif scripted and "/code/" in name and name.endswith(".py"):
            if found := _FILE_OPERATORS.search(content):
                dangerous.append(f"its code {zips.short(name)} calls {found[0].decode(errors='replace')!r}")
        else:
            inside.append(piece.member(name, content))
    return Opinion(tuple(dangerous), tuple(code), tuple(inside), tuple(unread))


def _storages(archive: zipfile.ZipFile, records: dict[str, zipfile.ZipInfo]) -> Iterator[tuple[str, Storage]]:
    """Yield the raw numbers that the archive's pickles want, by the record that holds them."""
    for name, info in records.items():
        path = PurePosixPath(name)
        if path.name in _PICKLES and info.file_size <= MAX_PIECE_BYTES:
            with archive.open(info) as file:
                for key, storage in follow(file).storages.items():  # type: ignore[arg-type]
                    yield f"{path.parent}/{_PICKLES[path.name]}/{key}", storage


def _storage_problems(storages: dict[str, Storage], records: dict[str, zipfile.ZipInfo]) -> Iterator[str]:
    for name, storage in storages.items():
        held = records[name].file_size if name in records else 0
        if held == 0 and PurePosixPath(name).parent.name == "traced_inputs":
            continue  # a trace notes what its inputs were like, without their numbers
        if held < storage_bytes(storage):
            yield f"declares {storage_bytes(storage)} bytes of numbers in {zips.short(name)}, which holds {held}"
