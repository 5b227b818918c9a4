"""Every block of docs/python.md runs by itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
TITLES = [
    "a module",
    "a folder",
    "a loader",
    "a result",
    "a gate",
    "progress",
    "several models",
    "a notebook",
]


@pytest.mark.parametrize("block", BLOCKS, ids=TITLES)
def test_a_block_of_the_page(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block, str(PAGE), "exec"), {"__name__": "__main__"})
    said = capsys.readouterr().out
    assert "failed" not in said, said
    assert "not examined" not in said, said
