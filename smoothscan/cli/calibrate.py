"""`smoothscan calibrate`: learn from clean models how anomalous a clean model may look."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smoothscan.cli.options import HeadedCommand
from smoothscan.cli.shared_options import (
    given,
    input_options,
    log_options,
    machine_options,
    output_option,
    registry_options,
    scan_option,
    scan_options,
)
from smoothscan.cli.standard_error import complain, warn
from smoothscan.errors import ConfigError, OutputError, SmoothscanError

if TYPE_CHECKING:
    from smoothscan.cli.display import Display, Manner
    from smoothscan.cli.settings import Settings
    from smoothscan.config import ScanConfig
    from smoothscan.result import ScanResult
    from smoothscan.verdict.calibration import Calibration, CleanModel

_WORST_FIRST = (3, 4, 5)
"""Exit codes of models that could not be examined; the first of them that occurs is the command's."""

_EXAMPLE = """\b
Examples:
  smoothscan calibrate --clean models:/signs/1 models:/signs/2 \\
      --images clean-images/ --output clean.json
  smoothscan check models:/signs@candidate \\
      --images clean-images/ --calibration clean.json

\b
Exit codes:
  0  every model is in the calibration
  2  usage error
  3  a scan failed, or was refused as unsafe; the other models are kept
  4  a scan was inconclusive; the other models are kept
  5  a model is unsupported; the other models are kept
"""


@dataclass
class _Outcome:
    """What became of the models."""

    calibration: Calibration
    """The models that are in the file."""
    flagged: list[str] = field(default_factory=list)
    """In words, those of them that look backdoored."""
    left_out: list[tuple[int, str]] = field(default_factory=list)
    """Exit code that `check` would have, and in words what is wrong, of those that are not."""


@click.command(cls=HeadedCommand, epilog=_EXAMPLE)
@click.argument("uris", nargs=-1, required=True, metavar="--clean URI...")
@scan_option("--clean", is_flag=True, help="Say that you know the models to be clean: the p-values rest on it.")
@scan_options
@input_options
@registry_options
@output_option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="File of the calibration. One with the same settings is gone on from: its models stay, and are not scanned "
    "again.",
)
@log_options
@machine_options
@click.pass_context
def calibrate(
    ctx: click.Context,
    /,
    uris: tuple[str, ...],
    clean: bool,
    output: Path,
    progress: Manner,
    quiet: bool,
    verbose: bool,
    **_values: Any,
) -> None:
    """Learn from clean models how anomalous a clean model may look.

    Scans each model and stores its anomaly, the largest log ratio of an ordinary class's budget to a class's own.
    smoothscan check --calibration FILE then says how rare an anomaly is among clean models (a conformal p-value). Take
    models, and images, of the kind that will be checked. Nothing is written to the registry. The file is written after
    each model, so that nothing is lost if you stop.
    """
    from smoothscan.cli.display import listen
    from smoothscan.cli.settings import resolve
    from smoothscan.cli.summary import show_calibration

    if not clean:
        raise click.UsageError("Say with --clean that the models are known to be clean: calibrate --clean URI...", ctx)
    uris = tuple(dict.fromkeys(uris))
    settings = resolve({**given(ctx), "uri": uris[0]})
    with listen("none" if quiet else progress, verbose=verbose) as events:
        if settings.file is not None:
            events.note(f"options from {settings.file}")
        outcome = _scan_all(uris, settings, output, events)
    if outcome.calibration.models:
        show_calibration(outcome.calibration)
    for line in outcome.flagged:
        warn(line)
    for _, line in outcome.left_out:
        complain(line)
    codes = {code for code, _ in outcome.left_out}
    ctx.exit(next((code for code in _WORST_FIRST if code in codes), 0))


def _scan_all(uris: Sequence[str], settings: Settings, output: Path, events: Display) -> _Outcome:
    """Scan the models one after the other, and write the file after each of them."""
    from smoothscan.pipeline import scan

    base = settings.config.model_copy(update={"labels": None, "calibration": None})
    outcome = _Outcome(_begin(output, base))
    known = {model.digest: model.uri for model in outcome.calibration.models}
    resumed = bool(known)
    try:
        for position, uri in enumerate(uris, 1):
            config = base.model_copy(update={"uri": uri})
            events.note(f"model {position} of {len(uris)}: {uri}")
            if resumed and (digest := _digest(config, events)) in known:
                events.note(f"{uri} has been scanned: it is in {output} as {known[digest]}")
                continue
            result, _ = scan(config, events, input_sources=settings.input_sources)
            events.note(f"{uri}: {result.verdict or result.status}")
            if result.model.digest in known:
                events.note(f"{uri} is the same model as {known[result.model.digest]}, and counts once")
            elif (model := _clean_model(outcome, result)) is not None:
                known[model.digest] = uri
                models = (*outcome.calibration.models, model)
                outcome.calibration = _written(output, outcome.calibration.model_copy(update={"models": models}))
    except KeyboardInterrupt as stop:
        if outcome.calibration.models:
            kept = f"the models scanned so far ({len(outcome.calibration.models)}) are in {output}"
            stop.args = (f"stopped; {kept}, and the same command goes on from there",)
        raise
    return outcome


def _begin(output: Path, config: ScanConfig) -> Calibration:
    """Return the calibration to go on from; an empty one if there is no file yet.

    Raises:
        ConfigError: the file is something else, or was made with other settings.
        OutputError: the file cannot be written.
    """
    from smoothscan.files import make_folder
    from smoothscan.sources.calibration_file import differences, read_calibration, settings_of
    from smoothscan.verdict.calibration import Calibration

    elsewhere = "Pass another --output, or remove the file."
    try:
        make_folder(output.parent)
    except OutputError as error:
        raise OutputError(error.message, "Pass another --output.") from error
    if not output.exists():
        return Calibration(settings=settings_of(config), models=())
    try:
        before = read_calibration(output)
    except ConfigError as error:
        raise ConfigError(error.message, elsewhere) from error
    if different := differences(before, config):
        raise ConfigError(f"{output} holds a calibration that was made with other settings: {different}.", elsewhere)
    return before


def _digest(config: ScanConfig, events: Display) -> str | None:
    """Return the digest of a model; None if it cannot be had, which its scan will say."""
    from smoothscan.sources import fetch

    with tempfile.TemporaryDirectory(prefix="smoothscan-") as folder:
        try:
            artifact = fetch(
                config.uri,
                Path(folder),
                tracking_uri=config.tracking_uri,
                registry_uri=config.registry_uri,
                events=events,
            )
        except SmoothscanError:
            return None
    return artifact.info.digest


def _clean_model(outcome: _Outcome, result: ScanResult) -> CleanModel | None:
    """Return the entry of a model, None where its scan says nothing about it, and note what the user has to know."""
    from smoothscan.cli.outcome import verdict_line, why
    from smoothscan.verdict.calibration import CleanModel

    uri = result.model.resolved_uri or result.model.uri
    if result.anomaly is None or result.coverage.unfinished:
        reason = " ".join(why(result)[:1])
        line = f"{uri} is not in the calibration: {verdict_line(result)}. {reason}"
        outcome.left_out.append((result.exit_code(), line))
        return None
    if result.verdict != "clean":
        classes = ", ".join(map(str, result.target_classes))
        outcome.flagged.append(
            f"{uri} looks {result.verdict} by itself (class {classes}), and is in the calibration because you say that "
            "it is clean. If it is not, remove the file and calibrate without it."
        )
    return CleanModel(uri=uri, digest=result.model.digest, anomaly=result.anomaly)


def _written(output: Path, calibration: Calibration) -> Calibration:
    """Write the file and return what is in it."""
    from smoothscan.files import write_atomically
    from smoothscan.sources.calibration_file import to_json

    try:
        write_atomically(output, to_json(calibration))
    except OutputError as error:
        raise OutputError(error.message, "Make room or pass another --output.") from error
    return calibration
