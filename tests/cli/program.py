"""The program as users start it: a process with its own streams, exit code and signals."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}


class Run(Protocol):
    def __call__(
        self, *arguments: object, timeout: float = 120, protected: bool = True
    ) -> subprocess.CompletedProcess[str]: ...


_UNPROTECTED = """
import smoothscan.sandbox.protections as machine
none = machine.Protections(None, 0, False, ("this machine has no protections",))
machine.protections = lambda: none
from smoothscan.cli.main import main
main()
"""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "smoothscan", *map(str, arguments)]


def unprotected(*arguments: object) -> list[str]:
    """The same program on a machine that can confine no process."""
    return [sys.executable, "-c", _UNPROTECTED, *map(str, arguments)]


@dataclass(frozen=True)
class Digits:
    """A registered model that reads digits, and pictures of digits."""

    uri: str
    tracking_uri: str
    images: Path

    @property
    def arguments(self) -> list[str]:
        """Arguments of `check`."""
        return [self.uri, "--images", str(self.images), "--tracking-uri", self.tracking_uri]
