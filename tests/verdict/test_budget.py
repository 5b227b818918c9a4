import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from smoothscan.verdict.budget import binomial_interval, crossing, half_budgets, lower_bounds, ordinary_budget, p_values
from smoothscan.verdict.evidence import Curves


def test_between_two_budgets_the_crossing_is_linear_in_the_logarithm():
    assert crossing(np.array([1.0, 4.0]), np.array([0.25, 0.75])) == pytest.approx(2.0)


def test_below_the_first_budget_the_curve_comes_from_zero():
    assert crossing(np.array([2.0, 4.0]), np.array([0.8, 0.9])) == pytest.approx(2.0 * 0.5 / 0.8)


def test_budgets_that_were_not_tried_are_skipped():
    assert crossing(np.array([1.0, 2.0, 4.0]), np.array([0.25, -1.0, 0.75])) == pytest.approx(2.0)


def test_a_curve_that_never_reaches_half_crosses_at_infinity():
    assert crossing(np.array([1.0, 2.0]), np.array([0.1, 0.49])) == math.inf


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_the_crossing_lies_between_the_budgets_around_it(rates):
    x = np.sqrt(2.0) ** np.arange(len(rates))
    found = crossing(x, np.array(rates))
    above = [budget for budget, rate in zip(x, rates, strict=True) if rate >= 0.5]
    if not above:
        assert found == math.inf
    else:
        before = max((budget for budget in x if budget < above[0]), default=0.0)
        assert before <= found <= above[0] * (1 + 1e-12)


def test_half_budgets_count_shares_of_the_images_outside_each_class():
    curves = Curves(0.1, np.array([1.0, 2.0]), np.array([[5, -1], [5, 18]]), np.array([10, 20]))
    assert half_budgets(curves) == pytest.approx([1.0, 2 ** (0.25 / 0.65)])


def test_a_class_that_never_transferred_counts_as_transferring_at_its_largest_budget():
    hits = np.array([[1, 9, -1], [1, 2, -1], [-1, 2, 3]])
    curves = Curves(0.1, np.array([1.0, 2.0, 4.0]), hits, np.array([10, 10, 10]))
    assert lower_bounds(curves) == pytest.approx([2**0.5, 2.0, 4.0])


def test_the_ordinary_budget_leaves_the_class_itself_out():
    assert ordinary_budget(np.array([1.0, 2.0, 4.0, 8.0])) == pytest.approx([4.0, 4.0, 2.0, 2.0])


def test_a_class_far_below_the_others_is_improbable_and_the_others_are_not():
    p = p_values(np.array([0.8, 2.4, 2.6, 2.2, 2.5, 2.7]))
    assert p is not None
    assert p[0] < 0.01
    assert (p[1:] > 0.5).all()


def test_with_few_classes_there_is_no_chance_to_compute():
    assert p_values(np.array([1.0, 2.0, 2.0, 2.0])) is None


def test_under_the_null_small_p_values_are_as_rare_as_they_say():
    rng = np.random.default_rng(0)
    smallest = [p_values(np.exp(rng.normal(0, 0.3, 10))).min() for _ in range(1000)]
    assert np.mean(np.array(smallest) < 0.05) < 0.08


@given(st.integers(0, 200), st.integers(1, 200))
def test_the_interval_is_clopper_and_pearsons(hits, n):
    hits = min(hits, n)
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    assert binomial_interval(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-9)
