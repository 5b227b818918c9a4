"""Where a sweep writes: a folder for each version, whatever its model is called."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from smoothscan.cache import locked
from smoothscan.errors import OutputError
from smoothscan.files import make_folder

POSTURE, PAGE = "sweep.json", "index.html"
"""What a sweep writes beside the folders of the models."""
WORK = ".work"
"""Folder of what is under way: finished scans that are not recorded yet, and files of the workers."""
_LONGEST = 150


def folder_of(name: str, version: str) -> Path:
    """Return the folder of a version, relative to that of the sweep: `<name>/<version>`.

    What no folder can be called, or what would lead elsewhere, is written in per cent signs; of very long names the end
    is a digest. Names that differ in upper and lower case alone share a folder on file systems that do not tell these
    apart.
    """
    return Path(_part(name)) / _part(version)


def place_of(folder: Path) -> str:
    """Return what tells a folder of results from all others: machine and path."""
    return f"{socket.gethostname()}:{folder.resolve()}"[-500:]


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
