"""Keeps a process from filling the disk, where its folder for temporary files is not a bounded piece of memory."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

MOST_BYTES = 2**29
"""What a process may keep in its folder; each file alone is limited by the kernel."""
_EVERY_SECONDS = 0.5
_MOST_ENTRIES = 10_000


class DiskWatch:
    """Kills a process whose folder grows beyond its bounds.

    Args:
        process: the process.
        folder: where it may write.
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process, self._folder = process, folder
        self._over = threading.Event()
        self.exceeded = False
        self._thread = threading.Thread(target=self._watch, name="disk watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_EVERY_SECONDS) and self._process.poll() is None:
            if _is_over(self._folder):
                self.exceeded = True
                self._process.kill()
                return


def _is_over(folder: Path) -> bool:
    total, entries, open_folders = 0, 0, [folder]
    while open_folders:
        try:
            with os.scandir(open_folders.pop()) as found:
                for entry in found:
                    entries += 1
                    if entry.is_dir(follow_symlinks=False):
                        open_folders.append(Path(entry.path))
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if total > MOST_BYTES or entries > _MOST_ENTRIES:
                        return True
        except OSError:  # it vanished while it was looked at
            continue
    return False
