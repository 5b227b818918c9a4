"""Examines the files of a folder and prints what it found as JSON: `python -P -m smoothscan.safety FOLDER`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import sys
from pathlib import Path

MEMORY_BYTES = 4 * 2**30
"""Address space of this process; files are mapped or read in pieces."""
CPU_SECONDS = 300
"""Processor time of this process."""
OUTPUT_BYTES = 64 * 2**20
"""Largest file that this process writes, its output included."""


def main() -> None:
    """Examine, and print one JSON object."""
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, OUTPUT_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # macOS has no limit on the address space
            resource.setrlimit(limit, (value, value))
    answer = os.dup(1)
    os.dup2(2, 1)  # what scanners print is no part of the answer
    from smoothscan.safety.folder import entries
    from smoothscan.safety.inspection import Inspection

    root = Path(sys.argv[1])
    inspection = Inspection()
    accounts = inspection.accounts(root, entries(root)[0])
    files = {name: dataclasses.asdict(account) for name, account in accounts.items()}
    with os.fdopen(answer, "w", encoding="ascii") as out:
        json.dump({"files": files, "scanners": inspection.used}, out)


if __name__ == "__main__":
    main()
