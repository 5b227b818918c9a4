import numpy as np
import torch

from smoothscan.classifier.local import LocalClassifier
from smoothscan.config import PAIR_HELD_OUT, PAIR_SYNTHESIS, PROFILES
from smoothscan.detection.journal import Journal
from smoothscan.detection.pairs import search_pairs
from smoothscan.detection.subjects import Subjects
from smoothscan.events import Silent
from smoothscan.smoothing.noise import KeyedNoise
from tests.planted import CLASSES, TARGET, SourceNet, images

FEW = 5
"""A class with too few images."""


class Progress(Silent):
    def __init__(self):
        self.seen = []

    def progress(self, done, total):
        self.seen.append(done / total)


def searched(events=None, folder=None):
    pixels = images(200, shape=SourceNet.SHAPE, contrast=SourceNet.CONTRAST)
    net = SourceNet()
    clean = net(pixels).argmax(1)
    of = {t: torch.nonzero(clean == t).flatten().tolist() for t in (SourceNet.SOURCE, 7, FEW)}
    of[FEW] = of[FEW][: PAIR_SYNTHESIS + PAIR_HELD_OUT - 1]
    chosen = sorted(i for own in of.values() for i in own)
    subjects = Subjects(pixels[chosen], clean[chosen], (0, 1))
    classifier = LocalClassifier(net, pixels[chosen])
    noise = KeyedNoise(0, SourceNet.SHAPE)
    profile, journal = PROFILES["standard"], Journal(folder, classifier.meter)
    return subjects, search_pairs(classifier, subjects, profile, 0.2, noise, events or Silent(), journal)


def test_the_pair_of_a_source_specific_backdoor_is_found_and_no_other():
    progress = Progress()
    subjects, found = searched(progress)
    counts = found.counts
    assert counts.sources.tolist() == [SourceNet.SOURCE, 7]  # the class with too few images is left out
    rates = counts.hits[:, :, -1] / counts.n_images[:, None]
    assert rates[0, TARGET] >= 0.9
    others = np.delete(rates.flatten(), TARGET)
    assert others.max() <= 0.5
    # smaller patches are tried where the largest one leads, and only there
    assert counts.hits[0, TARGET, 0] >= 0
    assert (np.delete(counts.hits[:, :, 0].flatten(), TARGET) < 0).all()
    assert counts.hits.shape == (2, CLASSES, len(counts.epsilons))
    assert (counts.hits[[0, 1], [SourceNet.SOURCE, 7]] == -1).all()
    assert max(progress.seen) == 1.0

    for row, source in enumerate(counts.sources):
        assert len(found.synthesis[row]) == PAIR_SYNTHESIS
        assert counts.n_images[row] == len(found.held_out[row]) >= PAIR_HELD_OUT
        assert not set(found.synthesis[row]) & set(found.held_out[row])
        assert (subjects.clean[found.held_out[row]] == source).all()


def test_twice_the_same():
    (_, one), (_, other) = searched(), searched()
    assert (one.counts.hits == other.counts.hits).all()
