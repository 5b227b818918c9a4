from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.verdict.calibration import Calibration, CleanModel

anomalies = st.floats(-3, 3, allow_nan=False)


def learnt_from(values: list[float]) -> Calibration:
    return Calibration(models=tuple(CleanModel(uri=str(i), digest=None, anomaly=a) for i, a in enumerate(values)))


# --- the conformal p-value -------------------------------------------------------------------------------------------


def test_it_counts_the_clean_models_that_are_at_least_as_anomalous() -> None:
    clean = learnt_from([0.1, 0.2, 0.2, 0.5])
    assert clean.p_value(0.6) == clean.smallest_p == 1 / 5
    assert clean.p_value(0.5) == 2 / 5
    assert clean.p_value(0.2) == 4 / 5, "a tie counts against the model"
    assert clean.p_value(-1) == 1


@given(st.lists(anomalies, min_size=1, max_size=30), anomalies, anomalies)
def test_it_is_a_chance_and_falls_with_the_anomaly(clean: list[float], one: float, other: float) -> None:
    learnt = learnt_from(clean)
    assert learnt.smallest_p <= learnt.p_value(one) <= 1
    assert learnt.smallest_p == 1 / (1 + len(clean))
    if one <= other:
        assert learnt.p_value(one) >= learnt.p_value(other)


@given(st.lists(anomalies, min_size=2, max_size=30))
def test_each_of_exchangeable_models_in_turn_has_a_small_p_value_as_seldom_as_it_says(values: list[float]) -> None:
    """The guarantee, exactly: whichever of n models is the new one, at most n a of them have p <= a, ties or not."""
    n = len(values)
    p = [
        round(Fraction(learnt_from(values[:i] + values[i + 1 :]).p_value(values[i])).limit_denominator(n) * n)
        for i in range(n)
    ]
    for rank in range(1, n + 1):
        assert sum(one <= rank for one in p) <= rank
    if len(set(values)) == n:
        assert sorted(p) == list(range(1, n + 1)), "without ties it is uniform"


def test_it_is_uniform_for_further_clean_models() -> None:
    """Clean models with the same distribution, whatever it is: here one with a long tail."""
    rng = np.random.default_rng(0)
    draws = rng.lognormal(-1, 1, (4000, 20))
    p = [learnt_from(row[1:].tolist()).p_value(row[0]) for row in draws]
    counts = np.bincount(np.rint(np.array(p) * 20).astype(int), minlength=21)[1:]
    assert counts.sum() == 4000
    # chi-squared with 19 degrees of freedom exceeds 43.8 once in a thousand
    assert ((counts - 200) ** 2 / 200).sum() < 43.8
