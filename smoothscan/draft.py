"""What is known of a scan while it runs; becomes a ScanResult whichever way the scan ends."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from smoothscan._version import __version__
from smoothscan.config import ScanConfig
from smoothscan.errors import InconclusiveError, SmoothscanError
from smoothscan.meter import Meter
from smoothscan.result import Cost, Coverage, DenoiserInfo, ErrorInfo, InputSpec, ModelInfo, SafetyReport, ScanResult
from smoothscan.sandbox.limits import peak_rss
from smoothscan.stored import DiffusionFiles
from smoothscan.verdict.calibration import Calibration
from smoothscan.verdict.decision import Verdict

_NOT_OF_THE_SCAN = {
    "uri",
    "images",
    "calibration",
    "denoiser",
    "output_dir",
    "formats",
    "fail_on",
    "waivers",
    "baseline",
    "sarif_anchor",
    "attest",
    "attest_key",
    "set_alias",
    "tracking_uri",
    "registry_uri",
    "write_back",
    "redact_images",
    "threads",
    "time_limit",
    "time_budget",
    "cache",
    "cache_dir",
}
"""Settings that change where a scan reads and writes or how fast it is, not what it finds. What lies at the paths that
it reads counts by its content."""


@dataclass
class Draft:
    """Collects the parts of a result as they become known."""

    config: ScanConfig
    """What was asked for."""
    model: ModelInfo
    """The model, as far as it is pinned."""
    images_digest: str
    """Digest of the image files."""
    calibration: Calibration | None = None
    """Anomalies of clean models to judge it by, if there are any."""
    denoiser: DiffusionFiles | None = None
    """The diffusion model that denoises, if there is one."""
    started: float = field(default_factory=time.monotonic)
    """Start, on the monotonic clock."""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """Start, on the wall clock."""
    input_spec: InputSpec | None = None
    """How images are handed to the model."""
    safety: SafetyReport = field(default_factory=SafetyReport)
    """What was seen in the files."""
    coverage: Coverage = field(default_factory=Coverage)
    """How much was examined."""
    meter: Meter = field(default_factory=Meter)
    """What the classifier was asked."""
    device: str = "cpu"
    """Torch device of the model."""
    precision: str = ""
    """Arithmetic of the model."""
    host_peak: int = 0
    """Peak resident memory of the model host in bytes."""

    def judged(self, verdict: Verdict) -> ScanResult:
        """Return the result of a scan that came to a verdict."""
        return ScanResult(
            status="completed",
            verdict=verdict.name,
            score=verdict.score,
            anomaly=verdict.anomaly,
            p_value=verdict.p_value,
            calibration=verdict.calibration,
            target_classes=verdict.target_classes,
            space=verdict.space,
            spaces=verdict.spaces,
            suspicions=verdict.suspicions,
            pairs=verdict.pairs,
            obstacles=verdict.obstacles,
            classes=verdict.classes,
            reasons=(*verdict.reasons, *self._judged_by_itself()),
            noise_probe=verdict.noise_probe,
            **self._common(),
        )

    def recalled(self, result: ScanResult) -> ScanResult:
        """Return the result of the same scan, done before, with what may differ: names, and how images are read."""
        spec = None if self.input_spec is None or result.input_spec is None else result.input_spec.outputs
        process = result.safety.model_dump(include={"model_code_executed", "sandboxed", "isolation"})
        return result.model_copy(
            update={
                "recalled": True,
                "model": self.model,
                "config": self.config.model_dump(mode="json"),
                "safety": self.safety.model_copy(update=process),  # the files were looked at again
                "coverage": result.coverage.model_copy(update={"images_skipped": self.coverage.images_skipped}),
                "input_spec": self.input_spec and self.input_spec.model_copy(update={"outputs": spec}),
            }
        )

    def ended_by(self, error: SmoothscanError) -> ScanResult:
        """Return the result of a scan that could not come to a verdict."""
        return ScanResult(
            status=error.status,
            verdict="inconclusive" if isinstance(error, InconclusiveError) else None,
            reasons=(error.message,),
            error=ErrorInfo(type=type(error).__name__, message=error.message, hint=error.hint),
            **self._common(),
        )

    def _judged_by_itself(self) -> tuple[str, ...]:
        """A model that the calibration was made from is no further clean model, as its p-value assumes."""
        if self.calibration is None or self.model.digest not in {model.digest for model in self.calibration.models}:
            return ()
        return ("This model is one of the calibration's clean models, so the p-value against them says nothing.",)

    def _common(self) -> dict[str, Any]:
        config = self.config.model_dump(mode="json")
        return {
            "model": self.model,
            "coverage": self.coverage,
            "denoiser": self.denoiser and DenoiserInfo(uri=self.denoiser.uri, digest=self.denoiser.digest),
            "input_spec": self.input_spec,
            "safety": self.safety,
            "config": config,
            "config_digest": self.config_digest(),
            "environment": environment(self.precision),
            "cost": Cost(
                model_passes=self.meter.passes,
                denoiser_passes=self.meter.denoiser_passes,
                seconds=time.monotonic() - self.started,
                peak_rss_bytes=self.host_peak + own_peak_rss(),
                device=self.device,
                host_seconds=self.meter.host_seconds,
                exchange_seconds=self.meter.total_seconds - self.meter.host_seconds,
            ),
            "started_at": self.started_at.isoformat(timespec="seconds"),
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def config_digest(self) -> str:
        """Return the digest of everything that the scan depends on apart from the model."""
        return config_digest(self.config, self.images_digest, self.calibration, self.denoiser)


def config_digest(
    config: ScanConfig, images_digest: str, calibration: Calibration | None, denoiser: DiffusionFiles | None
) -> str:
    """Return the digest of everything that a scan depends on apart from the model.

    Args:
        config: what to scan, and how.
        images_digest: digest of the image files.
        calibration: the calibration that `config` names.
        denoiser: the denoiser that `config` names; None also for one that was not fetched.
    """
    settings = config.model_dump(mode="json")
    parts = {
        "config": {key: value for key, value in settings.items() if key not in _NOT_OF_THE_SCAN},
        "profile": config.search().model_dump(mode="json"),
        "images": images_digest,
        "calibration": None if calibration is None else calibration.model_dump(mode="json"),
        "denoiser": None if denoiser is None else denoiser.digest,
        "version": __version__,
    }
    return "sha256:" + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def environment(precision: str) -> dict[str, str]:
    """Return versions and machine, in words."""
    versions = {name: metadata.version(name) for name in ("torch", "mlflow", "numpy")}
    return {
        "smoothscan": __version__,
        "python": platform.python_version(),
        **versions,
        "platform": platform.platform(),
        **({"precision": precision} if precision else {}),
    }


def own_peak_rss() -> int:
    """Return the peak resident memory of this process in bytes."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_rss(os.getpid())
