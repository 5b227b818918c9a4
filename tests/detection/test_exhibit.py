from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smoothscan.classifier.local import LocalClassifier
from smoothscan.config import ScanConfig
from smoothscan.detection.examination import examine
from smoothscan.detection.exhibit import EXAMPLES, _Gallery, exhibit
from smoothscan.detection.pairs import PairSearch
from smoothscan.events import Silent
from smoothscan.result import PairResult
from smoothscan.spaces import SPACES
from smoothscan.spaces.interface import Trigger
from smoothscan.verdict.evidence import PairCounts
from smoothscan.verdict.pairs import standing_of_pairs
from tests.planted import CLASSES, SHAPE, TARGET, PlantedNet, images


@pytest.fixture(scope="module")
def examined():
    pixels = images()
    classifier = LocalClassifier(PlantedNet(backdoored=True), pixels)
    names = [f"{i}.png" for i in range(62)]
    config = ScanConfig(uri="-", images=Path())
    return classifier, examine(classifier, pixels, names, [str(t) for t in range(CLASSES)], config, Silent()), names


def test_of_many_classes_those_that_are_flagged_or_rank_highest_are_shown(examined, monkeypatch):
    classifier, found, names = examined
    ranked = sorted(found.verdict.classes, key=lambda c: -c.score)
    monkeypatch.setattr("smoothscan.detection.exhibit.CLASSES", 3)
    assert set(exhibit(classifier, found, names).classes) == {c.index for c in ranked[:3]}
    last = ranked[-1].index
    classes = tuple(replace_flag(c, c.index == last) for c in found.verdict.classes)
    monkeypatch.setattr("smoothscan.detection.exhibit.CLASSES", 1)
    flagged = replace(found, verdict=replace(found.verdict, classes=classes, target_classes=(last,)))
    assert set(exhibit(classifier, flagged, names).classes) == {last}


def replace_flag(found, flagged):
    return found.model_copy(update={"flagged": flagged})


def test_the_exhibits_show_the_first_held_out_images_with_their_predictions(examined):
    classifier, found, names = examined
    subjects = found.subjects
    shown = exhibit(classifier, found, names).classes
    assert set(shown) == set(range(CLASSES))
    examples = shown[TARGET].examples
    assert len(examples) == EXAMPLES
    kept = [names[i] for i in subjects.held_out if subjects.clean[i] != TARGET]
    assert [e.name for e in examples] == kept[:EXAMPLES]
    assert sum(e.perturbed_prediction == TARGET for e in examples) > EXAMPLES / 2
    assert not shown[(TARGET + 1) % CLASSES].examples


@pytest.mark.parametrize("space", SPACES)
def test_what_is_kept_of_a_trigger_puts_it_on_other_images(examined, space):
    classifier, found, names = examined
    parameters = SPACES[space].nothing(SHAPE, 9.0)
    parameters = SPACES[space].retract(parameters[None] + 0.1 * torch.rand(1, *parameters.shape), 9.0, SHAPE)[0]
    trigger = Trigger(SPACES[space], parameters)
    shown = _Gallery(classifier, found.subjects, names).of(trigger, TARGET, [3], torch.tensor([5]))
    kept = shown.perturbation if shown.parameters is None else shown.parameters
    assert (shown.parameters is None) is (space == "l2")
    again = Trigger(SPACES[space], torch.from_numpy(kept)).on(torch.from_numpy(shown.examples[0].clean)[None])
    assert (again[0].numpy() == shown.examples[0].perturbed).all()


def test_every_image_that_a_trigger_was_made_from_is_named(examined):
    classifier, found, names = examined
    patch = Trigger(SPACES["patch"], SPACES["patch"].nothing(SHAPE, 9.0))
    counts = PairCounts(
        sources=np.array([4]),
        epsilons=np.array([9.0]),
        hits=np.zeros((1, CLASSES, 1), int),
        n_images=np.array([20]),
        n_synthesis=4,
        sigma=0.1,
    )
    pair = PairResult(
        source=4, target=2, epsilon=9.0, hits=20, n_images=20, transfer_rate=1, transfer_ci=(0.8, 1), anomaly=0.9
    )
    result = standing_of_pairs(counts).result(1.0).model_copy(update={"flagged": (pair,)})
    search = PairSearch(counts, [[14, 24, 34, 44]], [[54]], {(0, 2, 0): patch})
    subjects = replace(found.subjects, synthesis=(0, 1, 12, 13), per_class=2)
    shown = exhibit(
        classifier,
        replace(found, subjects=subjects, pairs=search, verdict=replace(found.verdict, pairs=result)),
        names,
    )
    for t, one in shown.classes.items():
        assert one.made_from == tuple(names[i] for i in subjects.sources(t))
        assert (one.made_from[0], len(one.made_from)) == (one.synthesis_name, 2)
    assert shown.pairs[4, 2].made_from == ("14.png", "24.png", "34.png", "44.png")
