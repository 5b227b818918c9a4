"""One scan from configuration to written results; `check` and `demo` both go through here."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from smoothscan.errors import OutputError

if TYPE_CHECKING:
    from smoothscan.cli.settings import Settings
    from smoothscan.config import ReportFormat, ScanConfig
    from smoothscan.events import Events
    from smoothscan.exhibits import Exhibits
    from smoothscan.result import ScanResult, Waiver
    from smoothscan.sinks.interface import Sink

_PRODUCTS = (
    "result.json",
    "report.html",
    "smoothscan.sarif",
    "junit.xml",
    "summary.md",
    "attestation.json",
    "perturbations",
)
"""What a scan leaves in its folder; an older scan's are removed, so that reports of two scans never stand together."""


def examine(settings: Settings, events: Events) -> ScanResult:
    """Scan one model, ask the gate, write the results, and write back to the registry.

    Args:
        settings: what to scan, and where its parts came from.
        events: receives the progress.

    Returns:
        The result as it was written, with what became of the write-back.

    Raises:
        UsageError: nothing was scanned, or the results cannot be written.
        KeyboardInterrupt: the user stopped the scan; no half-written file is left behind.
    """
    config = settings.config
    attestation = _attestation(config)
    if config.set_alias is not None:
        from smoothscan.promotion import require_registered

        require_registered(config.uri)
    with _output_folder(config) as folder:
        waivers, baseline = _set_aside(config)
        from smoothscan.gate import judge
        from smoothscan.pipeline import scan

        result, exhibits = scan(config, events, input_sources=settings.input_sources)
        result = judge(result, config.fail_on, waivers, baseline, datetime.now(UTC).date())
        events.stage("write", str(folder))
        pictures, reports = _sinks(settings)
        _publish([*pictures, *reports, *attestation], result, exhibits, folder, replace=_PRODUCTS)
    if not config.write_back and config.set_alias is None:
        return result
    try:
        if config.write_back:
            events.stage("write back", "tags and run")
            result = _write_back(result, config)
        if config.set_alias is not None:
            result = _promote(result, config, config.set_alias, events)
    except KeyboardInterrupt as stop:
        stop.args = (f"stopped; the results are in {folder}, but the registry was not written to in full",)
        raise
    _publish(reports, result, exhibits, folder)  # once more, to say what became of the write-back
    return result


def _set_aside(config: ScanConfig) -> tuple[tuple[Waiver, ...], ScanResult | None]:
    """Read waivers and baseline; before the scan, so that nobody waits for it to hear of a mistake."""
    from smoothscan.gate import same_model
    from smoothscan.result import ModelInfo
    from smoothscan.sources import registered_name
    from smoothscan.sources.baseline_file import read_baseline
    from smoothscan.sources.waivers import read_waivers

    waivers = () if config.waivers is None else read_waivers(config.waivers)
    if config.baseline is None:
        return waivers, None
    baseline = read_baseline(config.baseline)
    if (name := registered_name(config.uri)) is not None:
        same_model(ModelInfo(uri=config.uri, name=name), baseline)
    return waivers, baseline


def _write_back(result: ScanResult, config: ScanConfig) -> ScanResult:
    from smoothscan.sinks.mlflow_registry import write_back

    with tempfile.TemporaryDirectory(prefix="smoothscan-") as name:
        # The whole folder is uploaded, so it must hold nothing that the user happens to keep beside the results.
        products = Path(name)
        for path in (config.output_dir / product for product in _PRODUCTS):
            if path.is_dir():
                shutil.copytree(path, products / path.name)
            elif path.exists():
                shutil.copy2(path, products)
        outcome = write_back(result, products, tracking_uri=config.tracking_uri, registry_uri=config.registry_uri)
    return result.model_copy(update={"write_back": outcome})


def _promote(result: ScanResult, config: ScanConfig, alias: str, events: Events) -> ScanResult:
    from smoothscan.promotion import promote

    servers = {"tracking_uri": config.tracking_uri, "registry_uri": config.registry_uri}
    return result.model_copy(update={"promotion": promote(result, alias, events=events, **servers)})


def _attestation(config: ScanConfig) -> list[Sink]:
    """The sink of the attestation, if there is to be one; a key that does not work is found out before the scan."""
    if not config.attest:
        return []
    from smoothscan.sinks.attestation.signing import read_signer
    from smoothscan.sinks.attestation.sink import AttestationSink

    return [AttestationSink(None if config.attest_key is None else read_signer(config.attest_key))]


def _sinks(settings: Settings) -> tuple[list[Sink], list[Sink]]:
    """Sinks that write pictures, and sinks that write reports on the whole result."""
    from smoothscan.sinks.html import HtmlSink
    from smoothscan.sinks.json_file import JsonSink
    from smoothscan.sinks.junit import JunitSink
    from smoothscan.sinks.markdown import MarkdownSink
    from smoothscan.sinks.perturbations import PerturbationSink
    from smoothscan.sinks.sarif import SarifSink

    config = settings.config
    chosen: dict[ReportFormat, Sink] = {
        "html": HtmlSink(redact_images=config.redact_images, command=settings.command),
        "json": JsonSink(),
        "sarif": SarifSink(settings.anchor),
        "junit": JunitSink(),
        "markdown": MarkdownSink(),
    }
    reports = [sink for name, sink in chosen.items() if name in ("json", *config.formats)]
    return [PerturbationSink(redact_images=config.redact_images)], reports


@contextmanager
def _output_folder(config: ScanConfig) -> Iterator[Path]:
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


def _publish(
    sinks: Sequence[Sink], result: ScanResult, exhibits: Exhibits, folder: Path, replace: Sequence[str] = ()
) -> None:
    """Let the sinks write into a folder beside the results, then move everything in at once."""
    try:
        staging = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
        try:
            for sink in sinks:
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
