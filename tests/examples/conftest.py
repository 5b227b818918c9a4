from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples.workbench import ROOT, Workbench


@pytest.fixture(autouse=True)
def _needs_the_checkout() -> None:
    if not (ROOT / ".github").is_dir():
        pytest.skip("needs the checkout, not only the wheel")


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path)
