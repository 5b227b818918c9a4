"""`smoothscan report`: show the result of a scan again, and make reports of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from smoothscan.cli.options import HeadedCommand
from smoothscan.cli.shared_options import explain_option, output_option, redact_option, waivers_option
from smoothscan.cli.values import FORMATS, Parsed, parse_formats
from smoothscan.errors import ConfigError

if TYPE_CHECKING:
    from smoothscan.config import ReportFormat, ScanConfig
    from smoothscan.result import FailOn, ScanResult

_EPILOG = """\b
Examples:
  smoothscan report smoothscan-report/result.json --explain
  smoothscan report result.json --format html,junit --output-dir reports/
  smoothscan report result.json --fail-on backdoored --waivers waivers.toml

\b
Exit codes: those of smoothscan check, as the gate says that is stored in
RESULT. With --fail-on, --waivers or --baseline the gate is asked anew, as of
today, and only what you give is waived or known.
"""

_NOT_OF_A_SCAN = (ArithmeticError, LookupError, TypeError, ValueError)
"""What goes wrong with numbers and texts that are of the right kind, and yet none that a scan can have."""


@click.command(cls=HeadedCommand, epilog=_EPILOG)
@click.argument("result", type=click.Path(path_type=Path))
@output_option(
    "--format",
    "formats",
    type=Parsed("LIST", parse_formats, FORMATS),
    metavar="LIST",
    help="Reports to write: html,json,sarif,junit,markdown (default: none, or html where --output-dir is given).",
)
@output_option(
    "--output-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to write them into (default: the folder of RESULT).",
)
@redact_option
@output_option(
    "--fail-on",
    type=click.Choice(["suspicious", "backdoored"]),
    help="Mildest verdict that exits with 1 (default: that of the scan).",
)
@waivers_option
@output_option(
    "--baseline",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="result.json of an earlier scan of the same registered model: what it found already does not fail.",
)
@explain_option
@output_option("--verbose", "-v", is_flag=True, help="Tracebacks of bugs.")
@click.pass_context
def report(
    ctx: click.Context,
    /,
    result: Path,
    formats: tuple[ReportFormat, ...] | None,
    output_dir: Path | None,
    redact_images: bool,
    fail_on: FailOn | None,
    waivers: Path | None,
    baseline: Path | None,
    explain: bool,
    verbose: bool,
) -> None:
    """Show the result of a scan again, and make reports of it.

    RESULT is the result.json that smoothscan check or sweep wrote. Nothing is scanned, and no registry is asked. Pages
    show the recovered triggers if the folder perturbations still lies beside RESULT; held-out images are not kept, so
    pages made later do not show those.
    """
    from smoothscan.cli.outcome import as_text, explained, report_path, tell_of_the_registry
    from smoothscan.cli.summary import show_explanation, show_result
    from smoothscan.files import make_folder
    from smoothscan.sinks.advice import exit_code
    from smoothscan.sources.result_file import read_result

    found = _judged(read_result(result), fail_on, waivers, baseline)
    formats = formats or (() if output_dir is None else ("html",))
    config = _config(found, output_dir or result.parent, formats, redact_images=redact_images)
    first = report_path(config) if "html" in formats else result
    if config.output_dir.resolve() == result.parent.resolve():
        _spare_the_scan(config)
    try:
        as_text(found, config, first)
        explained(found)
        if formats:
            _write(found, config, result, make_folder(config.output_dir))
    except _NOT_OF_A_SCAN as error:
        raise ConfigError(
            f"{result} is no result of a scan: it holds what none can ({type(error).__name__}: {error}).",
            "Pass the result.json of a scan, as it was written.",
        ) from error
    show_result(found, config, first)
    if explain:
        show_explanation(found)
    tell_of_the_registry(found)
    ctx.exit(exit_code(found))


def _spare_the_scan(config: ScanConfig) -> None:
    """Refuse to replace in a scan's own folder what cannot be made again."""
    from smoothscan.products import REPORT

    if "json" in config.formats:
        raise ConfigError(
            f"--format json would write over the results of the scan in {config.output_dir}.",
            "Leave it out, or pass another --output-dir.",
        )
    page = config.output_dir / REPORT
    if "html" in config.formats and page.exists():
        raise ConfigError(
            f"--format html would write over {page}, which may show images that are kept nowhere else.",
            "Pass another --output-dir, or move the page away first.",
        )


def _judged(found: ScanResult, fail_on: FailOn | None, waivers: Path | None, baseline: Path | None) -> ScanResult:
    """Return a result with what the gate says: as it is stored, unless there is none or it is asked otherwise."""
    from datetime import UTC, datetime

    from smoothscan.gate import judge
    from smoothscan.sources.baseline_file import read_baseline
    from smoothscan.sources.waivers import read_waivers

    if found.gate is not None and fail_on is None and waivers is None and baseline is None:
        return found
    before: FailOn = "backdoored" if found.config.get("fail_on") == "backdoored" else "suspicious"
    return judge(
        found,
        fail_on or (before if found.gate is None else found.gate.fail_on),
        () if waivers is None else read_waivers(waivers),
        None if baseline is None else read_baseline(baseline),
        datetime.now(UTC).date(),
    )


def _config(found: ScanResult, folder: Path, formats: tuple[ReportFormat, ...], *, redact_images: bool) -> ScanConfig:
    """Return what the summary says of files, and what reports leave out."""
    from smoothscan.config import ScanConfig

    return ScanConfig(
        uri=found.model.uri,
        images=Path(),
        output_dir=folder,
        formats=formats,
        redact_images=redact_images or found.config.get("redact_images") is not False,
    )


def _write(found: ScanResult, config: ScanConfig, path: Path, folder: Path) -> None:
    from smoothscan.publish import Provenance, write_again

    provenance = Provenance(command=_command(found))
    write_again(found, path, folder, config.formats, provenance, redact_images=config.redact_images)


def _command(found: ScanResult) -> str:
    """Return the command that repeats the scan; empty where its settings are none of this version's."""
    from pydantic import ValidationError

    from smoothscan.cli.settings import command_line
    from smoothscan.config import ScanConfig

    try:
        return command_line(ScanConfig.model_validate(found.config))
    except ValidationError:
        return ""
