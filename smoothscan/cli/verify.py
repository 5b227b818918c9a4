"""`smoothscan verify`: do the triggers that a scan found still work on another version of the model?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smoothscan.cli.options import HeadedCommand
from smoothscan.cli.shared_options import (
    FILE,
    given,
    images_option,
    input_options,
    log_options,
    model_options,
    output_option,
    process_options,
    registry_options,
    scan_option,
)

if TYPE_CHECKING:
    from smoothscan.cli.display import Manner
    from smoothscan.cli.settings import Settings
    from smoothscan.result import ScanResult
    from smoothscan.verification import Verification

_EPILOG = """\b
Exit codes:
  0  none of the saved triggers works on this version; it may have others
  1  a saved trigger works
  2  usage error
  3  the model could not be examined
  4  cannot say: too few images, or nothing saved that could be replayed
  5  unsupported model

\b
Examples:
  smoothscan check models:/digits/3 --images clean-images/ --output-dir scan-3
  smoothscan verify models:/digits/4 --against scan-3/result.json

Options can also stand in smoothscan.toml, as for smoothscan check.
"""


@click.command(cls=HeadedCommand, epilog=_EPILOG)
@click.argument("uri")
@scan_option(
    "--against",
    type=FILE,
    required=True,
    metavar="RESULT",
    help="The result.json of an earlier scan, with its folder perturbations beside it.",
)
@images_option
@model_options
@input_options
@registry_options
@output_option("--output-dir", type=click.Path(path_type=Path), metavar="DIR", help="Folder to write verify.json into.")
@log_options
@process_options
@click.pass_context
def verify(
    ctx: click.Context,
    /,
    uri: str,
    against: Path,
    output_dir: Path | None,
    progress: Manner,
    quiet: bool,
    verbose: bool,
    **_values: Any,
) -> None:
    """Replay the triggers that a scan saved on another version of the model, in seconds.

    They are put on clean images, by default those of the earlier scan, and the images counted that the version at URI
    gives to their class. This is no scan: it searches nothing, and a version on which no saved trigger works may have
    others. Images and the description of the input are the earlier scan's where you do not give them.
    """
    from smoothscan.cli.display import listen
    from smoothscan.cli.verified import as_text
    from smoothscan.files import make_folder, write_atomically
    from smoothscan.replay import replay
    from smoothscan.sources.saved_triggers import read_saved

    saved = read_saved(against)
    settings = _settings(given(ctx), saved.result)
    if output_dir is not None:
        make_folder(output_dir)
    with listen("none" if quiet else progress, verbose=verbose) as events:
        if settings.file is not None:
            events.note(f"options from {settings.file}")
        found = replay(settings.config, saved, events, input_sources=settings.input_sources)
    if output_dir is not None:
        write_atomically(output_dir / "verify.json", _to_json(found))
    click.echo(as_text(found))
    ctx.exit(found.exit_code())


def _settings(options: dict[str, Any], earlier: ScanResult) -> Settings:
    """Return the settings, with images and input of the earlier scan where the user gives none."""
    from dataclasses import replace

    from pydantic import ValidationError

    from smoothscan.cli.settings import resolve
    from smoothscan.config import InputConfig, ScanConfig
    from smoothscan.errors import ConfigError

    before = earlier.config
    images = before.get("images")
    if "images" not in options and isinstance(images, str) and _is_folder(images):
        options = {**options, "images": Path(images)}
    settings = resolve(options)
    here = settings.config
    mine = {name: getattr(here.input, name) for name in settings.input_sources if name in InputConfig.model_fields}
    theirs = _input_of(before)
    said = {
        "input": {**theirs, **mine},
        "architecture": here.architecture or before.get("architecture"),
    }
    try:
        config = ScanConfig.model_validate({**here.model_dump(), **said})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"The earlier scan's settings do not fit this one: {where or 'config'}: {first['msg'].lower()}.",
            "Pass what the model takes as options (--input-size, --mean, --architecture, ...), or the result.json "
            "of a scan as this smoothscan writes it.",
        ) from None
    sources = dict.fromkeys(theirs, "the earlier scan") | dict(settings.input_sources)
    return replace(settings, config=config, input_sources=sources)


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except OSError:  # a path that is too long
        return False


def _input_of(before: dict[str, Any]) -> dict[str, Any]:
    """Return what an earlier scan's configuration says of the input; other versions may know other keys."""
    from smoothscan.config import InputConfig

    said = before.get("input")
    if not isinstance(said, dict):
        return {}
    return {name: said[name] for name in InputConfig.model_fields if said.get(name) is not None}


def _to_json(found: Verification) -> bytes:
    text = json.dumps(found.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8", "replace")
