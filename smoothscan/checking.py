"""One check from configuration to written results: scan, ask the gate, write, tell the registry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from smoothscan.gate import judge, same_model
from smoothscan.intake import NOTHING_GIVEN, Given
from smoothscan.publish import Provenance, deliver, make_ready, output_folder
from smoothscan.result import ModelInfo
from smoothscan.sources import registered_name
from smoothscan.sources.baseline_file import read_baseline
from smoothscan.sources.waivers import read_waivers

if TYPE_CHECKING:
    from smoothscan.config import ScanConfig
    from smoothscan.events import Events
    from smoothscan.result import ScanResult, Waiver


def check(
    config: ScanConfig,
    events: Events,
    provenance: Provenance,
    input_sources: Mapping[str, str] | None = None,
    given: Given = NOTHING_GIVEN,
) -> ScanResult:
    """Scan one model, ask the gate, write the results, and write back to the registry.

    Args:
        config: what to scan, how, and what to write.
        events: receives the progress.
        provenance: what reports say of where the scan came from.
        input_sources: where each part of `config.input` that the user gave comes from.
        given: model and images that a Python program holds, instead of those that `config` names.

    Returns:
        The result as it was written, with what became of the write-back.

    Raises:
        UsageError: nothing was scanned, or the results cannot be written.
        KeyboardInterrupt: the user stopped the scan; no half-written file is left behind.
    """
    make_ready(config)
    with output_folder(config):
        waivers, baseline = read_set_aside(config)
        from smoothscan.pipeline import scan

        result, exhibits = scan(config, events, input_sources=input_sources, given=given)
        result = judge(result, config.fail_on, waivers, baseline, datetime.now(UTC).date())
        return deliver(result, exhibits, config, provenance, events)


def read_set_aside(config: ScanConfig) -> tuple[tuple[Waiver, ...], ScanResult | None]:
    """Read waivers and baseline; before the scan, so that nobody waits for it to hear of a mistake."""
    waivers = () if config.waivers is None else read_waivers(config.waivers)
    if config.baseline is None:
        return waivers, None
    baseline = read_baseline(config.baseline)
    # A model is registered exactly if its URI holds the name.
    same_model(ModelInfo(uri=config.uri, name=registered_name(config.uri)), baseline)
    return waivers, baseline
