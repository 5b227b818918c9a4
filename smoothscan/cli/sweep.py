"""`smoothscan sweep`: scan whatever is due in a registry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smoothscan.cli.options import HeadedCommand
from smoothscan.cli.shared_options import (
    calibration_option,
    fleet_options,
    given,
    input_options,
    labels_option,
    log_options,
    machine_options,
    output_option,
    registry_options,
    report_options,
    scan_options,
    under,
    write_back_option,
)
from smoothscan.cli.standard_error import warn
from smoothscan.cli.values import Parsed, parse_shard
from smoothscan.errors import SmoothscanError

if TYPE_CHECKING:
    from smoothscan.cli.display import Display, Manner
    from smoothscan.config import ScanConfig
    from smoothscan.fleet.ledger import Ledger
    from smoothscan.fleet.sweep import Sweep, SweepOptions
    from smoothscan.posture import Posture

_EXAMPLE = """\b
Examples:
  smoothscan sweep --images clean-images/
  smoothscan sweep --name 'traffic-*' --alias champion --images clean-images/
  smoothscan sweep --images clean-images/ --dry-run
  smoothscan sweep --images clean-images/ --shard 0/4 --ledger postgresql+...

Settings of single models stand in smoothscan.toml, by patterns of names;
options on the command line win over them. Options of sweep itself stand there
in a section [sweep].

\b
  images = "clean-images/general"
  [[model]]
  name = "traffic-*"
  images = "clean-images/signs"
  labels = "signs.txt"

\b
Exit codes: the worst of the models', in this order:
  1  a model is flagged
  3  a scan failed, or was refused as unsafe
  4  a scan was inconclusive
  5  a model is unsupported
  0  no trigger found under this budget, in any of them
"""

_which = under("Which models")


@click.command(cls=HeadedCommand, epilog=_EXAMPLE)
@_which("--filter", metavar="EXPR", help="MLflow's search expression for versions: \"tags.team = 'vision'\".")
@_which(
    "--name", "names", multiple=True, metavar="PATTERN", help="Models of this name, such as 'traffic-*'; repeatable."
)
@_which("--alias", "aliases", multiple=True, metavar="PATTERN", help="Versions with this alias; repeatable.")
@_which("--stage", "stages", multiple=True, metavar="NAME", help="Versions in this stage; repeatable.")
@_which(
    "--shard",
    type=Parsed("I/N", parse_shard),
    metavar="I/N",
    help="The part I of N, counted from 0: for machines that share the work.",
)
@_which("--rescan", is_flag=True, help="Scan what has a scan that holds, too.")
@_which(
    "--check-files",
    is_flag=True,
    help="Fetch and hash the files of versions whose scan holds, and scan those that changed.",
)
@_which("--dry-run", is_flag=True, help="Only say what is due, why, and about how long it takes.")
@scan_options
@calibration_option
@input_options
@labels_option
@registry_options
@write_back_option
@output_option(
    "--output-dir", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the results (smoothscan-sweep)."
)
@report_options
@log_options
@fleet_options
@machine_options
@click.pass_context
def sweep(ctx: click.Context, /, progress: Manner, quiet: bool, verbose: bool, **_values: Any) -> None:
    """Scan every version of every registered model that is due.

    A version is due if it was never scanned, if its scan expired (after 90 days) or failed, and if images, settings or
    the program changed. What was scanned stands in the ledger, a database of the scanner's own; tags of the registry
    are not believed. A sweep that was stopped, however that happened, goes on where it was when it is run again.
    """
    from smoothscan.cli.display import listen
    from smoothscan.cli.fleet_setup import Rules, Told, engine_of, ledger_of
    from smoothscan.cli.settings import choices
    from smoothscan.cli.summary import show_plan, show_posture
    from smoothscan.cli.sweep_table import with_table
    from smoothscan.fleet.folders import sweep_folder
    from smoothscan.fleet.sweep import Sweep

    chosen = choices(given(ctx))
    options = with_table(ctx, chosen, sweep)
    common = chosen.common("smoothscan-sweep")
    what, rules = _options(options, common), Rules(chosen, common)
    with listen("none" if quiet else progress, verbose=verbose) as events, ledger_of(options) as ledger:
        if chosen.origin is not None:
            events.note(f"options from {chosen.origin}")
        if options.get("dry_run"):
            plan = Sweep(what, rules.order_of, rules.judge, ledger, None, Told(events)).look()
        else:
            with sweep_folder(what.output_dir):
                engine = engine_of(options, common)()
                running = Sweep(what, rules.order_of, rules.judge, ledger, engine, Told(events))
                posture = _run(running, what, engine.describe(), common, events, ledger)
    if options.get("dry_run"):
        show_plan(plan)
        ctx.exit(0)
    show_posture(posture, what.output_dir)
    ctx.exit(posture.exit_code)


def _run(sweep: Sweep, what: SweepOptions, engine: str, common: ScanConfig, events: Display, ledger: Ledger) -> Posture:
    """Run a sweep to its end, or until it is stopped, and write what is known then."""
    from smoothscan.fleet.folders import sweep_ended
    from smoothscan.fleet.report import posture_of
    from smoothscan.fleet.trend import remember, with_history

    started_at = datetime.now(UTC)
    selection = {**what.selection.model_dump(mode="json"), "shard": None if what.shard is None else str(what.shard)}

    def posture(*, stopped: bool) -> Posture:
        known = posture_of(
            sweep.standings.values(),
            started_at=started_at,
            registry=sweep.registry,
            selection=selection,
            engine=engine,
            stopped=stopped,
        )
        return with_history(known, ledger, events.warning)

    try:
        sweep.run()
    except (KeyboardInterrupt, SmoothscanError) as stop:
        if sweep.standings:
            _write(posture(stopped=True), what, common, log=False)
            if isinstance(stop, KeyboardInterrupt):
                stop.args = (f"stopped; what is finished is in {what.output_dir}, and the same command goes on",)
        raise
    events.stage("write", str(what.output_dir))
    finished = _write(posture(stopped=False), what, common, log=common.write_back)
    remember(finished, ledger, events.warning)
    sweep_ended(what.output_dir)
    return finished


def _write(posture: Posture, what: SweepOptions, common: ScanConfig, *, log: bool) -> Posture:
    from smoothscan.fleet.folders import sweep_id
    from smoothscan.sinks.sweep_html import write_index
    from smoothscan.sinks.sweep_json import write_posture
    from smoothscan.sinks.sweep_run import log_sweep

    folder = what.output_dir
    write_index(posture, folder)
    write_posture(posture, folder)
    if not log:
        return posture
    stores = {"tracking_uri": common.tracking_uri, "registry_uri": common.registry_uri}
    written = log_sweep(posture, folder, **stores, sweep_id=sweep_id(folder))
    if written.status == "failed":
        warn(f"the sweep stands, but {written.message}")
    posture = posture.model_copy(update={"run_id": written.run_id})
    write_index(posture, folder)
    write_posture(posture, folder)
    return posture


def _options(options: Mapping[str, Any], common: ScanConfig) -> SweepOptions:
    from smoothscan.fleet.sweep import SweepOptions
    from smoothscan.sources.inventory import Selection

    parts = {
        "filter": options.get("filter"),
        **{key: tuple(options.get(key, ())) for key in ("names", "aliases", "stages")},
    }
    chosen = {key: options[key] for key in ("shard", "rescan", "check_files", "retries") if key in options}
    return SweepOptions(
        selection=Selection(**parts),
        output_dir=common.output_dir,
        tracking_uri=common.tracking_uri,
        registry_uri=common.registry_uri,
        **chosen,
    )
