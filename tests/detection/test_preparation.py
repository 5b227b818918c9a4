from pathlib import Path

import pytest
import torch

from smoothscan.classifier.local import LocalClassifier
from smoothscan.config import IN_FULL, ScanConfig
from smoothscan.detection.preparation import prepare
from smoothscan.errors import ConfigError, TooFewImagesError
from tests.planted import CLASSES, PlantedNet, images

CONFIG = ScanConfig(uri="models:/x/1", images=Path("images"))


class Padded(PlantedNet):
    """The planted model, with so many classes that they have to be screened."""

    def forward(self, x):
        return torch.nn.functional.pad(super().forward(x), (0, IN_FULL + 1 - CLASSES), value=-100.0)


def prepared(net, count=200, **changes):
    pixels = images(count)
    return prepare(LocalClassifier(net, pixels), pixels, CONFIG.model_copy(update=changes))


def test_few_classes_are_searched_in_full_on_all_images_that_are_left():
    found = prepared(PlantedNet(False))
    assert not found.screened
    assert len(found.subjects.held_out) == 200 - len(found.subjects.synthesis)
    assert [space.name for space in found.spaces] == list(CONFIG.search().spaces)


def test_many_classes_are_screened_on_images_of_their_own():
    found = prepared(Padded(False))
    assert found.screened
    subjects = found.subjects
    parts = [subjects.synthesis, subjects.screening, subjects.probes, subjects.held_out.tolist()]
    assert sorted(i for part in parts for i in part) == list(range(200))
    assert not prepared(Padded(False), profile="paper").screened


def test_pairs_of_many_classes_are_refused():
    assert prepared(PlantedNet(False), pairs=True).spaces
    with pytest.raises(ConfigError, match=f"up to {IN_FULL} classes; this one has {IN_FULL + 1}"):
        prepared(Padded(False), pairs=True)


def test_too_few_images_are_refused():
    with pytest.raises(TooFewImagesError):
        prepared(PlantedNet(False), count=20)
