"""Confines this process, then runs a module in it: `python -m smoothscan.sandbox POLICY MODULE ARGUMENTS`."""

from __future__ import annotations

import runpy
import sys

from smoothscan.sandbox.confine import confine
from smoothscan.sandbox.policy import Policy


def main() -> None:
    """Confine, then become the module."""
    policy, module = Policy.from_json(sys.argv[1]), sys.argv[2]
    confine(policy)
    sys.argv[1:3] = []
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
