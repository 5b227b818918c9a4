"""How many of the models that a sweep flags to expect to be false alarms (Benjamini & Hochberg 1995)."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import false_discovery_control

from smoothscan.posture import Discoveries, Standing

FALSE_DISCOVERY_RATE = 0.05
"""Share of false alarms among the discoveries that a sweep asks for."""


def q_values(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the q-value of each model: the smallest false discovery rate at which it counts as a discovery.

    Taking all models with q <= a keeps the expected share of clean ones among them at or below a, if the p-values
    hold. Models without a p-value have no q-value and do not count among those that were tested.

    Args:
        p_values: one for each model, in [0, 1]; None where there is none.
    """
    tested = [p for p in p_values if p is not None]
    adjusted = iter(false_discovery_control(tested).tolist() if tested else [])
    return [None if p is None else next(adjusted) for p in p_values]


def with_q_values(models: Sequence[Standing]) -> tuple[Standing, ...]:
    """Return the models of one sweep, each with its q-value among them."""
    q = q_values([model.p_value for model in models])
    return tuple(model.model_copy(update={"q_value": value}) for model, value in zip(models, q, strict=True))


def discoveries(models: Sequence[Standing], alpha: float = FALSE_DISCOVERY_RATE) -> Discoveries | None:
    """Return what the p-values of a sweep say of its flagged models; None if no model has one.

    Args:
        models: the models of the sweep; their q-values need not be set.
        alpha: false discovery rate that is asked for.
    """
    judged = with_q_values(models)
    q = [model.q_value for model in judged if model.q_value is not None]
    if not q:
        return None
    of_flagged = [model.q_value for model in judged if model.verdict in ("suspicious", "backdoored")]
    known = [value for value in of_flagged if value is not None]
    whole = bool(known) and len(known) == len(of_flagged)
    return Discoveries(
        alpha=alpha,
        tested=len(q),
        discoveries=sum(value <= alpha for value in q),
        flagged=len(of_flagged),
        expected_false=max(known) * len(known) if whole else None,
    )
