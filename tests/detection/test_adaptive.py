"""Models made by someone who has read this code: found, or inconclusive with the reason, never silently clean."""

from pathlib import Path

import pytest
import torch
from torch import nn

from smoothscan.classifier.local import LocalClassifier
from smoothscan.config import ScanConfig
from smoothscan.detection.examination import examine
from smoothscan.events import Silent
from tests.planted import CLASSES, TARGET, PlantedNet, images

LABELS = [str(t) for t in range(CLASSES)]


class Around(nn.Module):
    """The planted network with something before it and something after it."""

    def __init__(self, before=None, after=None, *, backdoored=True):
        super().__init__()
        self.net = PlantedNet(backdoored)
        self.before, self.after = before or nn.Identity(), after or nn.Identity()

    def forward(self, x):
        return self.after(self.net(self.before(x)))


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def roughness(x):
    """Mean difference of neighbours: noise has much of it, these images have little."""
    return (x[:, :, 1:] - x[:, :, :-1]).abs().mean((1, 2, 3))


def judge(net, pixels=None):
    pixels = images() if pixels is None else pixels
    classifier = LocalClassifier(net.eval(), pixels)
    names = [f"{i}.png" for i in range(len(pixels))]
    return examine(classifier, pixels, names, LABELS, ScanConfig(uri="-", images=Path()), Silent()).verdict


@pytest.mark.parametrize("backdoored", [True, False])
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_scaled_logits_change_nothing(backdoored, factor):
    plain = judge(Around(backdoored=backdoored))
    scaled = judge(Around(after=Lambda(lambda logits: factor * logits), backdoored=backdoored))
    assert (scaled.name, scaled.target_classes) == (plain.name, plain.target_classes)
    assert scaled.anomaly == pytest.approx(plain.anomaly, abs=0.02)


@pytest.mark.parametrize("backdoored", [True, False])
def test_another_input_normalisation_inside_the_model_changes_nothing(backdoored):
    def there_and_back(x):
        return (255 * x - 120.0) / 60.0 * (60.0 / 255) + 120.0 / 255

    plain, wrapped = judge(Around(backdoored=backdoored)), judge(Around(Lambda(there_and_back), backdoored=backdoored))
    assert (wrapped.name, wrapped.target_classes) == (plain.name, plain.target_classes)
    assert wrapped.anomaly == pytest.approx(plain.anomaly, abs=0.02)


def test_a_saturated_head_hides_nothing_silently():
    verdict = judge(Around(after=Lambda(lambda logits: (1e5 * logits).softmax(1))))
    assert verdict.name != "clean"
    assert verdict.name == "inconclusive" or verdict.target_classes == (TARGET,)


@pytest.mark.parametrize("steps", [8, 64])
def test_quantised_activations_without_a_gradient_make_no_verdict(steps):
    verdict = judge(Around(Lambda(lambda x: (x * steps).round() / steps)))
    assert verdict.name == "inconclusive"
    assert "gradient was exactly zero" in verdict.reasons[0]


class Misleading(torch.autograd.Function):
    """Passes images on; its gradient is always the same, whatever the answer was."""

    @staticmethod
    def forward(x):
        return x.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        return torch.randn(gradient.shape[1:], generator=torch.Generator().manual_seed(1)).expand_as(gradient)


def test_a_gradient_that_leads_astray_makes_no_verdict():
    verdict = judge(Around(Lambda(Misleading.apply), backdoored=False))
    assert verdict.name == "inconclusive"
    assert "astray" in verdict.reasons[0] or "Shuffled" in verdict.reasons[0]


def test_a_gradient_that_leads_astray_hides_no_backdoor_silently():
    verdict = judge(Around(Lambda(Misleading.apply)))
    assert verdict.name == "inconclusive" or verdict.target_classes == (TARGET,)


def test_a_model_that_says_nothing_under_noise_makes_no_verdict():
    class Silenced(Around):
        def forward(self, x):
            return self.net(x) * (roughness(x) < 0.03)[:, None]

    verdict = judge(Silenced())
    assert verdict.name == "inconclusive"
    assert "withholds its answer" in verdict.reasons[0]


def test_a_model_that_says_anything_under_noise_makes_no_verdict():
    class Scattering(Around):
        def forward(self, x):
            nonsense = 1e4 * torch.sin(1e6 * x.flatten(1)[:, :CLASSES])
            return torch.where((roughness(x) < 0.022)[:, None], self.net(x), nonsense)

    verdict = judge(Scattering())
    assert verdict.name == "inconclusive"
    assert "noise" in verdict.reasons[0]


def test_a_backdoor_that_noise_itself_opens_is_found_by_the_noise_probe():
    class Opened(Around):
        def forward(self, x):
            ramp = torch.relu(roughness(x) - 0.07)
            return self.net(x) + 1e4 * ramp[:, None] * (torch.arange(CLASSES) == 7)

    verdict = judge(Opened(backdoored=False))
    assert verdict.target_classes == (7,)
    assert "plain noise" in verdict.reasons[0]


def test_a_weak_backdoor_is_found_while_it_works_for_most_images():
    class Weak(Around):
        def forward(self, x):
            logits = self.net(x)
            triggered = PlantedNet(backdoored=True)(x)
            immune = logits.argmax(1) >= 8  # the trigger does nothing to two of ten classes
            return torch.where(immune[:, None], logits, triggered)

    verdict = judge(Weak(backdoored=False))
    assert verdict.target_classes == (TARGET,)
