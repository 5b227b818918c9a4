"""A null learnt from clean models, and what it says about another model."""

from __future__ import annotations

from pydantic import Field

from smoothscan.result import Record

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
