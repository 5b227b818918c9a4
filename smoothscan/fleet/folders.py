"""Where a sweep writes: a folder for each version, whatever its model is called."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from smoothscan.cache import locked
from smoothscan.errors import OutputError
from smoothscan.files import make_folder, write_atomically

POSTURE, PAGE = "sweep.json", "index.html"
"""What a sweep writes beside the folders of the models."""
WORK = ".work"
"""Folder of what is under way: finished scans that are not recorded yet, and files of the workers."""
_PLACE, _SWEEP = "place", "sweep"
_ID = re.compile("[0-9a-f]{32}")
_LONGEST = 150


def folder_of(name: str, version: str) -> Path:
    """Return the folder of a version, relative to that of the sweep: `<name>/<version>`.

    What no folder can be called, or what would lead elsewhere, is written in per cent signs; of very long names the end
    is a digest. Names that differ in upper and lower case alone share a folder on file systems that do not tell these
    apart.
    """
    return Path(_part(name)) / _part(version)


def place_of(folder: Path) -> str:
    """Return what tells a folder of results from all others, whatever the machine is called that has it now."""
    return _kept_id(folder, _PLACE)


def sweep_id(folder: Path) -> str:
    """Return the id of the sweep that writes to a folder; one that was killed, and is run again, has the same."""
    return _kept_id(folder, _SWEEP)


def sweep_ended(folder: Path) -> None:
    """Let the next sweep that writes to a folder be another one."""
    (folder / WORK / _SWEEP).unlink(missing_ok=True)


def _kept_id(folder: Path, name: str) -> str:
    """Return an id that is made once, and kept in a file of this name. The folder has to be the caller's own."""
    path = make_folder(folder / WORK) / name
    try:
        kept = path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        kept = ""
    if not _ID.fullmatch(kept):
        kept = uuid.uuid4().hex
        write_atomically(path, kept.encode())
    return kept


def _part(text: str) -> str:
    data = text.encode("utf-8", "surrogatepass")
    plain = quote(data, safe=" ()+,@=")
    if plain in (POSTURE, PAGE) or plain.startswith("."):
        plain = f"%{ord(plain[0]):02X}{plain[1:]}"
    if len(plain) > _LONGEST:  # the digest is long enough that nobody finds two names with the same
        plain = f"{plain[:_LONGEST]}-{hashlib.sha256(data).hexdigest()[:32]}"
    return plain


@contextmanager
def sweep_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder that this process has for itself.

    Raises:
        OutputError: it cannot be written to, or another sweep is at it.
    """
    make_folder(folder)
    lock = locked(folder / WORK)
    if lock is None:
        raise OutputError(
            f"Another sweep is writing to {folder}.", "Wait for it, or pass another --output-dir for this one."
        )
    try:
        yield folder
    finally:
        lock.close()
