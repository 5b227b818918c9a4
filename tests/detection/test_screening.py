from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planted import SHAPE, WideNet
from torch import Tensor, nn

from smoothscan.classifier.local import LocalClassifier
from smoothscan.config import PROFILES, ScanConfig
from smoothscan.detection import screening
from smoothscan.detection.examination import Examination, examine
from smoothscan.detection.inversion import Inverter
from smoothscan.detection.journal import Journal
from smoothscan.detection.probe import MIN_HELD_OUT
from smoothscan.detection.screening import (
    ALONE,
    FINALISTS,
    LEAST,
    SAMPLED,
    Selection,
    divided,
    screening_images,
    select,
)
from smoothscan.detection.subjects import Subjects
from smoothscan.errors import TooFewImagesError
from smoothscan.events import Silent
from smoothscan.smoothing.denoiser import Denoiser
from smoothscan.smoothing.noise import KeyedNoise
from smoothscan.smoothing.smoothed import SmoothedClassifier
from smoothscan.spaces import SPACES
from smoothscan.verdict import decision
from smoothscan.vocabulary import SpaceName

K, TARGETS = WideNet.CLASSES, WideNet.TARGETS


def selected(
    targets: tuple[int, ...],
    seed: int = 0,
    always: tuple[int, ...] = (),
    batch: int = 256,
    space: SpaceName = "l2",
    folder: Path | None = None,
) -> Selection:
    net = WideNet(targets)
    images = net.images()
    classifier = LocalClassifier(net, images)
    classifier.batch_size = batch
    noise = KeyedNoise(seed, SHAPE)
    inverter = Inverter(
        (SmoothedClassifier(classifier, 0.2, 1.0),), SPACES[space], PROFILES["standard"], noise, lambda _: None
    )
    subjects = Subjects(images, classifier.predict(images), (0, 1), 1, *screening_images(len(images), (0, 1)))
    journal = Journal(folder, classifier.meter)
    return select(classifier, inverter, subjects, PROFILES["standard"], 0.5, noise, always, journal.once)


def examined(targets: tuple[int, ...], count: int = 80, denoiser: Denoiser | None = None) -> Examination:
    net = WideNet(targets)
    images = net.images(count)
    config = ScanConfig(uri="models:/x/1", images=Path(), spaces=("l2",))
    names, labels = [str(i) for i in range(count)], [str(t) for t in range(K)]
    return examine(LocalClassifier(net, images), images, names, labels, config, Silent(), denoiser=denoiser)


@pytest.fixture(params=["in groups", "alone"])
def begun(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether the screening begins in groups, or with each class alone."""
    monkeypatch.setattr(screening, "SINGLES", 0 if request.param == "in groups" else K)
    return str(request.param)


@pytest.mark.usefixtures("begun")
@pytest.mark.parametrize("seed", range(3))
def test_targets_come_first_in_every_round_also_two_of_one_group(seed: int) -> None:
    found = selected(TARGETS, seed)
    for one in found.rounds:
        assert set(np.argsort(-np.nan_to_num(one.scores, nan=-np.inf))[:2]) == set(TARGETS)
    assert set(TARGETS) <= set(found.classes.tolist())


@pytest.mark.usefixtures("begun")
def test_every_class_is_tried_and_some_ordinary_ones_are_drawn_at_random() -> None:
    found = selected(())
    assert np.isfinite(found.rounds[0].scores).all()
    assert np.isfinite(found.rounds[1].scores).sum() == ALONE
    assert (found.spent > 0).all()
    assert found.sampled.sum() == SAMPLED
    assert len(found.classes) == SAMPLED + FINALISTS
    assert not set(found.rounds[1].kept) & set(found.classes[found.sampled].tolist())


def test_the_random_classes_depend_on_the_seed_alone() -> None:
    drawn = [selected(targets, seed) for targets, seed in (((), 0), (TARGETS, 0), ((), 1))]
    same, other, different = (one.classes[one.sampled].tolist() for one in drawn)
    assert same == other != different


def test_the_choice_does_not_depend_on_how_many_classes_are_searched_at_once() -> None:
    whole, parts = selected(TARGETS), selected(TARGETS, batch=12)
    assert whole.classes.tolist() == parts.classes.tolist()
    for one, other in zip(whole.rounds, parts.rounds, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-3)
    np.testing.assert_allclose(whole.spent, parts.spent)


def test_a_class_that_noise_leads_to_is_searched_in_full_whatever_the_screening_says() -> None:
    without = selected(())
    left_out = next(t for t in range(K) if t not in without.classes)
    found = selected((), always=(left_out,))
    assert set(found.classes) == {*without.classes, left_out}
    assert not found.sampled[found.classes == left_out].any()


def test_a_model_with_many_classes_is_flagged_with_its_targets(begun: str) -> None:
    found = examined(TARGETS)
    assert found.verdict.name == "backdoored"
    assert set(found.verdict.target_classes) == set(TARGETS)
    assert {c.index for c in found.verdict.classes} == set(found.search.selection.classes.tolist())
    titles = [one.title for one in found.verdict.spaces[0].screening]
    first = {"in groups": "in groups of up to 4", "alone": "each on its own"}
    assert titles == [first[begun], "the best of them on their own"]

    # transfer is counted on images that nothing was chosen on
    used = {*found.subjects.synthesis, *found.subjects.screening, *found.subjects.probes}
    assert not used & set(found.subjects.held_out.tolist())
    coverage = found.coverage()
    assert coverage["classes_examined"] == K > coverage["classes_in_full"] == len(found.verdict.classes)
    assert len(coverage["passes_by_class"]) == K
    assert min(coverage["passes_by_class"]) > 0


def test_a_clean_model_with_many_classes_is_clean() -> None:
    verdict = examined(()).verdict
    assert (verdict.name, verdict.target_classes) == ("clean", ())
    assert verdict.p_value is not None
    assert verdict.p_value > 0.05


@given(st.integers(1, 300), st.integers(1, 20))
def test_groups_hold_every_class_once_and_none_is_empty(n_classes: int, count: int) -> None:
    groups = divided(range(n_classes), count)
    assert sorted(t for group in groups for t in group) == list(range(n_classes))
    assert max(map(len, groups)) - min(map(len, groups)) <= 1
    assert len(groups) <= count


def test_a_screening_needs_images_of_its_own() -> None:
    with pytest.raises(TooFewImagesError, match=f"{LEAST} to choose among {K} classes"):
        examined((), MIN_HELD_OUT + 2 + LEAST - 1)


@pytest.mark.parametrize("count", [MIN_HELD_OUT + 2 + LEAST, 40, 102])
def test_the_images_of_a_screening_leave_enough_to_test_on(count: int) -> None:
    images, probes = screening_images(count, (3, 4))
    assert len(images) >= 2
    assert len(probes) == 2 * len(images)
    assert not {3, 4} & {*images, *probes}
    assert count - 2 - len(images) - len(probes) >= MIN_HELD_OUT


def test_a_denoised_search_takes_over_the_choice_of_classes_and_what_it_cost_counts_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class SeesNoNoise(nn.Module):
        """Predicts that there is none, so that the denoiser changes nothing."""

        def forward(self, x_t: Tensor, _t: Tensor) -> SimpleNamespace:
            return SimpleNamespace(sample=0 * x_t)

    monkeypatch.setattr(decision, "UNDECIDED", -10.0)
    abar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)
    plain, denoised = examined((), denoiser=Denoiser(SeesNoNoise(), abar, "epsilon", SHAPE[0], size=SHAPE[1:])).searches
    assert (plain.curves.denoised, denoised.curves.denoised) == (False, True)
    assert np.array_equal(plain.selection.classes, denoised.selection.classes)
    others = np.setdiff1d(np.arange(K), plain.selection.classes)
    assert (plain.selection.spent[others] > 0).all()
    assert (denoised.selection.spent[others] == 0).all()
