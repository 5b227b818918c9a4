"""Finds backdoors in image classifiers of an MLflow registry, from a few clean images.

    import smoothscan

    result = smoothscan.scan("models:/traffic-signs@candidate", "clean-images/")
    if result.verdict != "clean":
        print(result.verdict, result.target_classes, result.reasons)

Importing this package is cheap: torch and MLflow are loaded by the first scan.
"""

from __future__ import annotations

from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from smoothscan import shown
from smoothscan._version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor, nn

    from smoothscan.config import InputConfig, ScanConfig
    from smoothscan.errors import SmoothscanError, UsageError
    from smoothscan.events import Events
    from smoothscan.result import ScanResult
    from smoothscan.verdict.decision import Verdict

    ImagesLike: TypeAlias = str | PathLike[str] | NDArray[np.generic] | Tensor | Sequence[Image | NDArray[np.generic]]

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


def _html(result: Any) -> str:
    """Draw a result for a notebook."""
    html: str = import_module("smoothscan.sinks.notebook").render(result)
    return html


shown.renderer = _html


@overload
def scan(
    model: str | PathLike[str], images: ImagesLike, *, events: Events | None = None, **options: Any
) -> ScanResult: ...
@overload
def scan(model: nn.Module, images: ImagesLike, *, events: Events | None = None, **options: Any) -> ScanResult: ...
def scan(model: Any, images: ImagesLike, *, events: Events | None = None, **options: Any) -> ScanResult:
    """Scan one model of an MLflow registry, of a local folder, or of this process.

    Nothing is written to disk or to the registry; `check` writes reports, and the command `smoothscan check` both.

    A module is scanned in this process: no file of it is looked at and no sandbox holds it (`result.safety` says so).
    It is put into evaluation mode for the scan, on the device where it is, and left as it was: mode, parameters,
    gradients, buffers and random numbers. No other thread may use it meanwhile.

    Args:
        model: `models:/name/3`, `models:/name@alias`, `models:/name/latest`, `models:/m-<id>`, `runs:/...`, a folder,
            or a `torch.nn.Module` that answers logits [B, K], or probabilities, for images [B, C, H, W] or
            [B, H, W, C].
        images: clean images, at least a few dozen; labels are not needed. A folder of image files; an array or tensor
            [N, C, H, W] (or [N, H, W, C]) of floating-point numbers in [0, 1], or of uint8; or a list of Pillow's
            pictures. Not normalised: that belongs to what the model takes.
        events: told how far the scan is.
        options: further fields of ScanConfig, such as `profile`, `seed`, `labels` or `spaces`, and of InputConfig:
            `value_range`, `mean`, `std`, `layout`, `channels`, `resize`, and `input_size=(H, W)`. A module needs
            `value_range`, or `mean` and `std`; its size is that of the images where they are in memory. `device`
            moves a copy of it.

    Returns:
        The result. A scan that failed, was refused or is inconclusive is a result too; see `status` and `verdict`.

    Raises:
        UsageError: model, images, options or calibration cannot be used; nothing was scanned.
    """
    from smoothscan.calling import scan as run

    return run(model, images, events, options)


@overload
def check(
    model: str | PathLike[str],
    images: ImagesLike,
    output_dir: str | Path,
    *,
    events: Events | None = None,
    **options: Any,
) -> ScanResult: ...
@overload
def check(
    model: nn.Module, images: ImagesLike, output_dir: str | Path, *, events: Events | None = None, **options: Any
) -> ScanResult: ...
def check(
    model: Any, images: ImagesLike, output_dir: str | Path, *, events: Events | None = None, **options: Any
) -> ScanResult:
    """Scan one model, judge it as a gate does, and write the reports into a folder.

    The registry is not written to unless `write_back` or `set_alias` ask for it, which a module has no place for.

    Args:
        model: which model, as in `scan`.
        images: clean images, as in `scan`.
        output_dir: folder of the results; made if it does not exist.
        events: told how far the scan is.
        options: as in `scan`, and `fail_on`, `formats`, `waivers`, `baseline` and the others about results.

    Returns:
        The result as it was written; `gate` says whether the model may pass.

    Raises:
        UsageError: model, images, options or calibration cannot be used, or the results cannot be written.
    """
    from smoothscan.calling import check as run

    return run(model, images, output_dir, events, options)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
