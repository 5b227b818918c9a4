"""`smoothscan check`: scan one registered model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smoothscan.cli.options import EXIT_CODES, NOT_IN_FILES, HeadedCommand
from smoothscan.cli.shared_options import (
    calibration_option,
    explain_option,
    given,
    input_options,
    labels_option,
    log_options,
    machine_options,
    output_option,
    registry_option,
    registry_options,
    report_options,
    scan_options,
    write_back_option,
)

if TYPE_CHECKING:
    from smoothscan.cli.display import Display, Manner
    from smoothscan.cli.settings import Settings
    from smoothscan.result import ScanResult

_EPILOG = f"""\b
Examples:
  smoothscan check models:/digits/3 --images clean-images/
  smoothscan check models:/traffic-signs@champion --images clean-images/ \\
      --input-size 224x224 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
  smoothscan check models:/digits/3 --images clean-images/ --dry-run
  smoothscan check models:/digits/3 --images clean-images/ --explain

\b
Exit codes:
{EXIT_CODES}
All options but {", ".join(NOT_IN_FILES[:-1])} and
{NOT_IN_FILES[-1]} can also stand in smoothscan.toml, or in pyproject.toml under
[tool.smoothscan], with underscores for hyphens. What describes the model's
input, apart from labels, stands in its table [input]; --input-size is called
size there. The command line wins over the file.
"""


@click.command(cls=HeadedCommand, epilog=_EPILOG)
@click.argument("uri")
@scan_options
@calibration_option
@input_options
@labels_option
@registry_options
@write_back_option
@registry_option(
    "--set-alias",
    metavar="NAME",
    help="Move this alias to the scanned version if the gate passes, and its files are still those that were scanned.",
)
@output_option(
    "--output-dir", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the results (smoothscan-report)."
)
@report_options
@output_option(
    "--baseline",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="result.json of an earlier scan of the same registered model: what it found already does not fail again.",
)
@output_option(
    "--sarif-anchor",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File of the repository that code scanning shows findings at (default: the configuration file, else "
    "smoothscan.toml).",
)
@output_option(
    "--attest",
    is_flag=True,
    help="Write attestation.json: an in-toto statement that binds the verdict to the digests of the model's files.",
)
@output_option(
    "--attest-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Private key (PEM) that signs the attestation; the password of an encrypted one is taken from "
    "SMOOTHSCAN_ATTEST_PASSWORD.",
)
@explain_option
@output_option(
    "--dry-run",
    is_flag=True,
    help="Only say what would be scanned, how, and about how long it takes: the model is loaded as for a scan and "
    "tried for a moment; nothing is searched or written.",
)
@log_options
@machine_options
@click.pass_context
def check(
    ctx: click.Context,
    /,
    explain: bool,
    dry_run: bool,
    progress: Manner,
    quiet: bool,
    verbose: bool,
    **_values: Any,
) -> None:
    """Scan one registered model for a backdoor.

    URI is models:/name/3, models:/name@alias, models:/name/latest, models:/m-ID, runs:/RUN/model or a local folder
    that holds an MLmodel file.
    """
    from smoothscan import checking
    from smoothscan.cli.display import listen
    from smoothscan.cli.outcome import replaced, tell_of_the_registry
    from smoothscan.cli.settings import resolve
    from smoothscan.cli.summary import show_explanation, show_result
    from smoothscan.sinks.advice import exit_code

    settings = resolve(given(ctx))
    with listen("none" if quiet else progress, verbose=verbose) as events:
        if settings.file is not None:
            events.note(f"options from {settings.file}")
        if dry_run:
            click.echo(_preview(settings, events))
            ctx.exit(0)
        before = _lying_in(settings.config.output_dir)
        result = checking.check(settings.config, events, settings.provenance, settings.input_sources)
    show_result(result, settings.config, replaced=replaced(before, result))
    if explain:
        show_explanation(result)
    tell_of_the_registry(result)
    ctx.exit(exit_code(result))


def _lying_in(folder: Path) -> ScanResult | None:
    """Return the result that an earlier scan left in a folder; None if none did."""
    from smoothscan.errors import SmoothscanError
    from smoothscan.products import RESULT
    from smoothscan.sources.result_file import read_result

    try:
        return read_result(folder / RESULT)
    except SmoothscanError:
        return None


def _preview(settings: Settings, events: Display) -> str:
    """Return what the scan would do, once everything was looked at that could keep it from beginning."""
    from smoothscan import checking
    from smoothscan.cli.preview_outcome import as_text
    from smoothscan.preview import preview
    from smoothscan.publish import keep_apart, make_ready

    config = settings.config
    make_ready(config)
    keep_apart(config.output_dir, config.images)
    waivers, baseline = checking.read_set_aside(config)
    return as_text(preview(config, events, input_sources=settings.input_sources), config, waivers, baseline)
