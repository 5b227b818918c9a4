import numpy as np
import pytest
import torch

from smoothscan.classifier.local import LocalClassifier
from smoothscan.detection.probe import SIGMA_RATIO, SIGMAS, check_enough, noise_level, probe, synthesis_images
from smoothscan.detection.subjects import Subjects
from smoothscan.errors import TooFewImagesError
from smoothscan.smoothing.noise import KeyedNoise
from smoothscan.verdict.evidence import NoiseCounts
from tests.planted import CLASSES, CONTRAST, SHAPE, PlantedNet, images, templates


def chosen(pixels, count=1, backdoored=False):
    classifier = LocalClassifier(PlantedNet(backdoored), pixels)
    clean = classifier.predict(pixels)
    positions = synthesis_images(classifier, pixels, clean, KeyedNoise(0, SHAPE), count)
    return Subjects(pixels, clean, positions, count)


def test_synthesis_images_are_the_first_stable_ones_of_two_classes():
    subjects = chosen(images())
    assert subjects.synthesis == (0, 1)
    assert subjects.sources(int(subjects.clean[0])) == [1]
    assert subjects.sources(int(subjects.clean[1])) == [0]
    assert len(subjects.held_out) == len(images()) - 2


@pytest.mark.parametrize("count", [2, 3, 10])
def test_every_class_gets_as_many_synthesis_images_as_asked_none_of_its_own(count):
    pixels = torch.cat([images(1).expand(15, -1, -1, -1), images(60)])  # the first fifteen are of one class
    subjects = chosen(pixels, count)
    for t in range(CLASSES):
        assert len(subjects.sources(t)) == count
        assert all(int(subjects.clean[i]) != t for i in subjects.sources(t))
    assert len(subjects.synthesis) <= 2 * count


def test_an_image_on_the_border_of_two_classes_is_passed_over():
    pixels = images()
    pixels[0] = 0.5 + CONTRAST * templates()[:2].mean(0)
    assert 0 not in chosen(pixels).synthesis


def test_too_few_images_are_refused():
    with pytest.raises(TooFewImagesError, match="21 usable images"):
        check_enough(torch.arange(21) % 3, 3, 1)
    with pytest.raises(TooFewImagesError, match="39 usable images"):
        check_enough(torch.arange(39) % 3, 3, 10)


def test_images_of_a_single_class_are_refused():
    with pytest.raises(TooFewImagesError, match="class 2"):
        check_enough(torch.full((50,), 2), 3, 1)


def counts(kept, moved=None):
    moved = np.zeros((len(SIGMAS), CLASSES), int) if moved is None else moved
    return NoiseCounts(np.array(SIGMAS), moved, np.full(CLASSES, 100), np.array(kept), np.zeros(len(SIGMAS)))


def test_the_search_uses_a_multiple_of_the_noise_that_changes_half_of_the_predictions():
    steps = [1.0 if sigma < 0.12 else 0.0 for sigma in SIGMAS]
    assert 0.08 * SIGMA_RATIO < noise_level(counts(steps)) < 0.12 * SIGMA_RATIO
    assert noise_level(counts([1.0] * len(SIGMAS))) == pytest.approx(SIGMA_RATIO * SIGMAS[-1])


def test_where_noise_fires_a_trigger_the_search_stays_below_it():
    moved = np.zeros((len(SIGMAS), CLASSES), int)
    moved[3:, 5] = 90
    level = noise_level(counts([1.0] * 3 + [0.1] * (len(SIGMAS) - 3), moved))
    assert SIGMAS[2] / 2 < level < SIGMAS[3] / 2


class Silenced(torch.nn.Module):
    """Answers the same for every class wherever neighbouring pixels differ by noise."""

    def __init__(self):
        super().__init__()
        self.net = PlantedNet(backdoored=True)

    def forward(self, x):
        rough = (x[:, :, 1:] - x[:, :, :-1]).abs().mean((1, 2, 3)) > 0.03
        return self.net(x) * ~rough[:, None]


def test_an_answer_that_is_withheld_is_not_counted_as_class_zero():
    pixels = images()
    classifier = LocalClassifier(Silenced(), pixels)
    clean = classifier.predict(pixels)
    seen = probe(classifier, pixels, clean, KeyedNoise(0, SHAPE))
    assert seen.withheld[-1] == 1.0
    assert seen.moved[-1].sum() == 0
    assert seen.withheld[0] == 0.0
