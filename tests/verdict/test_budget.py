import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from smoothscan.verdict.budget import (
    binomial_interval,
    crossing,
    half_budgets,
    lower_bounds,
    most_targets,
    ordinary,
    standing,
)
from smoothscan.verdict.evidence import Curves

REST = (np.zeros(2, int), np.zeros(2, int), np.zeros(2), np.ones(2))


def counted(epsilons, hits, n_images):
    k = len(n_images)
    return Curves(
        "l2",
        0.5,
        0.1,
        np.array(epsilons),
        np.arange(k),
        np.ones(k, bool),
        np.array(hits)[None],
        np.array(n_images)[None],
        *(np.zeros(k, int),) * 2,
        np.zeros(k),
        np.ones(k),
    )


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
    curves = counted([1.0, 2.0], [[5, -1], [5, 18]], [10, 20])
    assert half_budgets(curves) == pytest.approx([1.0, 2 ** (0.25 / 0.65)])


def test_a_class_that_never_transferred_counts_as_transferring_at_its_largest_budget():
    hits = np.array([[1, 9, -1], [1, 2, -1], [-1, 2, 3]])
    curves = counted([1.0, 2.0, 4.0], hits, [10, 10, 10])
    assert lower_bounds(curves) == pytest.approx([2**0.5, 2.0, 4.0])


def test_the_easiest_classes_lie_apart_where_the_gap_is_widest():
    apart, reference = ordinary(np.log([0.5, 2.0, 2.1, 0.6, 2.2, 2.3, 2.4, 2.5]))
    assert apart.tolist() == [True, False, False, True, *[False] * 4]
    expected = math.sqrt(np.median([2.0, 2.1, 2.2, 2.3, 2.4, 2.5]) * 2.0)
    assert np.exp(reference)[[0, 3]] == pytest.approx([expected] * 2, rel=1e-3)


def test_an_ordinary_class_is_compared_with_the_other_ordinary_ones():
    _, reference = ordinary(np.log([0.5, 1.0, 2.0, 4.0, 8.0]))
    assert np.exp(reference)[1] == pytest.approx(math.sqrt(4.0 * 2.0))


def test_the_median_is_that_of_the_classes_drawn_at_random_the_smallest_that_of_all_ordinary_ones():
    e50 = [0.5, 1.5, 1.6, 2.0, 3.0, 4.0, 5.0]
    apart, reference = ordinary(np.log(e50), np.array([True, False, False, True, True, True, True]))
    assert apart.tolist() == [True, *[False] * 6]
    assert np.exp(reference)[0] == pytest.approx(math.sqrt(math.sqrt(3.0 * 4.0) * 1.5))
    # a class is not compared with itself: neither as one of those drawn, nor as the smallest
    assert np.exp(reference)[1] == pytest.approx(math.sqrt(math.sqrt(3.0 * 4.0) * 1.6))
    assert np.exp(reference)[3] == pytest.approx(math.sqrt(4.0 * 1.5))


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=12))
def test_where_all_classes_were_searched_all_of_them_count(log_e50):
    everything = ordinary(np.array(log_e50), np.ones(len(log_e50), bool))
    for one, other in zip(everything, ordinary(np.array(log_e50)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_more_than_a_quarter_of_the_classes_lie_apart():
    spaced = np.log([0.5, 0.51, 0.52, 2.0, *[2.1] * 6])
    assert ordinary(spaced)[0].sum() <= most_targets(10) == 2
    assert most_targets(1000) == 5


def test_the_anomaly_is_the_logarithm_of_the_share_of_the_reference_that_a_class_needs():
    stands = standing(counted([1.0, 2.0, 4.0], [[5, -1, -1], [0, 0, 10], [0, 0, 10], [0, 0, 10]], [10] * 4))
    assert stands.reference[0] == pytest.approx(2.0 * 2.0**0.5)
    assert stands.anomaly[0] == pytest.approx(math.log(2.0 * 2.0**0.5))
    assert stands.apart.tolist() == [True, False, False, False]


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12, unique_by=lambda v: round(v, 3)), st.integers(-3, 3))
def test_the_unit_of_the_budget_does_not_matter(log_e50, shift):
    values = np.round(log_e50, 3)  # where gaps are as good as equal, rounding decides which is the widest
    apart, reference = ordinary(values)
    assert 1 <= apart.sum() < max(len(values), 2)
    np.testing.assert_allclose(ordinary(values + shift)[1], reference + shift, atol=1e-9)


def test_a_class_that_never_transferred_has_an_anomaly_by_how_close_it_came():
    closer, further = standing(counted([1.0, 2.0], [[1, 4], [1, 2], [0, 0], [0, 0]], [10] * 4)).anomaly[:2]
    assert further < closer < 0


def test_folds_add_up_and_fold_and_others_divide_them():
    both = Curves(
        "l2",
        0.5,
        0.1,
        np.array([1.0, 2.0]),
        np.arange(2),
        np.ones(2, bool),
        np.array([[[1, -1], [2, 3]], [[4, -1], [5, 6]]]),
        np.array([[10, 20], [30, 40]]),
        *REST,
    )
    assert both.pooled.hits.tolist() == [[[5, -1], [7, 9]]]
    assert both.fold(1).hits.tolist() == both.others(0).hits.tolist() == [[[4, -1], [5, 6]]]
    assert both.others(1).n_images.tolist() == [[10, 20]]
    assert both.rates.tolist() == [[5 / 40, -1], [7 / 60, 9 / 60]]


@given(st.integers(0, 200), st.integers(1, 200))
def test_the_interval_is_clopper_and_pearsons(hits, n):
    hits = min(hits, n)
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    assert binomial_interval(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_of_equal_gaps_the_first_counts_whatever_rounding_makes_of_them():
    log_e50 = np.array([0.0, 1.0, 0.5, 0.75, 0.875, -0.685546875, -0.349609375, -0.013671875])
    apart, reference = ordinary(log_e50)
    moved_apart, moved = ordinary(np.log(np.exp(log_e50) * np.exp(-1.0)))
    assert apart.tolist() == moved_apart.tolist()
    np.testing.assert_allclose(moved, reference - 1, atol=1e-9)
