"""One scan from configuration to written results; `check` and `demo` both go through here."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from smoothscan.publish import PRODUCTS, output_folder, publish, sinks

if TYPE_CHECKING:
    from smoothscan.cli.settings import Settings
    from smoothscan.config import ScanConfig
    from smoothscan.events import Events
    from smoothscan.result import ScanResult


def examine(settings: Settings, events: Events) -> ScanResult:
    """Scan one model, write the results, and write back to the registry.

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
    with output_folder(config) as folder:
        from smoothscan.pipeline import scan

        result, exhibits = scan(config, events, input_sources=settings.input_sources)
        events.stage("write", str(folder))
        pictures, reports = sinks(config, settings.command)
        publish([*pictures, *reports], result, exhibits, folder, replace=PRODUCTS)
    if not config.write_back:
        return result
    events.stage("write back", "tags and run")
    try:
        result = _write_back(result, config)
    except KeyboardInterrupt as stop:
        stop.args = (f"stopped; the results are in {folder}, but the registry was not written to in full",)
        raise
    publish(reports, result, exhibits, folder)  # once more, to say what became of the write-back
    return result


def _write_back(result: ScanResult, config: ScanConfig) -> ScanResult:
    from smoothscan.sinks.mlflow_registry import write_back

    with tempfile.TemporaryDirectory(prefix="smoothscan-") as name:
        # The whole folder is uploaded, so it must hold nothing that the user happens to keep beside the results.
        products = Path(name)
        for path in (config.output_dir / product for product in PRODUCTS):
            if path.is_dir():
                shutil.copytree(path, products / path.name)
            elif path.exists():
                shutil.copy2(path, products)
        outcome = write_back(result, products, tracking_uri=config.tracking_uri, registry_uri=config.registry_uri)
    return result.model_copy(update={"write_back": outcome})
