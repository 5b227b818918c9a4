"""Finds backdoors in image classifiers of an MLflow registry, from a single clean image.

    import smoothscan

    result = smoothscan.scan("models:/traffic-signs@candidate", "clean-images/")
    if result.verdict != "clean":
        print(result.verdict, result.target_classes, result.reasons)

Importing this package is cheap: torch and MLflow are loaded by the first scan.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smoothscan._version import __version__

if TYPE_CHECKING:
    from smoothscan.config import InputConfig, ScanConfig
    from smoothscan.errors import SmoothscanError, UsageError
    from smoothscan.events import Events
    from smoothscan.result import ScanResult
    from smoothscan.verdict.decision import Verdict

__all__ = [
    "Events",
    "InputConfig",
    "ScanConfig",
    "ScanResult",
    "SmoothscanError",
    "UsageError",
    "Verdict",
    "__version__",
    "check",
    "scan",
]

_HOMES = {
    "Events": "smoothscan.events",
    "InputConfig": "smoothscan.config",
    "ScanConfig": "smoothscan.config",
    "ScanResult": "smoothscan.result",
    "SmoothscanError": "smoothscan.errors",
    "UsageError": "smoothscan.errors",
    "Verdict": "smoothscan.verdict.decision",
}


def scan(uri: str, images: str | Path, *, events: Events | None = None, **options: Any) -> ScanResult:
    """Scan one model of an MLflow registry, or of a local folder.

    Nothing is written to disk or to the registry; `check` writes reports, and the command `smoothscan check` both.

    Args:
        uri: `models:/name/3`, `models:/name@alias`, `models:/name/latest`, `models:/m-<id>`, `runs:/...` or a folder.
        images: folder of clean images; labels are not needed.
        events: told how far the scan is.
        options: further fields of ScanConfig, such as `seed` or `allow_model_code`.

    Returns:
        The result. A scan that failed, was refused or is inconclusive is a result too; see `status` and `verdict`.

    Raises:
        UsageError: the image folder or the calibration cannot be used.
        pydantic.ValidationError: an option is wrong.
    """
    from smoothscan.config import ScanConfig
    from smoothscan.events import Silent
    from smoothscan.pipeline import scan as run

    result, _ = run(ScanConfig(uri=uri, images=Path(images), **options), events or Silent())
    return result


def check(
    uri: str, images: str | Path, output_dir: str | Path, *, events: Events | None = None, **options: Any
) -> ScanResult:
    """Scan one model, judge it as a gate does, and write the reports into a folder.

    The registry is not written to unless `write_back` or `set_alias` ask for it.

    Args:
        uri: which model, as in `scan`.
        images: folder of clean images; labels are not needed.
        output_dir: folder of the results; made if it does not exist.
        events: told how far the scan is.
        options: further fields of ScanConfig, such as `seed` or `fail_on`.

    Returns:
        The result as it was written; `gate` says whether the model may pass.

    Raises:
        UsageError: the image folder or the calibration cannot be used, or the results cannot be written.
        pydantic.ValidationError: an option is wrong.
    """
    from smoothscan.checking import check as run
    from smoothscan.config import ScanConfig
    from smoothscan.events import Silent
    from smoothscan.publish import Provenance

    given = {"uri": uri, "images": Path(images), "output_dir": Path(output_dir)}
    config = ScanConfig(**{"write_back": False, **options, **given})
    return run(config, events or Silent(), Provenance())


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
