import numpy as np
import pytest
import torch

from smoothscan.classifier.local import LocalClassifier
from smoothscan.config import PROFILES
from smoothscan.detection.journal import Journal
from smoothscan.detection.probe import noise_level, probe, synthesis_images
from smoothscan.detection.schedule import search
from smoothscan.detection.subjects import Subjects
from smoothscan.detection.transfer import transfer
from smoothscan.events import Silent
from smoothscan.smoothing.noise import KeyedNoise
from smoothscan.spaces import SPACES
from smoothscan.spaces.interface import Trigger
from smoothscan.verdict.decision import decide
from smoothscan.verdict.evidence import Evidence
from tests.planted import CLASSES, SHAPE, TARGET, PlantedNet, Probabilities, images

LABELS = [f"class {t}" for t in range(CLASSES)]


def subjects(classifier, pixels, count=1):
    clean = classifier.predict(pixels)
    chosen = synthesis_images(classifier, pixels, clean, KeyedNoise(0, classifier.input_shape), count)
    return Subjects(pixels, clean, chosen, count)


def scan(net, seed=0, profile=PROFILES["standard"], pixels=None, events=None, count=1, space="l2", folder=None):
    pixels = images() if pixels is None else pixels
    classifier = LocalClassifier(net, pixels)
    noise = KeyedNoise(seed, classifier.input_shape)
    counts = probe(classifier, pixels, classifier.predict(pixels), noise)
    chosen = subjects(classifier, pixels, count)
    sigma = profile.sigmas[0] if profile.sigmas else noise_level(counts)
    space, journal = SPACES[space], Journal(folder, classifier.meter)
    sigma *= space.sigma_share
    found = search(classifier, chosen, profile, space, sigma, noise, LABELS, events or Silent(), journal)
    verdict = decide(Evidence((found.curves,), counts), LABELS, [["x.png"]] * CLASSES, pixels[0].numel())
    return classifier, found, verdict


@pytest.mark.parametrize("seed", [0, 1])
def test_the_planted_target_is_found_and_nothing_else(seed):
    *_, verdict = scan(PlantedNet(backdoored=True), seed)
    assert (verdict.name, verdict.target_classes) == ("backdoored", (TARGET,))


def test_the_same_network_without_backdoor_is_clean():
    *_, verdict = scan(PlantedNet(backdoored=False))
    assert (verdict.name, verdict.target_classes) == ("clean", ())


@pytest.mark.parametrize("factor", [1e-3, 1e3])
@pytest.mark.parametrize("backdoored", [True, False])
def test_the_scale_of_the_logits_changes_nothing(factor, backdoored):
    *_, verdict = scan(PlantedNet(backdoored, scale=20.0 * factor))
    assert verdict.target_classes == ((TARGET,) if backdoored else ())


def test_a_model_that_answers_probabilities_is_judged_alike():
    classifier, _, verdict = scan(Probabilities(backdoored=True))
    assert classifier.outputs == "probabilities"
    assert verdict.target_classes == (TARGET,)


def test_a_search_repeats_exactly():
    _, first, _ = scan(PlantedNet(backdoored=True))
    _, second, _ = scan(PlantedNet(backdoored=True))
    np.testing.assert_array_equal(first.curves.hits, second.curves.hits)
    assert first.triggers.keys() == second.triggers.keys()
    assert all(torch.equal(first.triggers[key].parameters, second.triggers[key].parameters) for key in first.triggers)


def test_the_target_is_followed_down_and_ordinary_classes_are_not():
    _, found, _ = scan(PlantedNet(backdoored=True))
    first = PROFILES["standard"].epsilons.index(PROFILES["standard"].first_epsilon)
    tried = found.curves.hits[0] >= 0
    assert tried[:, first].all()
    assert tried[TARGET, :first].sum() > np.delete(tried, TARGET, 0)[:, :first].sum(1).mean()
    untransferred = found.curves.rates[TARGET] < 0.5
    assert untransferred[np.flatnonzero(tried[TARGET])[0]] or tried[TARGET, 0]


def test_the_paper_profile_inverts_every_class_at_every_budget_from_zero():
    quick = PROFILES["paper"].model_copy(update={"steps": 6, "n_noise": 4})
    _, found, _ = scan(PlantedNet(backdoored=True), profile=quick)
    assert (found.curves.hits >= 0).all()
    assert found.curves.epsilons == pytest.approx(np.array([5.0, 10.0]) * np.sqrt(768 / 150528))


def test_the_paper_profile_is_the_papers():
    paper = PROFILES["paper"]
    assert (paper.steps, paper.n_noise, paper.sigmas, paper.epsilons) == (400, 40, (0.12, 0.25, 0.50), (5.0, 10.0))
    assert (paper.momentum, paper.step_size * 10, paper.halve_at * 400) == (0.9, 0.5, 300)


def test_images_of_the_target_count_neither_as_hits_nor_as_tries():
    classifier = LocalClassifier(PlantedNet(backdoored=False), images())
    clean = classifier.predict(images())
    moved = transfer(classifier, images(), clean, Trigger(SPACES["l2"], torch.zeros(SHAPE)), TARGET)
    assert not moved.any()


def test_patches_shrink_from_the_largest_while_they_transfer():
    shape = (3, 32, 32)
    _, found, verdict = scan(PlantedNet(backdoored=False, shape=shape), pixels=images(shape=shape), space="patch")
    assert verdict.space == "patch"
    tried, rates = found.curves.hits[0] >= 0, found.curves.rates
    assert tried[:, -1].all()
    for level in range(tried.shape[1] - 1):
        np.testing.assert_array_equal(tried[:, level], rates[:, level + 1] >= 0.5)
    assert tried[:, -2].any()


@pytest.mark.parametrize("space", ["patch", "frequency", "warp"])
def test_without_a_backdoor_no_space_shows_one(space):
    *_, verdict = scan(PlantedNet(backdoored=False), space=space)
    assert verdict.target_classes == ()


def test_the_control_of_the_planted_target_moves_nothing():
    _, found, verdict = scan(PlantedNet(backdoored=True))
    curves = found.curves
    assert curves.rates[TARGET, curves.control_at[TARGET]] >= 0.5
    assert curves.control[TARGET] < 0.1 * curves.n_images.sum(0)[TARGET]
    assert verdict.classes[TARGET].control_rate < 0.1


def test_the_folds_hold_every_held_out_image_once():
    _, found, _ = scan(PlantedNet(backdoored=True))
    pooled = found.curves.pooled
    assert len(found.curves.hits) == 2
    np.testing.assert_array_equal(pooled.n_images[0], found.curves.n_images.sum(0))
    np.testing.assert_allclose(pooled.rates, found.curves.rates)


def test_a_model_that_needs_larger_budgets_gets_them_and_a_second_way_down():
    standard = PROFILES["standard"]
    small = standard.model_copy(
        update={"epsilons": tuple(e / 6 for e in standard.epsilons), "first_epsilon": standard.first_epsilon / 6}
    )
    first = standard.epsilons.index(standard.first_epsilon)
    _, found, verdict = scan(PlantedNet(backdoored=True), profile=small)
    tried = found.curves.hits[0] >= 0
    assert tried[:, first + 2].all()  # the second way down begins with every class
    assert verdict.target_classes == (TARGET,)


@pytest.mark.parametrize("count", [3, 10])
def test_several_synthesis_images_find_the_target_too(count):
    _, _, verdict = scan(PlantedNet(backdoored=True), pixels=images(82), count=count)
    assert verdict.target_classes == (TARGET,)


@pytest.mark.parametrize("space", SPACES)
def test_progress_ends_at_its_total(space):
    class Recorder(Silent):
        def __init__(self):
            self.seen, self.rankings = [], []

        def progress(self, done, total):
            self.seen.append((done, total))

        def ranking(self, classes):
            self.rankings.append(classes)

    recorder = Recorder()
    scan(PlantedNet(backdoored=True), events=recorder, space=space)
    assert recorder.seen[-1][0] == recorder.seen[-1][1]
    assert all(done <= total * (1 + 1e-9) for done, total in recorder.seen)
    if space == "l2":
        assert recorder.rankings[-1][0].index == TARGET
