import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from smoothscan.verdict.budget import ordinary
from smoothscan.verdict.null import DRAWS, MIN_CLASSES, USUAL_SPREAD, USUAL_WEIGHT, p_values


def chances(e50):
    log_e50 = np.log(e50)
    return p_values(log_e50, ordinary(log_e50)[1] - log_e50)


def test_a_class_far_below_the_others_is_improbable_and_the_others_are_not():
    p = chances([0.8, 2.4, 2.6, 2.2, 2.5, 2.7, 2.3, 2.5])
    assert p[0] < 0.02
    assert (p[1:] > 0.5).all()
    assert p.min() >= 1 / (DRAWS + 1)


def test_two_targets_do_not_hide_each_other():
    p = chances([0.5, 0.55, *[2.0] * 4, 2.2, 2.4, 1.9, 1.8])
    assert p[:2].max() < 0.02


def test_with_few_classes_there_is_no_null():
    assert chances([2.0] * (MIN_CLASSES - 1)) is None


@pytest.mark.parametrize("k", [10, 100, 1000])
def test_under_the_null_the_smallest_p_value_is_uniform(k):
    rng = np.random.default_rng(0)
    smallest = []
    for _ in range(400):
        spread = USUAL_SPREAD * np.sqrt(USUAL_WEIGHT / rng.chisquare(USUAL_WEIGHT))
        smallest.append(chances(np.exp(rng.normal(0, spread, k))).min())
    assert stats.kstest(smallest, "uniform").pvalue > 0.01


def test_under_the_null_it_is_uniform_also_where_a_screening_chose_the_easiest_classes():
    rng, drawn, ahead = np.random.default_rng(0), 10, 6
    sampled = np.arange(drawn + ahead) < drawn
    smallest = []
    for _ in range(400):
        every = rng.normal(0, USUAL_SPREAD * np.sqrt(USUAL_WEIGHT / rng.chisquare(USUAL_WEIGHT)), 1000)
        log_e50 = np.concatenate([every[:drawn], np.sort(every[drawn:])[:ahead]])
        anomaly = ordinary(log_e50, sampled)[1] - log_e50
        smallest.append(p_values(log_e50, anomaly, sampled, 1000).min())
    assert stats.kstest(smallest, "uniform").pvalue > 0.01


@given(st.lists(st.integers(50, 400), min_size=MIN_CLASSES, max_size=20, unique=True), st.floats(0.01, 100))
def test_the_unit_of_the_budget_does_not_matter(hundredths, factor):
    e50 = np.array(hundredths) / 100  # of classes as good as equal, rounding decides which comes first
    np.testing.assert_allclose(chances(e50 * factor), chances(e50), atol=2 / DRAWS)


@given(st.lists(st.floats(0.5, 4), min_size=MIN_CLASSES, max_size=20))
def test_a_more_anomalous_class_is_never_more_probable(e50):
    log_e50 = np.log(e50)
    anomaly = ordinary(log_e50)[1] - log_e50
    p = p_values(log_e50, anomaly)
    assert (np.diff(p[np.argsort(anomaly)]) <= 0).all()
