"""`smoothscan denoiser`: diffusion models that clean images before the classifier sees them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smoothscan.cli.options import HeadedCommand, SuggestingGroup
from smoothscan.cli.shared_options import log_options, machine_option, output_option, registry_option, under
from smoothscan.cli.values import Parsed, parse_size
from smoothscan.sinks.text import plain

if TYPE_CHECKING:
    from smoothscan.cli.display import Manner
    from smoothscan.training import Trained

DEFAULT_STEPS = 6000
DEFAULT_OUTPUT = Path("smoothscan-denoiser")

_EXAMPLE = """\b
Examples:
  smoothscan denoiser train --images factory-images/ --output denoiser/
  smoothscan check models:/signs@candidate \\
      --images clean-images/ --denoiser denoiser/

\b
Exit codes:
  0  the denoiser is trained, and registered if you asked for that
  2  usage error
  3  the training broke down, or MLflow did not take the denoiser
"""

_GROUP = """\b
Examples:
  smoothscan denoiser train --images factory-images/ --output denoiser/
"""

_training_option = under("What to train")


@click.group(cls=SuggestingGroup, epilog=_GROUP)
def denoiser() -> None:
    """Make a diffusion model that cleans images before a scanned model sees them."""


@denoiser.command(cls=HeadedCommand, epilog=_EXAMPLE)
@_training_option(
    "--images",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder of images like those that the classifier sees, thousands if you can; no labels needed.",
)
@_training_option(
    "--size",
    type=Parsed("HxW", parse_size),
    metavar="HxW",
    help="Height and width that images are brought to, multiples of 4 (default: the images' own, at most 64 at the "
    "shorter side).",
)
@_training_option(
    "--channels",
    type=click.Choice(["1", "3"]),
    help="1 for grey, 3 for RGB (default: 1 if the images are grey).",
)
@_training_option(
    "--steps",
    type=click.IntRange(min=1),
    default=DEFAULT_STEPS,
    metavar="N",
    help=f"Steps of 64 images (default {DEFAULT_STEPS}).",
)
@_training_option(
    "--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Seed of all randomness (default 0)."
)
@output_option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_OUTPUT,
    metavar="DIR",
    help=f"Folder of the denoiser (default {DEFAULT_OUTPUT}). If the training is stopped, the same command goes on.",
)
@output_option("--log-model", metavar="NAME", help="Register it in MLflow under this name as well.")
@registry_option("--tracking-uri", metavar="URI", help="MLflow tracking server (default: MLflow's own setting).")
@log_options
@machine_option("--device", metavar="NAME", help="Torch device (default: the first accelerator, else the CPU).")
@machine_option("--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads (default: all cores).")
def train(
    images: Path,
    output: Path,
    size: tuple[int, int] | None,
    channels: str | None,
    steps: int,
    log_model: str | None,
    tracking_uri: str | None,
    progress: Manner,
    quiet: bool,
    verbose: bool,
    **machine: Any,
) -> None:
    """Train a denoiser from a folder of images without labels.

    The denoiser is a small diffusion model. smoothscan check --denoiser DIR runs it once on each noisy image, so that
    classifiers which were never trained with noise can be scanned at higher noise levels. Some images are held out to
    measure what it learned.
    """
    from smoothscan.cli.display import listen
    from smoothscan.training import register, train

    uri = None
    with listen("none" if quiet else progress, verbose=verbose) as events:
        trained = train(
            images,
            output,
            size=size,
            channels=None if channels is None else int(channels),
            steps=steps,
            take_finished=log_model is not None,
            events=events,
            **machine,
        )
        if log_model is not None:
            uri = register(trained, log_model, tracking_uri, events)
    click.echo("\n".join(_lines(trained, uri)))


def _lines(trained: Trained, uri: str | None) -> list[str]:
    """Return what the denoiser makes of held-out images, and where things are."""
    from smoothscan.cli.outcome import aligned

    heads = ("noise level", "error, noisy", "error, denoised")
    rows = [(f"{e.sigma:g}", f"{e.noisy:.4f}", f"{e.denoised:.4f}") for e in trained.errors]
    places = [
        ("trained", f"on {trained.images}"),
        ("denoiser", str(trained.folder)),
        ("pictures", str(trained.folder / "denoised.png")),
    ]
    if uri is not None:
        places.append(("model", uri))
    return [
        *aligned([heads, *rows], range(len(heads))),
        "Root-mean-square errors of held-out images; a black and a white pixel differ by 1.",
        "",
        *(f"{caption:<8} {plain(text)}" for caption, text in places),
    ]
