"""Which files a scan leaves in a folder, and how they come there all at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smoothscan.errors import OutputError
from smoothscan.files import make_folder, remove_drafts
from smoothscan.products import PRODUCTS, RESULT

if TYPE_CHECKING:
    from securesystemslib.signer import Signer

    from smoothscan.config import ReportFormat, ScanConfig
    from smoothscan.events import Events
    from smoothscan.exhibits import Exhibits
    from smoothscan.result import ScanResult
    from smoothscan.sinks.interface import Sink

_STAGING = ".writing-"
"""How folders begin to be called that are there only while results are written."""


@dataclass(frozen=True)
class Provenance:
    """What reports say of where a scan came from."""

    command: str = ""
    """A command that repeats the scan; empty if none gave it."""
    anchor: str = "smoothscan.toml"
    """The file of the repository that code scanning shows findings at, relative to its root."""


def deliver(
    result: ScanResult,
    exhibits: Exhibits,
    config: ScanConfig,
    provenance: Provenance,
    events: Events,
    *,
    scan_id: str | None = None,
) -> ScanResult:
    """Write a scan into its folder, and back to the registry.

    Args:
        result: the scan, whatever its status.
        exhibits: its pictures.
        config: says where to write, and what.
        provenance: where the scan came from.
        events: told how far it is.
        scan_id: what tells this scan from others; when a scan is delivered again under it, no second run is made.

    Returns:
        The result as it was written, with what became of the write-back.

    Raises:
        OutputError: the files cannot be written.
        KeyboardInterrupt: the user stopped it; no half-written file is left behind.
    """
    folder = make_folder(config.output_dir)
    events.stage("write", str(folder))
    pictures, reports = sinks(config, provenance)
    publish([*pictures, *reports], result, exhibits, folder, replace=PRODUCTS)
    if not config.write_back and config.set_alias is None:
        return result
    try:
        if config.write_back:
            if result.model.name or result.model.model_id or result.model.run_id:  # else there is nothing to write to
                events.stage("write back", "tags and run")
            result = _written_back(result, config, scan_id)
        if config.set_alias is not None:
            result = _promoted(result, config, config.set_alias, events)
    except KeyboardInterrupt as stop:
        stop.args = (f"stopped; the results are in {folder}, but the registry was not written to in full",)
        raise
    publish(reports, result, exhibits, folder)  # once more, to say what became of the write-back
    return result


def deliver_again(result: ScanResult, config: ScanConfig, scan_id: str) -> ScanResult:
    """Write an earlier scan back to the registry, because that failed then.

    Reports in its folder stay as they are, for their pictures are nowhere else; `result.json` alone tells the news.

    Args:
        result: the scan.
        config: says where its files are; what lies there is about this scan.
        scan_id: see `deliver`.

    Raises:
        OutputError: the file cannot be written.
    """
    from smoothscan.exhibits import Exhibits
    from smoothscan.sinks.json_file import JsonSink

    folder = make_folder(config.output_dir)
    result = _written_back(result, config, scan_id)
    publish([JsonSink()], result, Exhibits(), folder)
    return result


def write_again(
    result: ScanResult,
    beside: Path,
    folder: Path,
    formats: Collection[ReportFormat],
    provenance: Provenance,
    *,
    redact_images: bool,
) -> None:
    """Write reports of an earlier scan, with the pictures that were saved beside its `result.json`.

    Args:
        result: the scan, with what is to be said of it now.
        beside: its `result.json`.
        folder: where the reports go.
        formats: which ones.
        provenance: where the scan came from.
        redact_images: leave the user's images out.

    Raises:
        OutputError: they cannot be written.
    """
    from smoothscan.sources.saved_pictures import read_pictures

    pictures = read_pictures(beside, result)
    chosen = report_sinks(formats, provenance, redact_images=redact_images or not pictures.whole)
    publish(chosen, result, pictures.exhibits, folder)


def read_there(folder: Path) -> dict[str, Any]:
    """Return what the `result.json` in a folder holds, unchecked; nothing if there is none."""
    try:
        there = json.loads((folder / RESULT).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return there if isinstance(there, dict) else {}


def is_of(there: Mapping[str, Any], config_digest: str | None, finished_at: str | None) -> bool:
    """Tell whether what lies in a folder is about the scan with these settings that ended then."""
    return bool(there) and (there.get("config_digest"), there.get("finished_at")) == (config_digest, finished_at)


def _written_back(result: ScanResult, config: ScanConfig, scan_id: str | None) -> ScanResult:
    from smoothscan.sinks.mlflow_registry import write_back

    with tempfile.TemporaryDirectory(prefix=_STAGING, dir=config.output_dir) as name:
        # The whole folder is uploaded, so it must hold nothing that the user happens to keep beside the results.
        products = Path(name)
        for path in (config.output_dir / product for product in PRODUCTS):
            if path.is_dir():
                shutil.copytree(path, products / path.name)
            elif path.exists():
                shutil.copy2(path, products)
        stores = {"tracking_uri": config.tracking_uri, "registry_uri": config.registry_uri}
        outcome = write_back(result, products, **stores, scan_id=scan_id)
    return result.model_copy(update={"write_back": outcome})


def _promoted(result: ScanResult, config: ScanConfig, alias: str, events: Events) -> ScanResult:
    from smoothscan.promotion import promote

    stores = {"tracking_uri": config.tracking_uri, "registry_uri": config.registry_uri}
    return result.model_copy(update={"promotion": promote(result, alias, events=events, **stores)})


def make_ready(config: ScanConfig) -> None:
    """Find out before a long scan what could not be done after it.

    Raises:
        UsageError: the key of the attestation does not work, or the alias can not move to such a model.
    """
    _attestation(config)
    if config.set_alias is not None:
        from smoothscan.promotion import require_registered

        require_registered(config.uri)


def _attestation(config: ScanConfig) -> list[Sink]:
    if not config.attest:
        return []
    from smoothscan.sinks.attestation.sink import AttestationSink

    return [AttestationSink(None if config.attest_key is None else _signer(config.attest_key))]


@cache
def _signer(path: Path) -> Signer:
    from smoothscan.sinks.attestation.signing import read_signer

    return read_signer(path)  # once for all models of a sweep


def sinks(config: ScanConfig, provenance: Provenance) -> tuple[list[Sink], list[Sink]]:
    """Sinks that write once, and sinks that write again when there is news of the registry."""
    reports = report_sinks(("json", *config.formats), provenance, redact_images=config.redact_images)
    from smoothscan.sinks.perturbations import PerturbationSink

    return [PerturbationSink(redact_images=config.redact_images), *_attestation(config)], reports


def report_sinks(formats: Collection[ReportFormat], provenance: Provenance, *, redact_images: bool) -> list[Sink]:
    """Return what writes reports in these formats.

    Args:
        formats: the formats.
        provenance: where the scan came from.
        redact_images: leave the user's images out.
    """
    from smoothscan.sinks.html import HtmlSink
    from smoothscan.sinks.json_file import JsonSink
    from smoothscan.sinks.junit import JunitSink
    from smoothscan.sinks.markdown import MarkdownSink
    from smoothscan.sinks.sarif import SarifSink

    chosen: dict[ReportFormat, Sink] = {
        "html": HtmlSink(redact_images=redact_images, command=provenance.command),
        "json": JsonSink(),
        "sarif": SarifSink(provenance.anchor),
        "junit": JunitSink(),
        "markdown": MarkdownSink(),
    }
    return [sink for name, sink in chosen.items() if name in formats]


def keep_apart(folder: Path, images: Path) -> None:
    """Make sure that results are not taken for images by the next scan.

    Raises:
        OutputError: the folder of results lies in that of the images.
    """
    images = images.resolve()
    if images == folder.resolve() or images in folder.resolve().parents:
        raise OutputError(
            f"The output folder {folder} lies in the folder of images.",
            "Pass another --output-dir: the next scan would take this one's pictures for clean images.",
        )


@contextmanager
def output_folder(config: ScanConfig) -> Iterator[Path]:
    """Make sure before a long scan that its results can be written; take a new folder away if nothing was."""
    folder = config.output_dir
    keep_apart(folder, config.images)
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
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=folder))
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


def clear_up(folder: Path) -> None:
    """Remove what processes that were killed left in a folder of results; nobody may be writing there now."""
    for path in folder.glob(f"{_STAGING}*"):
        shutil.rmtree(path, ignore_errors=True)
    remove_drafts(folder)


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
