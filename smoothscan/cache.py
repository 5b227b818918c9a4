"""What scans leave behind: the result of the same scan done before, and what a scan that was stopped has found.

One folder for each scan, by the digests of the model, of the configuration and images, and of this program. It holds
`scan.safetensors` when the scan was completed, else `rounds/`, from which it goes on. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import BinaryIO

import platformdirs

from smoothscan.config import ScanConfig
from smoothscan.exhibits import Exhibits
from smoothscan.files import write_whole
from smoothscan.packed import PackedError, pack, unpack
from smoothscan.result import ScanResult
from smoothscan.sinks.mlflow_registry import VALID_FOR

MOST_BYTES = 4 * 2**30
"""Size of all folders together from which on the oldest go."""
_RESULT, _ROUNDS, _LOCK = "scan.safetensors", "rounds", "lock"


@dataclass(frozen=True)
class Entry:
    """What is kept of one scan."""

    folder: Path
    """Its folder."""
    lasting: bool
    """Whether the folder is there for the next scan; else it goes with this one."""

    @property
    def rounds(self) -> Path:
        """Folder of what the scan has found so far."""
        return self.folder / _ROUNDS

    def recall(self) -> tuple[ScanResult, Exhibits] | None:
        """Return the result of the same scan done before; None if there is none, or none that is whole and new."""
        path = self.folder / _RESULT
        try:
            if time.time() - path.stat().st_mtime > VALID_FOR.total_seconds():
                return None
            return unpack(path)
        except (OSError, PackedError):
            return None

    def keep(self, result: ScanResult, exhibits: Exhibits) -> None:
        """Keep a completed scan instead of the way to it; a disk that is full costs the next scan time, no more."""
        with suppress(OSError):
            write_whole(self.folder / _RESULT, pack(result, exhibits), durable=False)
            shutil.rmtree(self.rounds, ignore_errors=True)


def default_folder() -> Path:
    """Return the folder of all scans where the user names none: `smoothscan` in the user's folder of caches."""
    return platformdirs.user_cache_path("smoothscan", appauthor=False) / "scans"


def folder_of(config: ScanConfig) -> Path | None:
    """Return the folder of all scans for a configuration; None if nothing is to be kept."""
    return (config.cache_dir or default_folder()) if config.cache else None


@contextmanager
def entry(root: Path | None, workspace: Path, *digests: str) -> Iterator[Entry]:
    """Yield what is kept of a scan, for this process alone.

    Where nothing is to be kept, where the folder cannot be written to, and while another process does the same scan, it
    is an empty folder of the workspace.

    Args:
        root: folder of all scans; None to keep nothing.
        workspace: folder that is removed after the scan.
        digests: what tells the scan from others; the program itself is added.
    """
    folder = None if root is None else _folder(root, *digests)
    lock = None if folder is None else locked(folder)
    try:
        if folder is None or lock is None:
            (workspace / "scan").mkdir(exist_ok=True)
            yield Entry(workspace / "scan", lasting=False)
        else:
            _make_room(folder)
            yield Entry(folder, lasting=True)
    finally:
        if lock is not None:
            lock.close()


def known(root: Path | None, *digests: str) -> Entry | None:
    """Return what is kept of a scan, to look at only; None if nothing is. No folder is made, and none locked."""
    folder = None if root is None else _folder(root, *digests)
    return Entry(folder, lasting=True) if folder is not None and folder.is_dir() else None


def _folder(root: Path, *digests: str) -> Path:
    return root / hashlib.sha256("\n".join((*digests, _program())).encode()).hexdigest()


def locked(folder: Path) -> BinaryIO | None:
    """Make a folder and lock it; None if that cannot be done. The lock goes with the process, however that ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (folder / _LOCK).open("wb")
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def _make_room(present: Path) -> None:
    """Remove the oldest folders beside this one beyond the most that is kept; those in use are locked, and stay."""
    ages: list[tuple[float, int, Path]] = []
    for folder in present.parent.iterdir():
        with suppress(OSError):
            found = [path.stat() for path in folder.rglob("*") if path.is_file()]
            ages.append((max((f.st_mtime for f in found), default=0.0), sum(f.st_size for f in found), folder))
    left = sum(size for _, size, _ in ages)
    for _, size, folder in sorted(ages):
        if left <= MOST_BYTES:
            break
        if folder != present and (lock := locked(folder)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            lock.close()
            left -= size


@cache
def _program() -> str:
    """Return a digest of the program: what another version of it found is not what this one would find."""
    sha = hashlib.sha256(f"torch {metadata.version('torch')}".encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        sha.update(path.read_bytes())
    return sha.hexdigest()
