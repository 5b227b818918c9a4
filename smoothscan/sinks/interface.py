"""What every sink can do: turn one scan into files."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from smoothscan.exhibits import Exhibits
from smoothscan.result import ScanResult


class Sink(Protocol):
    """Writes one scan in one format."""

    def write(self, result: ScanResult, exhibits: Exhibits, folder: Path) -> tuple[Path, ...]:
        """Write the scan below `folder`, which is made if it does not exist.

        Args:
            result: the scan; any status, so a scan that failed is written too.
            exhibits: its pictures; may be empty.
            folder: where to write.

        Returns:
            The files that were written.

        Raises:
            OutputError: a file could not be written; files of an earlier scan are then as they were.
        """
