"""`smoothscan check`: scan one registered model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from smoothscan.cli.options import HeadedCommand
from smoothscan.cli.shared_options import (
    FILE,
    given,
    input_option,
    input_options,
    log_options,
    machine_options,
    output_option,
    registry_option,
    registry_options,
    scan_option,
    scan_options,
)
from smoothscan.cli.values import Parsed, parse_formats
from smoothscan.sinks.text import plain

_EXAMPLE = """\b
Examples:
  smoothscan check models:/digits/3 --images clean-images/
  smoothscan check models:/traffic-signs@champion --images clean-images/ \\
      --input-size 224x224 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225

Every option can also stand in smoothscan.toml, or in pyproject.toml under
[tool.smoothscan], with underscores for hyphens; what describes the model's
input stands in its table [input]. Options win over the file.
"""


@click.command(cls=HeadedCommand, epilog=_EXAMPLE)
@click.argument("uri")
@scan_options
@scan_option(
    "--calibration",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Judge the model against the clean models of this file, which smoothscan calibrate makes, and not only "
    "against its own classes.",
)
@input_options
@input_option(
    "--labels",
    type=FILE,
    metavar="FILE",
    help="Names of the classes: a text file with a name a line, or JSON (a list, or id2label).",
)
@registry_options
@registry_option("--no-write-back", is_flag=True, help="Set no tags on the model version and log no run.")
@registry_option(
    "--set-alias",
    metavar="NAME",
    help="Move this alias to the scanned version if the gate passes, and its files are still those that were scanned.",
)
@output_option(
    "--output-dir", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the results (smoothscan-report)."
)
@output_option(
    "--format",
    "formats",
    type=Parsed("LIST", parse_formats),
    metavar="LIST",
    help="Reports to write: html,json,sarif,junit,markdown (default html,json; result.json is always written).",
)
@output_option("--redact-images", is_flag=True, help="Leave your images out of everything that is written.")
@output_option(
    "--fail-on",
    type=click.Choice(["suspicious", "backdoored"]),
    help="Mildest verdict that exits with 1 (default suspicious).",
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
@output_option(
    "--waivers",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Findings that somebody answers for until a day (TOML; see docs/gate.md): they do not fail.",
)
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
@log_options
@machine_options
@click.pass_context
def check(ctx: click.Context, /, quiet: bool, verbose: bool, **_values: Any) -> None:
    """Scan one registered model for a backdoor.

    URI is models:/name/3, models:/name@alias, models:/name/latest, models:/m-ID, runs:/RUN/model or a local folder
    that holds an MLmodel file.
    """
    from smoothscan.cli.display import listen, show_result
    from smoothscan.cli.examine import examine
    from smoothscan.cli.settings import resolve
    from smoothscan.sinks.advice import exit_code

    settings = resolve(given(ctx))
    with listen(quiet=quiet, verbose=verbose) as events:
        if settings.file is not None:
            events.note(f"options from {settings.file}")
        result = examine(settings, events)
    show_result(result, settings.config)
    if result.write_back.status == "failed":  # a warning of its own, also where progress is silent
        message = plain(result.write_back.message)
        click.echo(f"Warning: the result stands, but was not written back to the registry: {message}", err=True)
    if result.promotion is not None and result.promotion.status == "failed":
        click.echo(f"Error: {plain(result.promotion.message)}", err=True)
    ctx.exit(exit_code(result))
