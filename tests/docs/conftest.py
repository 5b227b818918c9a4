"""Where only the wheel is tested there are no documents."""

import sys
from pathlib import Path

HOOKS = Path(__file__).parents[2] / "docs" / "hooks"

collect_ignore_glob = [] if HOOKS.is_dir() else ["test_*.py"]
sys.path.append(str(HOOKS))  # mkdocs loads them by name, each other too
