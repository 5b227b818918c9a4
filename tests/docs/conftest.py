"""The site, built once; where only the wheel is tested there are no documents."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOOKS = ROOT / "docs" / "hooks"

collect_ignore_glob = [] if HOOKS.is_dir() else ["test_*.py"]
sys.path.append(str(HOOKS))  # mkdocs loads them by name, each other too


@dataclass(frozen=True)
class Site:
    """The site as it is published."""

    folder: Path
    """Where it was built."""
    generated: frozenset[str]
    """Pages that no file holds, by their place in docs/."""

    def page(self, name: str) -> Path:
        """Return the file of a page."""
        return self.folder / name / "index.html"


def build(into: Path, where: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Build a site as `make docs` does."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(into)],
        cwd=where,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site of this checkout."""
    from site_hooks import BORROWED, GENERATED

    folder = tmp_path_factory.mktemp("site") / "site"
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return Site(folder, frozenset({*GENERATED, *BORROWED}))
