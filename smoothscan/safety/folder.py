"""Lists what lies in a model's folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MAX_FILES = 100_000
"""Files of a model that are looked at."""


def entries(root: Path) -> tuple[list[str], list[str]]:
    """Return the plain files of a folder and everything else in it that is no folder, by path inside, sorted.

    Links are not followed. Files beyond `MAX_FILES` and folders that cannot be read count as something else.
    """
    files: list[str] = []
    others: list[str] = []

    def unreadable(error: OSError) -> None:
        others.append(os.path.relpath(error.filename, root))

    for folder, folders, names in os.walk(root, onerror=unreadable):
        for name in (*names, *folders):
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                continue
            plain = stat.S_ISREG(mode) and len(files) < MAX_FILES
            (files if plain else others).append(path.relative_to(root).as_posix())
    return sorted(files), sorted(others)
