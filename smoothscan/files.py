"""Files that are either complete or not there: written beside their place, flushed to the disk, then moved."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from smoothscan.errors import OutputError

_HINTS = {
    errno.ENOSPC: "Free some space, or choose a folder on another disk with --output-dir.",
    errno.EDQUOT: "Your disk quota is used up: free some space, or choose another folder with --output-dir.",
    errno.EACCES: "Change the permissions of the folder, or choose another one with --output-dir.",
    errno.EPERM: "Change the permissions of the folder, or choose another one with --output-dir.",
    errno.EROFS: "The file system is read-only: choose another folder with --output-dir.",
    errno.ENOTDIR: "A part of this path is a file: choose another folder with --output-dir.",
    errno.EEXIST: "A file of this name is in the way: choose another folder with --output-dir.",
    errno.EISDIR: "A folder of this name is in the way: choose another folder with --output-dir.",
}


def make_folder(folder: Path) -> Path:
    """Make `folder` and its parents, and check that files can be written to it.

    Call it before a scan starts, so that nobody waits for a result that can not be stored.

    Args:
        folder: the folder.

    Returns:
        The folder.

    Raises:
        OutputError: it can not be made or not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Only a write tells: permission bits say nothing about read-only mounts, and root passes every one of them.
        probe = _beside(folder / "probe")
        with probe.open("xb"):
            pass
        probe.unlink()
    except OSError as error:
        raise _output_error(folder, error) from error
    return folder


def write_atomically(path: Path, data: bytes) -> Path:
    """Write `data` to `path`: afterwards the file is complete, or it is what it was before.

    Args:
        path: the file; its folder must exist.
        data: its whole content.

    Returns:
        The path.

    Raises:
        OutputError: the disk is full, the folder can not be written to, ...
    """
    try:
        write_whole(path, data, durable=True)
    except OSError as error:
        raise _output_error(path, error) from error
    return path


def write_whole(path: Path, data: bytes, *, durable: bool) -> None:
    """Write `data` to `path` like `write_atomically`, for callers with an error of their own.

    Args:
        path: the file; its folder must exist.
        data: its whole content.
        durable: whether to wait until it is on the disk, so that it outlives the machine and not only the process.

    Raises:
        OSError: the disk is full, the folder can not be written to, ...
    """
    draft = _beside(path)
    try:
        with draft.open("xb") as stream:
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        draft.replace(path)
    finally:
        # After a success the draft is gone; after an error or Ctrl-C it must go.
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def remove_drafts(folder: Path) -> None:
    """Remove what processes that were killed while they wrote left in a folder; nobody may be writing there now."""
    for draft in folder.glob(".*.????????.tmp"):
        draft.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file that an earlier scan wrote.

    Args:
        path: the file; it may be gone already.

    Raises:
        OutputError: it can not be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _output_error(path, error) from error


def _beside(path: Path) -> Path:
    """Return an unused hidden name in the same folder, so that moving it into place never crosses file systems."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def _output_error(path: Path, error: OSError) -> OutputError:
    reason = error.strerror or type(error).__name__
    hint = _HINTS.get(error.errno or 0, "Choose another folder with --output-dir.")
    return OutputError(f"Cannot write {path}: {reason}.", hint)
