"""One scan from configuration to written results; `check` and `demo` both go through here."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from smoothscan.publish import deliver, make_ready, output_folder

if TYPE_CHECKING:
    from smoothscan.cli.settings import Settings
    from smoothscan.config import ScanConfig
    from smoothscan.events import Events
    from smoothscan.result import ScanResult, Waiver


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
    make_ready(config)
    with output_folder(config):
        waivers, baseline = _set_aside(config)
        from smoothscan.gate import judge
        from smoothscan.pipeline import scan

        result, exhibits = scan(config, events, input_sources=settings.input_sources)
        result = judge(result, config.fail_on, waivers, baseline, datetime.now(UTC).date())
        return deliver(result, exhibits, config, settings.provenance, events)


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
