"""A null learnt from clean models, and what it says about another model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from smoothscan.result import Record
from smoothscan.verdict.budget import Floats

ALPHA = 0.01
"""Conformal p-value at which a model is suspicious whatever the size of its anomaly."""


class CleanModel(Record):
    """One clean model of a calibration."""

    uri: str
    """The model as it was scanned."""
    digest: str | None
    """SHA-256 over its files."""
    anomaly: float
    """Its anomaly R, the maximum over everything that the scan looked at."""


class Calibration(Record):
    """The anomalies of clean models under one set of settings."""

    settings: dict[str, str] = Field(default_factory=dict)
    """Settings that an anomaly depends on; a scan under others cannot be compared."""
    models: tuple[CleanModel, ...]
    """The clean models."""

    def p_value(self, anomaly: float) -> float:
        """Return the conformal p-value: the chance that a further clean model is as anomalous, in (0, 1]."""
        return (1 + sum(model.anomaly >= anomaly for model in self.models)) / (1 + len(self.models))

    @property
    def smallest_p(self) -> float:
        """The smallest p-value that so many models allow."""
        return 1 / (1 + len(self.models))


def false_discovery_rates(p_values: Sequence[float]) -> Floats:
    """Return the q-value of each model of a sweep, [M], in [0, 1] (Benjamini & Hochberg 1995).

    Flagging all models with q <= a keeps the expected share of clean ones among the flagged at or below a.

    Args:
        p_values: one for each model, [M], in (0, 1].
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    steps = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty(len(p))
    q[order] = np.minimum.accumulate(steps[::-1])[::-1].clip(max=1)
    return q
