"""Options that several commands take, in groups, and which options a user gave."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from smoothscan.cli.options import HeadedOption
from smoothscan.cli.values import (
    FORMATS,
    Parsed,
    parse_bytes,
    parse_formats,
    parse_numbers,
    parse_range,
    parse_seconds,
    parse_size,
    parse_spaces,
)
from smoothscan.vocabulary import SPACES

Decorator = Callable[[Any], Any]

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
"""A file that has to be there."""


def under(heading: str) -> Callable[..., Decorator]:
    """Return `click.option` for options under a heading of the help."""
    return partial(click.option, cls=HeadedOption, heading=heading)


def _together(*options: Decorator) -> Decorator:
    """Make one decorator of several options, which stand in the help in this order."""

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


scan_option = under("What to scan, and how hard")
"""Makes an option of the first group."""
input_option = under("The model's input")
"""Makes an option of the second group."""
registry_option = under("The registry")
"""Makes an option of the third group."""
output_option = under("What comes out")
"""Makes an option of the fourth group."""
machine_option = under("The machine")
"""Makes an option of the fifth group."""

fleet_option = under("Many models")
"""Makes an option of the sixth group."""

images_option = scan_option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of clean images, two dozen or more; no labels needed.",
)
"""Which images."""
model_options = _together(
    scan_option(
        "--architecture",
        metavar="NAME",
        help="Network of a model that consists of safetensors weights alone: timm/NAME or torchvision/NAME.",
    ),
    scan_option(
        "--allow-model-code",
        is_flag=True,
        help="Load the model whatever its files hold, and run code that it brings along (pickles, custom Python) also "
        "where no sandbox holds.",
    ),
    scan_option(
        "--config", "config_file", type=FILE, metavar="FILE", help="Configuration file instead of the one found here."
    ),
)
"""How a model is read, and from which file further options come."""
scan_options = _together(
    images_option,
    scan_option(
        "--profile",
        type=click.Choice(["quick", "standard", "paper"]),
        help="How hard to search: quick, standard (default), or the protocol of the paper, a hundred times slower.",
    ),
    scan_option(
        "--spaces",
        type=Parsed("LIST", parse_spaces, (*SPACES, "all")),
        metavar="LIST",
        help="What a trigger may be, instead of the profile's: l2,patch,frequency,smooth,warp,tone, or all.",
    ),
    scan_option(
        "--pairs",
        is_flag=True,
        help="Search every pair of source and target class too: triggers that work on images of one class only.",
    ),
    scan_option(
        "--sigma", type=float, help="Noise level in [0, 1] pixel units instead of the profile's; 0 means no smoothing."
    ),
    scan_option(
        "--denoiser",
        metavar="PATH_OR_ID",
        help="Diffusion model that takes the noise off images before the model sees them: a diffusers pipeline folder "
        "(smoothscan denoiser train makes one), an id on the Hugging Face hub, or an MLflow URI.",
    ),
    scan_option(
        "--denoising",
        type=click.Choice(["auto", "mixed", "always"]),
        help="What the denoiser is used for: kinds of trigger that the search leaves undecided (auto, default), a part "
        "of the steps of every search, or all of them.",
    ),
    scan_option(
        "--synthesis-images",
        type=int,
        metavar="N",
        help="Images that each class's perturbation is made from (default 1).",
    ),
    scan_option("--seed", type=int, help="Seed of all randomness (default 0)."),
    model_options,
)
"""What to scan, and how hard."""

input_options = _together(
    input_option("--input-size", type=Parsed("HxW", parse_size), metavar="HxW", help="Height and width in pixels."),
    input_option("--channels", type=int, help="Number of channels: 1 for grey, 3 for RGB."),
    input_option("--layout", type=click.Choice(["NCHW", "NHWC"]), help="Order of the axes."),
    input_option(
        "--value-range",
        type=Parsed("LO,HI", parse_range),
        metavar="LO,HI",
        help="Values of a black and of a white pixel, before mean and std: 0,1 or 0,255 or -1,1.",
    ),
    input_option(
        "--mean",
        type=Parsed("A,B,C", parse_numbers),
        metavar="A,B,C",
        help="Mean of each channel that is subtracted, where the model does not do it itself.",
    ),
    input_option(
        "--std", type=Parsed("A,B,C", parse_numbers), metavar="A,B,C", help="Divisor of each channel; with --mean."
    ),
    input_option(
        "--resize",
        type=click.Choice(["crop", "stretch", "none"]),
        help="Images of another size: resize and centre crop (default), stretch, or refuse.",
    ),
)
"""How images are handed to the model."""

registry_options = _together(
    registry_option("--tracking-uri", metavar="URI", help="MLflow tracking server (default: MLflow's own setting)."),
    registry_option("--registry-uri", metavar="URI", help="MLflow model registry (default: MLflow's own setting)."),
)
"""Where models come from."""

explain_option = output_option(
    "--explain", is_flag=True, help="Tell how the verdict came about, what speaks against it and what would change it."
)
"""Whether the verdict is explained."""

progress_option = output_option(
    "--progress",
    type=click.Choice(["auto", "plain", "json", "none"]),
    default="auto",
    help="Progress on standard error: live on a terminal and plain lines elsewhere (auto, default), plain lines, JSON "
    "lines for programs (see docs/terminal.md), or none.",
)
"""How progress is told."""

log_options = _together(
    progress_option,
    output_option("--quiet", "-q", is_flag=True, help="As --progress none: errors and the result only."),
    output_option("--verbose", "-v", is_flag=True, help="More on standard error, and tracebacks of bugs."),
)
"""How much is said."""

process_options = _together(
    machine_option(
        "--device", metavar="NAME", help="Torch device of the model (default: the first accelerator, else the CPU)."
    ),
    machine_option(
        "--precision", type=click.Choice(["auto", "float32", "bfloat16"]), help="Arithmetic of the model (auto)."
    ),
    machine_option("--threads", type=int, help="CPU threads of the model (default: all cores)."),
    machine_option(
        "--memory",
        type=Parsed("SIZE", parse_bytes),
        metavar="SIZE",
        help="Memory for the activations of one batch: 512MB, 2GiB, ...; sets the batch size.",
    ),
    machine_option(
        "--time-limit",
        type=Parsed("TIME", parse_seconds),
        metavar="TIME",
        help="When to give up on a model: 90s, 30m, 2h, ... (default 1h); an overdue scan counts as failed.",
    ),
)
"""What a model may use."""
machine_options = _together(
    process_options,
    machine_option(
        "--time-budget",
        type=Parsed("TIME", parse_seconds),
        metavar="TIME",
        help="End the scan after this time with what was found until then; inconclusive if that is too little. The "
        "same command goes on from there.",
    ),
    machine_option(
        "--no-cache",
        is_flag=True,
        help="Do not use the result of the same scan done before, nor go on from one that was stopped.",
    ),
    machine_option(
        "--cache-dir",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Folder where finished and stopped scans are kept (default: smoothscan in your folder of caches).",
    ),
)
"""What a scan may use."""


calibration_option = scan_option(
    "--calibration",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Judge models against the clean models of this file, which smoothscan calibrate makes, and not only against "
    "their own classes.",
)
"""What models are compared with."""

labels_option = input_option(
    "--labels",
    type=FILE,
    metavar="FILE",
    help="Names of the classes: a text file with a name a line, or JSON (a list, or id2label).",
)
"""What classes are called."""

write_back_option = registry_option("--no-write-back", is_flag=True, help="Set no tags and log no runs.")
"""Whether the registry is written to."""

redact_option = output_option(
    "--redact-images", is_flag=True, help="Leave your images out of everything that is written."
)
waivers_option = output_option(
    "--waivers",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Findings that somebody answers for until a day (TOML; see docs/gate.md): they do not fail.",
)

report_options = _together(
    output_option(
        "--format",
        "formats",
        type=Parsed("LIST", parse_formats, FORMATS),
        metavar="LIST",
        help="Reports on a model: html,json,sarif,junit,markdown (default html,json; result.json is always written).",
    ),
    redact_option,
    output_option(
        "--fail-on",
        type=click.Choice(["suspicious", "backdoored"]),
        help="Mildest verdict that exits with 1 (default suspicious).",
    ),
    waivers_option,
)
"""What is written of a model, and what the gate asks."""

fleet_options = _together(
    fleet_option(
        "--ledger",
        metavar="FILE_OR_URL",
        help="What is known of every version: a file, or a database by its SQLAlchemy URL (default: the environment "
        "variable SMOOTHSCAN_LEDGER, else ledger.db in your folder of application state).",
    ),
    fleet_option("--engine", type=click.Choice(["local", "ray"]), help="Who scans: this machine (default), or Ray."),
    fleet_option("--ray-address", metavar="ADDRESS", help="The Ray cluster (default: the one that Ray finds)."),
    fleet_option(
        "--workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="Scans side by side (default: one for each accelerator, else for each core).",
    ),
    fleet_option(
        "--retries",
        type=click.IntRange(min=0),
        metavar="N",
        help="Further attempts at a model after a crash or a lost server (default 2).",
    ),
)
"""How many models are scanned."""


def given(ctx: click.Context) -> dict[str, Any]:
    """Return the parameters that stand on the command line, by name; the others may come from a configuration file."""
    return {
        name: value
        for name, value in ctx.params.items()
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
