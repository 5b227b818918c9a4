"""Examines the files of a folder and prints what it found as JSON: `python -P -m smoothscan.safety FOLDER`."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Examine, and print one JSON object."""
    answer = os.dup(1)
    os.dup2(2, 1)  # what scanners print is no part of the answer
    from smoothscan.safety.architecture import architecture
    from smoothscan.safety.folder import entries
    from smoothscan.safety.inspection import Inspection

    root = Path(sys.argv[1])
    inspection = Inspection()
    accounts = inspection.accounts(root, entries(root)[0])
    files = {name: dataclasses.asdict(account) for name, account in accounts.items()}
    steps, examined = architecture(root)
    found = {
        "files": files,
        "scanners": inspection.used,
        "architecture": [step.model_dump() for step in steps],
        "architecture_examined": examined,
    }
    with os.fdopen(answer, "w", encoding="ascii") as out:
        json.dump(found, out)


if __name__ == "__main__":
    main()
