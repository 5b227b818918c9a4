"""The outcome on a terminal, wide or narrow."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from smoothscan.cli import summary
from smoothscan.cli.outcome import INTERVAL, rows
from smoothscan.config import ScanConfig
from tests.sinks.samples import SAMPLES

CONFIG = ScanConfig(uri="models:/x/1", images=Path("images"), output_dir=Path("out"))


def shown(name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lines of a sample's outcome on a terminal of so many columns."""
    stream = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys.stdout, "isatty", lambda: True)
        patch.setattr(summary, "Console", lambda **options: Console(file=stream, width=width, **options))
        summary.show_result(SAMPLES[name]().result, CONFIG)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 65, 70, 80, 120])
@pytest.mark.parametrize("name", ["backdoored", "clean", "patch", "warp"])
def test_each_class_is_one_line_with_all_its_numbers(name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(name, width, monkeypatch)
    assert max(map(len, lines)) <= width
    heads = next(line for line in lines if line.lstrip().startswith("class "))
    whole = INTERVAL in heads
    assert whole or width < 80
    assert not whole or width > 60
    classes = rows(SAMPLES[name]().result.classes)
    assert len(classes) > 4
    for row in classes:
        cells = [cell for position, cell in enumerate(row.cells) if whole or position != 3]
        assert any(line.split() == " ".join(cells).split() for line in lines), (row, lines)
