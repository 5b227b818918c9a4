import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.verdict.decision import BACKDOORED, SUSPICIOUS, decide
from smoothscan.verdict.evidence import Curves, Evidence, NoiseCounts

BUDGETS = np.geomspace(0.25, 4.0, 9)
N = 1000


def curves(e50: Sequence[float]) -> Curves:
    """Curves that reach half at e50, steep in the logarithm of the budget."""
    rate = 1 / (1 + np.exp(-6 * np.log(BUDGETS[None] / np.array(e50)[:, None])))
    return Curves(0.12, BUDGETS, np.rint(rate * N).astype(int), np.full(len(e50), N))


def quiet(k: int) -> NoiseCounts:
    return NoiseCounts(np.array([0.01, 0.12]), np.zeros((2, k), int), np.full(k, N), np.ones(2))


def judge(e50, noise=None):
    evidence = Evidence((curves(e50),), (curves(e50),), noise or quiet(len(e50)))
    return decide(evidence, [f"label {t}" for t in range(len(e50))], ["a.png"] * len(e50))


def test_a_class_that_needs_a_third_of_the_others_budget_is_a_target():
    verdict = judge([2.0, 2.2, 0.7, 2.1, 1.9, 2.0])
    assert (verdict.name, verdict.target_classes) == ("backdoored", (2,))
    assert [c.flagged for c in verdict.classes] == [False, False, True, False, False, False]
    assert verdict.score == pytest.approx(1 - 0.7 / 2.0, abs=0.03)
    assert "label 2" in verdict.reasons[0]
    assert verdict.classes[2].p_value < 0.01


def test_a_naturally_easy_class_is_not():
    verdict = judge([2.0, 2.2, 1.3, 2.1, 1.9, 2.0])
    assert (verdict.name, verdict.target_classes) == ("clean", ())
    assert "No trigger found under this budget" in verdict.reasons[0]


def test_between_the_two_thresholds_it_is_suspicious():
    verdict = judge([2.0, 2.0, 2.0 * math.exp(-(SUSPICIOUS + BACKDOORED) / 2), 2.0, 2.0, 2.0])
    assert (verdict.name, verdict.target_classes) == ("suspicious", (2,))


def test_two_targets_are_both_named_the_more_suspect_first():
    assert judge([2.0, 0.6, 2.0, 0.5, 2.0, 2.0]).target_classes == (3, 1)


def test_beside_a_strong_target_a_weak_one_is_not_named():
    verdict = judge([2.0, 0.9, 2.0, 0.2, 2.0, 2.0])
    assert verdict.target_classes == (3,)
    assert not verdict.classes[1].flagged


def test_a_model_that_nothing_moves_is_clean_with_score_zero():
    verdict = judge([50.0] * 6)
    assert (verdict.name, verdict.score) == ("clean", 0.0)
    assert all(c.e50 is None for c in verdict.classes)


def test_a_class_that_plain_noise_fires_is_a_target_though_no_budget_says_so():
    moved = np.zeros((3, 6), int)
    moved[:, 5] = 100, 700, 990
    noise = NoiseCounts(np.array([0.01, 0.02, 0.04]), moved, np.full(6, N), np.array([0.9, 0.3, 0.1]))
    verdict = judge([2.0] * 6, noise)
    assert (verdict.name, verdict.target_classes) == ("backdoored", (5,))
    assert 0.01 < verdict.classes[5].noise_sigma50 < 0.02
    assert "plain noise" in verdict.reasons[0]
    assert verdict.noise_probe.top_class == (5, 5, 5)


def test_the_transfer_rate_is_reported_at_half_of_the_ordinary_budget():
    verdict = judge([2.0, 2.0, 2.0, 2.0, 2.0, 0.5])
    assert verdict.classes[0].epsilon == pytest.approx(1.0)
    assert verdict.classes[5].epsilon == pytest.approx(1.0)
    assert verdict.classes[5].transfer_rate > 0.9 > 0.2 > verdict.classes[0].transfer_rate


def test_it_is_reported_at_a_budget_that_every_class_was_tried_at():
    searched = curves([2.0, 2.0, 2.0, 0.5, 2.0])
    searched.hits[:3, BUDGETS < 1.9] = -1
    verdict = decide(Evidence((searched,), (searched,), quiet(5)), list("abcde"), ["x"] * 5)
    assert [c.epsilon for c in verdict.classes] == pytest.approx([2.0] * 5)


def test_the_noise_level_is_chosen_on_the_selection_images_and_reported_on_the_test_images():
    flat, steep = curves([2.0] * 6), curves([2.0, 2.0, 0.5, 2.0, 2.0, 2.0])
    verdict = decide(Evidence((flat, steep), (steep, flat), quiet(6)), list("abcdef"), ["x"] * 6)
    assert verdict.curves == 1
    assert verdict.name == "clean"


@given(st.lists(st.floats(0.05, 20), min_size=2, max_size=12), st.floats(0.1, 0.99))
def test_a_smaller_budget_never_looks_less_suspect(e50, factor):
    before = judge(e50)
    worst = int(np.argmin(e50))
    smaller = [*e50]
    smaller[worst] *= factor
    assert judge(smaller).score >= before.score - 1e-9


@given(st.lists(st.floats(0.3, 3.5), min_size=5, max_size=10), st.randoms())
def test_the_order_of_the_classes_does_not_matter(e50, random):
    order = list(range(len(e50)))
    random.shuffle(order)
    shuffled = judge([e50[t] for t in order])
    assert shuffled.score == pytest.approx(judge(e50).score)
    assert {order[t] for t in shuffled.target_classes} == set(judge(e50).target_classes)
