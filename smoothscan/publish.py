"""Which files a scan leaves in a folder, and how they come there all at once."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from smoothscan.errors import OutputError

if TYPE_CHECKING:
    from smoothscan.config import ScanConfig
    from smoothscan.exhibits import Exhibits
    from smoothscan.result import ScanResult
    from smoothscan.sinks.interface import Sink

PRODUCTS = ("result.json", "report.html", "perturbations")
"""What a scan leaves in its folder; an older scan's are removed, so that reports of two scans never stand together."""


def sinks(config: ScanConfig, command: str) -> tuple[list[Sink], list[Sink]]:
    """Sinks that write pictures, and sinks that write reports on the whole result."""
    from smoothscan.sinks.html import HtmlSink
    from smoothscan.sinks.json_file import JsonSink
    from smoothscan.sinks.perturbations import PerturbationSink

    reports: list[Sink] = [JsonSink()]
    if "html" in config.formats:
        reports.append(HtmlSink(redact_images=config.redact_images, command=command))
    return [PerturbationSink(redact_images=config.redact_images)], reports


@contextmanager
def output_folder(config: ScanConfig) -> Iterator[Path]:
    """Make sure before a long scan that its results can be written; take a new folder away if nothing was."""
    folder = config.output_dir
    images = config.images.resolve()
    if images == folder.resolve() or images in folder.resolve().parents:
        raise OutputError(
            f"The output folder {folder} lies in the folder of images.",
            "Pass another --output-dir: the next scan would take this one's pictures for clean images.",
        )
    from smoothscan.files import make_folder

    made = not folder.exists()
    try:
        yield make_folder(folder)
    finally:
        if made and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def publish(
    chosen: Sequence[Sink], result: ScanResult, exhibits: Exhibits, folder: Path, replace: Sequence[str] = ()
) -> None:
    """Let the sinks write into a folder beside the results, then move everything in at once."""
    try:
        staging = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
        try:
            for sink in chosen:
                sink.write(result, exhibits, staging)
            with _signals_held():
                for name in replace:
                    _remove(folder / name)
                for path in staging.iterdir():
                    path.replace(folder / path.name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"The results cannot be written to {folder}: {error.strerror or error}.",
            "Make room or pass another --output-dir, and scan again.",
        ) from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM for the moment in which results are moved into place."""
    if os.name != "posix":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
