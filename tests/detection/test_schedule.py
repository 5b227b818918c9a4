import numpy as np
import pytest
import torch

from smoothscan.classifier.local import LocalClassifier
from smoothscan.config import PROFILES
from smoothscan.detection.exhibit import EXAMPLES, exhibit
from smoothscan.detection.probe import check_enough, probe, synthesis_images
from smoothscan.detection.schedule import Subjects, budgets, noise_levels_for, search
from smoothscan.detection.transfer import transfer
from smoothscan.errors import TooFewImagesError
from smoothscan.events import Silent
from smoothscan.smoothing.noise import KeyedNoise
from smoothscan.verdict.decision import decide
from smoothscan.verdict.evidence import Evidence
from tests.planted import CLASSES, CONTRAST, SHAPE, TARGET, PlantedNet, Probabilities, images, templates

LABELS = [f"class {t}" for t in range(CLASSES)]


def subjects(classifier, pixels):
    clean = classifier.predict(pixels)
    return Subjects(pixels, clean, synthesis_images(classifier, pixels, clean, KeyedNoise(0, SHAPE)))


def scan(net, seed=0, profile=PROFILES["standard"], pixels=None, events=None):
    pixels = images() if pixels is None else pixels
    classifier = LocalClassifier(net, pixels)
    noise = KeyedNoise(seed, SHAPE)
    counts = probe(classifier, pixels, classifier.predict(pixels), noise)
    chosen = subjects(classifier, pixels)
    found = search(classifier, chosen, profile, profile.sigmas[0], noise, LABELS, events or Silent())
    verdict = decide(Evidence((found.curves,), (found.curves,), counts), LABELS, ["x.png"] * CLASSES)
    return classifier, chosen, found, verdict


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
    classifier, *_, verdict = scan(Probabilities(backdoored=True))
    assert classifier.outputs == "probabilities"
    assert verdict.target_classes == (TARGET,)


def test_a_search_repeats_exactly():
    *_, first, _ = scan(PlantedNet(backdoored=True))
    *_, second, _ = scan(PlantedNet(backdoored=True))
    np.testing.assert_array_equal(first.curves.hits, second.curves.hits)
    assert first.perturbations.keys() == second.perturbations.keys()
    assert all(torch.equal(first.perturbations[key], second.perturbations[key]) for key in first.perturbations)


def test_the_target_is_followed_down_and_ordinary_classes_are_not():
    *_, found, _ = scan(PlantedNet(backdoored=True))
    first = PROFILES["standard"].epsilons.index(PROFILES["standard"].first_epsilon)
    tried = found.curves.hits >= 0
    assert tried[:, first].all()
    assert tried[TARGET, :first].sum() > np.delete(tried, TARGET, 0)[:, :first].sum(1).mean()
    untransferred = found.curves.hits[TARGET] < 0.5 * found.curves.n_images[TARGET]
    assert untransferred[np.flatnonzero(tried[TARGET])[0]] or tried[TARGET, 0]


def test_the_paper_profile_inverts_every_class_at_every_budget_from_zero():
    quick = PROFILES["paper"].model_copy(update={"steps": 6, "n_noise": 4})
    *_, found, _ = scan(PlantedNet(backdoored=True), profile=quick)
    assert (found.curves.hits >= 0).all()
    assert found.curves.epsilons == pytest.approx(np.array([5.0, 10.0]) * np.sqrt(768 / 150528))


def test_the_paper_profile_is_the_papers():
    paper = PROFILES["paper"]
    assert (paper.steps, paper.n_noise, paper.sigmas, paper.epsilons) == (400, 40, (0.12, 0.25, 0.50), (5.0, 10.0))
    assert (paper.momentum, paper.step_size * 10, paper.halve_at * 400) == (0.9, 0.5, 300)


def test_budgets_keep_the_root_mean_square_change():
    (at_reference,) = budgets(PROFILES["paper"].model_copy(update={"epsilons": (10.0,)}), (3, 224, 224))
    (at_cifar,) = budgets(PROFILES["paper"].model_copy(update={"epsilons": (10.0,)}), (3, 32, 32))
    assert at_reference == pytest.approx(10.0)
    assert at_cifar == pytest.approx(10 / 7)


def test_where_noise_fires_a_trigger_the_search_uses_half_of_that_level():
    standard, paper = PROFILES["standard"], PROFILES["paper"]
    assert noise_levels_for(standard, float("inf")) == (0.2,)
    assert noise_levels_for(standard, 0.1) == (0.2,)
    assert noise_levels_for(standard, 0.02) == (0.01,)
    assert noise_levels_for(paper, float("inf")) == (0.12, 0.25, 0.50)
    assert noise_levels_for(paper, 0.02) == (0.01,)


def test_images_of_the_target_count_neither_as_hits_nor_as_tries():
    classifier = LocalClassifier(PlantedNet(backdoored=False), images())
    clean = classifier.predict(images())
    moved = transfer(classifier, images(), clean, torch.zeros(SHAPE), TARGET)
    assert not moved.any()


def test_synthesis_images_are_the_first_stable_ones_of_two_classes():
    pixels = images()
    classifier = LocalClassifier(PlantedNet(backdoored=False), pixels)
    chosen = subjects(classifier, pixels)
    assert chosen.synthesis == (0, 1)
    assert chosen.source(int(chosen.clean[0])) == 1
    assert chosen.source(int(chosen.clean[1])) == 0
    assert len(chosen.held_out) == len(pixels) - 2


def test_an_image_on_the_border_of_two_classes_is_passed_over():
    pixels = images()
    pixels[0] = 0.5 + CONTRAST * templates()[:2].mean(0)
    classifier = LocalClassifier(PlantedNet(backdoored=False), pixels)
    assert 0 not in subjects(classifier, pixels).synthesis


def test_too_few_images_are_refused():
    with pytest.raises(TooFewImagesError, match="21 usable images"):
        check_enough(torch.arange(21) % 3, 3)


def test_images_of_a_single_class_are_refused():
    with pytest.raises(TooFewImagesError, match="class 2"):
        check_enough(torch.full((50,), 2), 3)


def test_the_exhibits_show_the_first_held_out_images_with_their_predictions():
    classifier, chosen, found, verdict = scan(PlantedNet(backdoored=True))
    names = [f"{i}.png" for i in range(62)]
    shown = exhibit(classifier, chosen, found, verdict, names).classes
    assert set(shown) == set(range(CLASSES))
    examples = shown[TARGET].examples
    assert len(examples) == EXAMPLES
    assert [e.name for e in examples] == [names[i] for i in chosen.held_out if chosen.clean[i] != TARGET][:EXAMPLES]
    assert sum(e.perturbed_prediction == TARGET for e in examples) > EXAMPLES / 2
    assert not shown[(TARGET + 1) % CLASSES].examples


def test_progress_ends_at_its_total():
    class Recorder(Silent):
        def __init__(self):
            self.seen, self.rankings = [], []

        def progress(self, done, total):
            self.seen.append((done, total))

        def ranking(self, classes):
            self.rankings.append(classes)

    recorder = Recorder()
    scan(PlantedNet(backdoored=True), events=recorder)
    assert recorder.seen[-1][0] == recorder.seen[-1][1]
    assert all(done <= total * (1 + 1e-9) for done, total in recorder.seen)
    assert recorder.rankings[-1][0].index == TARGET
