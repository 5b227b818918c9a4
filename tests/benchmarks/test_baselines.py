import math

import numpy as np
import pytest
import torch
from baselines import all_baselines
from baselines.mmbd import MaximumMargin, p_value
from baselines.neural_cleanse import (
    BATCH,
    INITIAL_LAMBDA,
    PATIENCE,
    NeuralCleanse,
    _Lambda,
    anomaly_indices,
    mask_norms,
)
from baselines.smoothinv import PlainInversion, SmoothInv
from scipy.stats import gamma
from torch import nn
from torch.nn import functional as F

from smoothscan.classifier.local import LocalClassifier
from tests.planted import CLASSES, TARGET, PlantedNet, images

CLEANSE, MARGIN = NeuralCleanse(steps=60), MaximumMargin(starts=2, steps=40)
SMOOTH, PLAIN = SmoothInv(steps=6, n_noise=4), PlainInversion(steps=10)
ALL = pytest.mark.parametrize("baseline", [CLEANSE, MARGIN, SMOOTH, PLAIN], ids=lambda b: b.name)


class Slope(PlantedNet):
    """The planted trigger without the flat part of its ramp: the gradient shows it from everywhere.

    On the flat part only noise finds it, which is what smoothing is for.
    """

    def forward(self, x):
        centred = (x - 0.5).flatten(1)
        return F.linear(centred, self.head) + F.linear(centred, self.trigger) * self.gain


class Steady(nn.Module):
    """Answers the same class whatever it sees, by the same margin."""

    def forward(self, x):
        return 5 * F.one_hot(torch.zeros(len(x), dtype=torch.long), CLASSES) + 0 * x.flatten(1)[:, :CLASSES]


def scan(baseline, net, seed=0):
    pixels = images()
    classifier = LocalClassifier(net, pixels)
    return baseline.scan(classifier, pixels, classifier.predict(pixels), seed)


def generator():
    return torch.Generator().manual_seed(0)


@ALL
@pytest.mark.parametrize("seed", [0, 1])
def test_the_planted_target_is_named(baseline, seed):
    answer = scan(baseline, Slope(backdoored=True), seed)
    assert (answer.verdict, answer.targets) == (True, (TARGET,))
    assert answer.score > scan(baseline, Slope(backdoored=False), seed).score


@ALL
def test_a_scan_repeats_exactly(baseline):
    assert scan(baseline, PlantedNet(backdoored=True)) == scan(baseline, PlantedNet(backdoored=True))


@pytest.mark.parametrize("baseline", [CLEANSE, MARGIN], ids=lambda b: b.name)
def test_another_seed_starts_elsewhere(baseline):
    first, second = (scan(baseline, PlantedNet(backdoored=False), seed) for seed in (0, 1))
    assert first.score != second.score


def test_only_smoothing_sees_a_trigger_whose_gradient_vanishes_on_clean_images():
    net = PlantedNet(backdoored=True)
    assert scan(SMOOTH, net).targets == (TARGET,)
    assert scan(PLAIN, net).targets == ()
    assert scan(SMOOTH, PlantedNet(backdoored=False)).targets == ()


@pytest.mark.parametrize(
    ("baseline", "gradients"),
    [
        (CLEANSE, 60 * BATCH * CLASSES),
        (MARGIN, 2 * 40 * CLASSES),
        (SMOOTH, 3 * 2 * 6 * 4 * CLASSES),
        (PLAIN, 2 * 10 * CLASSES),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_passes_are_those_of_the_scan_alone(baseline, gradients):
    pixels = images()
    classifier = LocalClassifier(PlantedNet(backdoored=True), pixels)
    clean = classifier.predict(pixels)
    before = classifier.meter.passes
    passes = baseline.scan(classifier, pixels, clean, 0).passes
    assert passes == pytest.approx(classifier.meter.passes - before)
    if baseline in (CLEANSE, MARGIN):
        assert passes == gradients
    else:
        settings = gradients // {SMOOTH: 6 * 4, PLAIN: 10}[baseline]
        forwards = len(pixels) / 3 * np.array([settings, 2 * settings + 20])  # transfer of each; control and synthesis
        assert gradients + 0.8 * forwards[0] <= passes <= gradients + forwards[1]


def test_names_state_the_effort_and_are_unique():
    names = [baseline.name for baseline in all_baselines()]
    assert len(set(names)) == len(names)
    assert [name.rsplit("-", 1)[1] for name in names] == ["400x1", "10x300", "50x10", "200x32", "400x40"]


@pytest.mark.parametrize("baseline", [CLEANSE, MARGIN], ids=lambda b: b.name)
def test_a_model_that_always_answers_the_same_is_judged_without_a_crash(baseline):
    assert math.isfinite(scan(baseline, Steady()).score)


def test_the_anomaly_index_counts_deviations_below_the_median():
    index = anomaly_indices(np.array([10.0, 11.0, 12.0, 13.0, 2.0]))
    assert index == pytest.approx(np.array([1, 0, -1, -2, 9]) / 1.4826)


def test_lambda_waits_for_success_then_grows_and_shrinks():
    schedule = _Lambda(2)
    yes_no, no_yes = torch.tensor([True, False]), torch.tensor([False, True])
    for _ in range(PATIENCE - 1):
        schedule.update(yes_no)
    assert schedule.value.tolist() == [0, 0]
    schedule.update(yes_no)
    assert schedule.value.tolist() == pytest.approx([INITIAL_LAMBDA, 0])
    for _ in range(PATIENCE):
        schedule.update(yes_no)
    assert schedule.value.tolist() == pytest.approx([2 * INITIAL_LAMBDA, 0])
    for _ in range(PATIENCE):
        schedule.update(no_yes)
    assert schedule.value.tolist() == pytest.approx([2 * INITIAL_LAMBDA / 2**1.5, INITIAL_LAMBDA])


def test_lambda_stays_while_success_comes_and_goes():
    schedule = _Lambda(1)
    for step in range(8 * PATIENCE):
        schedule.update(torch.tensor([step % PATIENCE != 0]))
    assert schedule.value.tolist() == [0]


def test_a_mask_shrinks_only_where_the_attack_succeeds():
    pixels = images()
    norms = mask_norms(LocalClassifier(Steady(), pixels), pixels, 60, generator())
    half = pixels[0, 0].numel() / 2
    assert norms[0] < 0.2 * half
    assert norms[1:] == pytest.approx(np.full(CLASSES - 1, half), rel=0.2)


def test_masks_do_not_depend_on_the_batch_size():
    pixels = images()
    classifier = LocalClassifier(PlantedNet(backdoored=True), pixels)
    together = mask_norms(classifier, pixels, 20, generator())
    classifier.batch_size = BATCH
    assert mask_norms(classifier, pixels, 20, generator()) == pytest.approx(together, rel=1e-4)


def test_the_maximum_margin_of_a_linear_classifier_is_known():
    shape = (3, 4, 4)
    weights = torch.randn(2, math.prod(shape), generator=generator())
    net = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 2))
    net[1].weight = nn.Parameter(20 * weights)
    net[1].bias = nn.Parameter(torch.tensor([1.0, 0.0]))
    classifier = LocalClassifier(net, torch.rand(9, *shape, generator=generator()))
    half, centre = 10 * (weights[0] - weights[1]).abs().sum(), 10 * (weights[0] - weights[1]).sum()
    margins = MaximumMargin(starts=2, steps=300).margins(classifier, generator())
    assert margins == pytest.approx([float(half + centre + 1), float(half - centre - 1)], rel=1e-4)


def test_the_p_value_is_that_of_the_largest_of_all():
    margins = np.array([4.0, 7.0, 5.0, 6.5, 5.5, 9.0, 4.5, 6.0])
    shape, location, scale = gamma.fit(np.delete(margins, 5))
    assert p_value(margins) == pytest.approx(1 - gamma.cdf(9.0, shape, location, scale) ** 8)


@pytest.mark.parametrize("margins", [np.full(10, 3.0), np.array([0.0, 1.0])])
def test_without_a_null_nothing_stands_out(margins):
    assert p_value(margins) == 1.0
