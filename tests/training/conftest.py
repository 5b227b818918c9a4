"""Fixtures: images ready to train on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from smoothscan.events import Silent
from smoothscan.sources.images import list_images
from smoothscan.training.images import TrainingImages, load
from smoothscan.training.settings import Settings

from .pictures import draw

Ready = Callable[..., tuple[Settings, TrainingImages]]


@pytest.fixture
def ready(tmp_path: Path) -> Ready:
    """Draws pictures and decodes them."""

    def make(steps: int = 10, count: int = 80, size: tuple[int, int] = (8, 8)) -> tuple[Settings, TrainingImages]:
        settings = Settings(*size, 3, steps, 0, "the files of this test")
        (tmp_path / "hidden").mkdir()
        paths = list_images(draw(tmp_path / "images", count, *size))
        return settings, load(paths, settings, tmp_path / "hidden", Silent())

    return make
