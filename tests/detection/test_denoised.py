"""Searches that go through a denoiser, on classifiers whose backdoor is known.

The classes of these images are a few known shapes, so the ideal diffusion model is known as well: it predicts the noise
that is left when what the shapes explain is taken away.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from smoothscan.classifier.local import LocalClassifier
from smoothscan.config import PROFILES, ScanConfig
from smoothscan.detection.examination import Examination, examine
from smoothscan.detection.inversion import Inverter
from smoothscan.detection.journal import Journal
from smoothscan.errors import TimeBudgetError
from smoothscan.events import Silent
from smoothscan.meter import Meter
from smoothscan.smoothing.denoiser import Denoiser
from smoothscan.smoothing.noise import KeyedNoise
from smoothscan.smoothing.smoothed import SmoothedClassifier, standardised
from smoothscan.spaces import SPACES
from smoothscan.verdict import decision
from tests.planted import CLASSES, SHAPE, TARGET, PlantedNet, images, patch, templates

ABAR = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
SIGMA = 0.25


class Shapes(nn.Module):
    """Predicts the noise: what lies outside of the classes' shapes and the trigger; counts its images."""

    def __init__(self) -> None:
        super().__init__()
        known = torch.cat([templates(), patch()[None]]).flatten(1)
        self.register_buffer("basis", torch.linalg.qr(known.T).Q)
        self.seen = 0

    def forward(self, x_t: Tensor, t: Tensor) -> SimpleNamespace:
        self.seen += len(x_t)
        abar = float(ABAR[int(t)])
        flat = x_t.flatten(1)
        noise = (flat - flat @ self.basis @ self.basis.T) / (1 - abar) ** 0.5
        return SimpleNamespace(sample=noise.view_as(x_t))


def denoiser(meter: Meter | None = None) -> Denoiser:
    return Denoiser(Shapes(), ABAR, "epsilon", SHAPE[0], size=SHAPE[1:], meter=meter)


def scan(
    *, backdoored: bool, journal: Journal | None = None, net: nn.Module | None = None, **changes: Any
) -> tuple[Examination, LocalClassifier]:
    pixels = images()
    classifier = LocalClassifier(net or PlantedNet(backdoored), pixels)
    if journal is not None:
        journal.meter = classifier.meter
    config = ScanConfig(uri="models:/x/1", images=Path(), **{"spaces": ("l2",), "denoiser": "shapes", **changes})
    names, labels = [str(i) for i in range(len(pixels))], [str(t) for t in range(CLASSES)]
    found = examine(
        classifier, pixels, names, labels, config, Silent(), journal=journal, denoiser=denoiser(classifier.meter)
    )
    return found, classifier


def test_the_smoothed_classifier_sees_denoised_images() -> None:
    net, pixels = PlantedNet(backdoored=False), images(40)
    noise = KeyedNoise(0, SHAPE).vectors(0, 0, 8)[None].expand(40, -1, -1, -1, -1)
    through = SmoothedClassifier(net, SIGMA, 1.0, denoiser())
    with torch.no_grad():
        seen = torch.stack([denoiser()(x + SIGMA * z, SIGMA) for x, z in zip(pixels[:, None], noise, strict=True)])
        expected = net(seen.flatten(0, 1)).softmax(1).view(40, 8, -1).mean(1)
        torch.testing.assert_close(through(pixels[:, None], noise).exp(), expected, rtol=1e-3, atol=1e-6)
    assert float((seen - pixels[:, None]).square().mean().sqrt()) < 0.2 * SIGMA


def test_logits_are_standardised_as_the_model_answers_to_denoised_images() -> None:
    net, pixels, noise = PlantedNet(backdoored=False), images(60), KeyedNoise(0, SHAPE)
    plain, through = (standardised(net, SIGMA, pixels, noise, d) for d in (None, denoiser()))
    assert through.denoiser is not None
    assert plain.scale != through.scale


@pytest.mark.parametrize(("turns", "share"), [((False,), 0.0), ((False, True), 0.5), ((True,), 1.0)])
def test_steps_go_through_the_denoiser_by_turns(turns: tuple[bool, ...], share: float) -> None:
    net, meter = PlantedNet(backdoored=True), Meter()
    used = denoiser(meter)
    profile = PROFILES["standard"]
    inverter = Inverter(
        tuple(SmoothedClassifier(net, 0.12, 0.2, used if through else None) for through in turns),
        SPACES["l2"],
        profile,
        KeyedNoise(0, SHAPE),
        lambda _: None,
    )
    image = images(CLASSES)[(TARGET + 1) % CLASSES]
    found = inverter.invert(image[None, None], torch.tensor([TARGET]), None, epsilon=0.35, first_step=0)
    assert meter.denoiser_passes == pytest.approx(share * profile.steps * profile.n_noise)
    (delta,) = found.parameters
    assert float((delta * patch()).sum() / delta.norm()) > 0.7


@pytest.mark.parametrize("denoising", ["mixed", "always"])
def test_a_planted_target_is_found_through_the_denoiser_and_a_clean_model_stays_clean(denoising: str) -> None:
    bad, classifier = scan(backdoored=True, denoising=denoising)
    assert bad.verdict.target_classes == (TARGET,)
    assert "through the denoiser" in bad.verdict.reasons[0]
    assert [s.denoised for s in bad.verdict.spaces] == [True]
    assert classifier.meter.denoiser_passes > 0
    good, _ = scan(backdoored=False, denoising=denoising)
    assert good.verdict.name == "clean"


def test_auto_leaves_alone_what_is_decided() -> None:
    bad, classifier = scan(backdoored=True)
    assert bad.verdict.target_classes == (TARGET,)
    assert [s.curves.denoised for s in bad.searches] == [False]
    assert classifier.meter.denoiser_passes == 0


def test_auto_searches_what_is_undecided_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "UNDECIDED", -1.0)
    found, classifier = scan(backdoored=False, spaces=("l2", "patch"))
    assert [(s.curves.space, s.curves.denoised) for s in found.searches] == [
        ("l2", False),
        ("patch", False),
        ("l2", True),
        ("patch", True),
    ]
    assert classifier.meter.denoiser_passes > 0
    assert found.verdict.name == "clean"
    assert [space.space for space in found.verdict.spaces] == ["l2", "patch"]
    assert found.coverage()["unfinished"] == ()


def test_a_recalled_search_counts_its_denoiser_passes(tmp_path: Path) -> None:
    first, then = [
        scan(backdoored=True, denoising="mixed", journal=Journal(tmp_path / "kept", Meter())) for _ in range(2)
    ]
    assert then[1].meter.denoiser_passes == pytest.approx(first[1].meter.denoiser_passes)
    assert then[1].meter.passes == pytest.approx(first[1].meter.passes)
    assert np.array_equal(first[0].search.curves.hits, then[0].search.curves.hits)


def test_searches_with_and_without_a_denoiser_never_recall_each_other(tmp_path: Path) -> None:
    for denoising in ("auto", "mixed", "always"):
        found, classifier = scan(backdoored=True, denoising=denoising, journal=Journal(tmp_path / "kept", Meter()))
        assert (classifier.meter.denoiser_passes > 0) == (denoising != "auto")
        assert found.search.curves.denoised == (denoising != "auto")


def test_a_time_budget_that_ends_during_the_second_search_leaves_it_unfinished(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Ends(Journal):
        def once(self, title: str, work: Any) -> Any:
            if "denoised" in title:
                raise TimeBudgetError("no time")
            return super().once(title, work)

    monkeypatch.setattr(decision, "UNDECIDED", -1.0)
    found, _ = scan(backdoored=False, journal=Ends(tmp_path / "kept", Meter()))
    assert found.verdict.name == "inconclusive"
    assert found.coverage()["unfinished"] == ("l2",)


def test_denoising_without_a_denoiser_is_an_error() -> None:
    with pytest.raises(ValidationError, match="needs a denoiser"):
        ScanConfig(uri="models:/x/1", images=Path(), denoising="always")
