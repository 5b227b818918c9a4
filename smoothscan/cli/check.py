"""`smoothscan check`: scan one registered model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from smoothscan.cli.options import HeadedCommand, HeadedOption
from smoothscan.cli.values import (
    Parsed,
    parse_bytes,
    parse_formats,
    parse_numbers,
    parse_range,
    parse_seconds,
    parse_size,
)
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


def _under(heading: str) -> Callable[..., Callable[[Any], Any]]:
    return partial(click.option, cls=HeadedOption, heading=heading)


_scan, _input, _registry = _under("What to scan, and how hard"), _under("The model's input"), _under("The registry")
_output, _machine = _under("What comes out"), _under("The machine")
_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(cls=HeadedCommand, epilog=_EXAMPLE)
@click.argument("uri")
@_scan("--images", type=click.Path(path_type=Path), metavar="DIR", help="Folder of clean images; no labels needed.")
@_scan(
    "--profile",
    type=click.Choice(["standard", "paper"]),
    help="How hard to search: standard (default), or the protocol of the paper, some hundred times slower.",
)
@_scan("--sigma", type=float, help="Noise level in [0, 1] pixel units instead of the profile's; 0 means no smoothing.")
@_scan("--seed", type=int, help="Seed of all randomness (default 0).")
@_scan("--allow-model-code", is_flag=True, help="Let the model run code that it brings along (pickles, custom Python).")
@_scan("--config", "config_file", type=_file, metavar="FILE", help="Configuration file instead of the one found here.")
@_input("--input-size", type=Parsed("HxW", parse_size), metavar="HxW", help="Height and width in pixels.")
@_input("--channels", type=int, help="Number of channels: 1 for grey, 3 for RGB.")
@_input("--layout", type=click.Choice(["NCHW", "NHWC"]), help="Order of the axes.")
@_input(
    "--value-range",
    type=Parsed("LO,HI", parse_range),
    metavar="LO,HI",
    help="Values of a black and of a white pixel, before mean and std: 0,1 or 0,255 or -1,1.",
)
@_input(
    "--mean",
    type=Parsed("A,B,C", parse_numbers),
    metavar="A,B,C",
    help="Mean of each channel that is subtracted, where the model does not do it itself.",
)
@_input("--std", type=Parsed("A,B,C", parse_numbers), metavar="A,B,C", help="Divisor of each channel; with --mean.")
@_input(
    "--resize",
    type=click.Choice(["crop", "stretch", "none"]),
    help="Images of another size: resize and centre crop (default), stretch, or refuse.",
)
@_input(
    "--labels",
    type=_file,
    metavar="FILE",
    help="Names of the classes: a text file with a name a line, or JSON (a list, or id2label).",
)
@_registry("--tracking-uri", metavar="URI", help="MLflow tracking server (default: MLflow's own setting).")
@_registry("--registry-uri", metavar="URI", help="MLflow model registry (default: MLflow's own setting).")
@_registry("--no-write-back", is_flag=True, help="Set no tags on the model version and log no run.")
@_output(
    "--output-dir", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the results (smoothscan-report)."
)
@_output(
    "--format",
    "formats",
    type=Parsed("LIST", parse_formats),
    metavar="LIST",
    help="Reports to write: html,json (default both; result.json is always written).",
)
@_output("--redact-images", is_flag=True, help="Leave your images out of everything that is written.")
@_output(
    "--fail-on",
    type=click.Choice(["suspicious", "backdoored"]),
    help="Mildest verdict that exits with 1 (default suspicious).",
)
@_output("--quiet", "-q", is_flag=True, help="No progress on standard error; errors and the result only.")
@_output("--verbose", "-v", is_flag=True, help="More on standard error, and tracebacks of bugs.")
@_machine("--device", metavar="NAME", help="Torch device of the model (default: the first accelerator, else the CPU).")
@_machine("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), help="Arithmetic of the model (auto).")
@_machine("--threads", type=int, help="CPU threads of the model (default: all cores).")
@_machine(
    "--memory",
    type=Parsed("SIZE", parse_bytes),
    metavar="SIZE",
    help="Memory for the activations of one batch: 512MB, 2GiB, ...; sets the batch size.",
)
@_machine(
    "--time-limit",
    type=Parsed("TIME", parse_seconds),
    metavar="TIME",
    help="When to give up: 90s, 30m, 2h, ... (default 1h); an overdue scan counts as failed.",
)
@click.pass_context
def check(ctx: click.Context, /, **_values: Any) -> None:
    """Scan one registered model for a backdoor.

    URI is models:/name/3, models:/name@alias, models:/name/latest, models:/m-ID, runs:/RUN/model or a local folder
    that holds an MLmodel file.
    """
    from smoothscan.cli.display import listen, show_result
    from smoothscan.cli.examine import examine
    from smoothscan.cli.settings import resolve

    given = {name: value for name, value in ctx.params.items() if _was_given(ctx, name)}
    quiet, verbose = bool(given.pop("quiet", False)), bool(given.pop("verbose", False))
    settings = resolve(given)
    with listen(quiet=quiet, verbose=verbose) as events:
        if settings.file is not None:
            events.note(f"options from {settings.file}")
        result = examine(settings, events)
    show_result(result, settings.config)
    if result.write_back.status == "failed":  # a warning of its own, also where progress is silent
        message = plain(result.write_back.message)
        click.echo(f"Warning: the result stands, but was not written back to the registry: {message}", err=True)
    ctx.exit(result.exit_code(settings.config.fail_on))


def _was_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
