"""What asking a classifier costs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Meter:
    """What a classifier was asked so far."""

    passes: float = 0.0
    """Images through forward and backward; a forward alone counts 1/3."""
    denoiser_passes: float = 0.0
    """Images through forward and backward of the denoiser; a forward alone counts 1/3."""
    host_seconds: float = 0.0
    """Time spent computing in the model host."""
    total_seconds: float = 0.0
    """Time from question to answer, the exchange included."""
