from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.posture import Standing
from smoothscan.verdict.discoveries import discoveries, q_values, with_q_values

probabilities = st.floats(0, 1)
sweeps = st.lists(st.none() | probabilities, max_size=40)


def standing(p: float | None, verdict: str | None = "clean") -> Standing:
    return Standing(name="m", version="1", uri="models:/m/1", action="scanned", verdict=verdict, p_value=p)


def test_a_hand_computed_sweep() -> None:
    # sorted: 0.01, 0.02, 0.04, 0.04, 0.5; times 5 / rank: 0.05, 0.05, 0.0667, 0.05, 0.5; smallest from there on
    assert q_values([0.04, None, 0.5, 0.01, None, 0.04, 0.02]) == [
        pytest.approx(0.05),
        None,
        0.5,
        pytest.approx(0.05),
        None,
        pytest.approx(0.05),
        pytest.approx(0.05),
    ]


def test_one_model_none_and_hopeless_ones() -> None:
    assert q_values([]) == []
    assert q_values([None, None]) == [None, None]
    assert q_values([0.03]) == [0.03]
    assert q_values([1.0, 1.0, 1.0]) == [1, 1, 1]


@given(sweeps)
def test_models_without_a_p_value_stay_without_and_change_nothing(p: list[float | None]) -> None:
    q = q_values(p)
    assert [value is None for value in q] == [value is None for value in p]
    assert [value for value in q if value is not None] == q_values([value for value in p if value is not None])


@given(sweeps)
def test_q_values_lie_between_the_p_value_and_one_and_keep_its_order(p: list[float | None]) -> None:
    both = sorted((one, of_it) for one, of_it in zip(p, q_values(p), strict=True) if one is not None)
    assert all(one <= of_it * (1 + 1e-12) and of_it <= 1 for one, of_it in both)
    ranked = [of_it for _, of_it in both]
    assert ranked == sorted(ranked)


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=40), st.floats(0.01, 0.5))
def test_taking_all_below_a_rate_is_the_step_up_procedure(p: list[float], rate: float) -> None:
    """Benjamini & Hochberg 1995: take the k smallest, k the largest rank with p_(k) <= k rate / M."""
    ordered = sorted(p)
    margins = [one * len(p) / rank for rank, one in enumerate(ordered, 1)]
    if min(abs(margin - rate) for margin in margins) < 1e-12:
        return  # too close to call in floating point
    k = max((rank for rank, margin in enumerate(margins, 1) if margin <= rate), default=0)
    q = q_values(p)
    assert sorted(one for one, of_it in zip(p, q, strict=True) if of_it is not None and of_it <= rate) == ordered[:k]
    found = discoveries([standing(one) for one in p], rate)
    assert found is not None
    assert (found.tested, found.discoveries) == (len(p), k)


def test_the_record_of_a_sweep() -> None:
    models = [
        standing(0.001, "backdoored"),
        standing(0.004, "suspicious"),
        standing(0.3),
        standing(0.9),
        standing(None, None),
    ]
    found = discoveries(models)
    assert found is not None
    assert (found.alpha, found.tested, found.discoveries, found.flagged) == (0.05, 4, 2, 2)
    # q of the second: 0.004 * 4 / 2
    assert found.expected_false == pytest.approx(2 * 0.008)
    assert [model.q_value for model in with_q_values(models)] == [
        pytest.approx(q) if q is not None else None for q in (0.004, 0.008, 0.4, 0.9, None)
    ]


def test_false_alarms_are_not_guessed_where_a_flagged_model_has_no_p_value() -> None:
    found = discoveries([standing(0.001, "backdoored"), standing(None, "backdoored"), standing(0.4)])
    assert found is not None
    assert (found.tested, found.flagged, found.discoveries, found.expected_false) == (2, 2, 1, None)


def test_nothing_flagged_and_nothing_tested() -> None:
    found = discoveries([standing(0.4), standing(0.6)])
    assert found is not None
    assert (found.flagged, found.discoveries, found.expected_false) == (0, 0, None)
    assert discoveries([standing(None, None), standing(None, "inconclusive")]) is None
    assert discoveries([]) is None


def test_loads_neither_torch_nor_mlflow() -> None:
    code = "import smoothscan.verdict.discoveries, sys; print([m for m in ('torch', 'mlflow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
