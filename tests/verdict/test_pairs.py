import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.verdict.decision import BACKDOORED, SUSPICIOUS, decide
from smoothscan.verdict.evidence import Evidence, PairCounts
from smoothscan.verdict.pairs import standing_of_pairs
from tests.verdict.test_decision import curves, quiet

K = 10


def counted(pairs, n=26, sources=range(K), ordinary=(0.05, 0.0)):
    """Counts of a model whose given pairs transfer at given rates with a small and with a large patch."""
    sources = list(sources)
    hits = np.full((len(sources), K, 2), -1)
    for row, a in enumerate(sources):
        for t in range(K):
            if t != a:
                small, large = pairs.get((a, t), (ordinary[1], ordinary[0]))
                hits[row, t] = (round(small * n) if large >= 0.5 else -1, round(large * n))
    return PairCounts(
        sources=np.array(sources, dtype=np.int64),
        n_images=np.full(len(sources), n),
        n_synthesis=4,
        epsilons=np.array([9.0, 16.0]),
        hits=hits,
        sigma=0.05,
    )


NATURAL = {(8, 1): (0.36, 0.91), (6, 2): (0.43, 0.81), (4, 2): (0.64, 0.76), (8, 0): (0.3, 0.64)}
"""What pairs of similar classes reach at most in clean networks of the zoo."""


def flagged(counts):
    return [(p.source, p.target) for p in standing_of_pairs(counts).result(SUSPICIOUS).flagged]


def test_similar_classes_are_not_flagged():
    assert not flagged(counted(NATURAL))


def test_a_pair_that_a_smaller_patch_still_moves_is_flagged_among_similar_classes():
    counts = counted({**NATURAL, (9, 4): (1.0, 0.96)})
    assert flagged(counts) == [(9, 4)]
    stands = standing_of_pairs(counts)
    assert stands.by_target.argmax() == 4
    assert stands.source(4) == 9
    (pair,) = stands.result(SUSPICIOUS).flagged
    assert (pair.epsilon, pair.hits, pair.n_images) == (9.0, 26, 26)
    assert pair.transfer_rate == 1.0
    assert 0.8 < pair.transfer_ci[0] < pair.transfer_ci[1] == 1.0


def test_all_to_all_is_flagged_with_all_of_its_pairs():
    planted = {(a, (a + 1) % K): (0.92 + 0.008 * a, 1.0) for a in range(K)}
    assert set(flagged(counted({**NATURAL, **planted}))) == set(planted)


def test_few_images_accuse_nobody():
    assert not flagged(counted({(9, 4): (5 / 6, 1.0)}, n=6))


def test_a_source_without_images_is_left_out():
    counts = counted({(9, 4): (1.0, 1.0)}, sources=[3, 9])
    assert flagged(counts) == [(9, 4)]
    assert standing_of_pairs(counts).result(SUSPICIOUS).sources == (3, 9)


def test_no_source_at_all_says_nothing():
    stands = standing_of_pairs(counted({}, sources=[]))
    assert np.isneginf(stands.by_target).all()
    assert not stands.result(SUSPICIOUS).flagged


@given(st.floats(0.5, 1), st.floats(0, 0.5), st.integers(8, 60))
def test_a_pair_never_looks_less_suspect_with_more_hits(rate, more, n):
    def anomaly(small):
        return standing_of_pairs(counted({(9, 4): (min(small, 1.0), 1.0)}, n=n)).by_target[4]

    assert anomaly(rate + more) >= anomaly(rate) - 1e-12


def judged(pairs):
    labels = [f"c{t}" for t in range(K)]
    evidence = Evidence((curves([3.0] * K),), quiet(K), pairs)
    return decide(evidence, labels, [["a.png"]] * K, 3072)


def test_the_verdict_names_target_and_source():
    verdict = judged(counted({(9, 4): (1.0, 1.0)}))
    assert verdict.name == "backdoored"
    assert verdict.target_classes == (4,)
    assert verdict.classes[4].found_by == "pairs"
    assert verdict.anomaly >= BACKDOORED
    assert verdict.anomaly == pytest.approx(standing_of_pairs(counted({(9, 4): (1.0, 1.0)})).by_target[4])
    assert (
        "Images of class 9 (c9) alone: 9 replaced pixels move 26 of 26 held-out images to class 4 (c4)"
        in (verdict.reasons[0])
    )
    assert [(p.source, p.target) for p in verdict.pairs.flagged] == [(9, 4)]


def test_without_such_a_pair_the_other_kinds_decide():
    verdict = judged(counted(NATURAL))
    assert verdict.name == "clean"
    assert verdict.anomaly < SUSPICIOUS / 2
    assert judged(None).pairs is None
    assert not verdict.pairs.flagged


def test_sources_without_images_are_told():
    assert any("not searched from 8 of 10 classes" in reason for reason in judged(counted({}, sources=[1, 2])).reasons)
    assert math.isfinite(judged(counted({}, sources=[])).anomaly)
