"""The file of a calibration: JSON that `smoothscan calibrate` writes and `check --calibration` reads."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from smoothscan._version import __version__
from smoothscan.config import PROFILES, ScanConfig
from smoothscan.errors import ConfigError
from smoothscan.sources.versioned_json import read_versioned
from smoothscan.verdict.calibration import Calibration

SCHEMA_VERSION = "1.0"
"""Version of the format; the first number changes when a field changes its meaning."""

_MAKE = "Make one: smoothscan calibrate --clean URI... --images DIR --output FILE."


def settings_of(config: ScanConfig) -> dict[str, str]:
    """Return what an anomaly depends on apart from the model and the images, in words.

    The version of smoothscan stands for the statistic: an anomaly of another version may mean something else.
    """
    profile = PROFILES[config.profile].model_dump_json()
    return {
        "smoothscan": __version__,
        "profile": f"{config.profile} ({hashlib.sha256(profile.encode()).hexdigest()[:8]})",
        "spaces": "the profile's" if config.spaces is None else ", ".join(config.search().spaces),
        "pairs": "searched" if config.pairs else "not searched",
        "sigma": "the profile's" if config.sigma is None else str(config.sigma),
        "denoiser": "none" if config.denoiser is None else f"{config.denoiser} ({config.denoising})",
        "synthesis_images": str(config.synthesis_images),
    }


def differences(calibration: Calibration, config: ScanConfig) -> str:
    """Return which settings of a calibration are not those of a scan, in words; empty if all agree."""
    there, here = calibration.settings, settings_of(config)
    return "; ".join(
        f"{name} is {there.get(name, 'not recorded')} there and {value} here"
        for name, value in here.items()
        if there.get(name) != value
    )


def calibration_for(config: ScanConfig) -> Calibration | None:
    """Return the calibration that a scan is judged by; None if it names none.

    Raises:
        ConfigError: the file cannot be read, or was made under settings that its anomalies cannot be compared under.
    """
    if config.calibration is None:
        return None
    calibration = read_calibration(config.calibration)
    if different := differences(calibration, config):
        raise ConfigError(
            f"The calibration {config.calibration} was made with other settings than this scan: {different}.",
            "Scan with the calibration's settings, or run smoothscan calibrate again with the scan's, into a new file.",
        )
    return calibration


def read_calibration(path: Path) -> Calibration:
    """Read a calibration.

    Raises:
        ConfigError: there is no such file, it is no calibration, or one of another version of the format.
    """
    what = "The calibration file"
    calibration = read_versioned(
        path,
        Calibration,
        SCHEMA_VERSION,
        what=what,
        kind="calibration",
        needed=_MAKE,
        outdated="Use the smoothscan that made it, or run smoothscan calibrate again, into a new file.",
    )
    if not calibration.models:
        raise ConfigError(f"{what} {path} holds no clean models.", _MAKE)
    return calibration


def to_json(calibration: Calibration) -> bytes:
    """Return a calibration as the bytes of its file, with the time and the version of the format."""
    header = {"schema_version": SCHEMA_VERSION, "created_at": datetime.now(UTC).isoformat(timespec="seconds")}
    text = json.dumps(header | calibration.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8", "replace")
