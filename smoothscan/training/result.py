"""What a training leaves behind: a pipeline folder as diffusers saves it, a picture, and a record in JSON."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from smoothscan.errors import OutputError
from smoothscan.events import Events
from smoothscan.smoothing.denoiser import Denoiser
from smoothscan.smoothing.diffusion import load_denoiser
from smoothscan.sources.denoisers import INDEX, read_pipeline
from smoothscan.surroundings import quiet
from smoothscan.training.measure import Error, errors, picture
from smoothscan.training.network import make_scheduler
from smoothscan.training.settings import BATCH, Settings
from smoothscan.training.state import HIDDEN, Progress

if TYPE_CHECKING:
    from smoothscan.training.trainer import Trainer

RECORD, PICTURE = "training.json", "denoised.png"
_PACKAGES = ("smoothscan", "torch", "diffusers", "numpy")


@dataclass(frozen=True)
class Trained:
    """A denoiser, and what is known of it."""

    folder: Path
    """The pipeline folder."""
    record: dict[str, Any]
    """What stands in its `training.json`."""

    @property
    def images(self) -> str:
        """In words, what it was trained on."""
        settings = Settings(**self.record["settings"])
        return f"{self.record['images']['training']:,} images of {settings.shape}"

    @property
    def errors(self) -> list[Error]:
        """What is wrong with noisy and with denoised held-out images, at several noise levels."""
        return [Error(**entry) for entry in self.record["errors"]]


def finished(output: Path, settings: Settings, *, take: bool) -> Trained | None:
    """Return the denoiser that is in a folder already; None if there is none.

    Args:
        output: the folder.
        settings: what is to be trained now.
        take: whether one of the same settings is welcome.

    Raises:
        OutputError: there is one, and it is not welcome.
    """
    if not (output / INDEX).exists():
        return None
    hint = f"Scan with it: smoothscan check --denoiser {output}. To train another, pass another --output."
    try:
        record = json.loads((output / RECORD).read_bytes())
        different = settings.differences(record["settings"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(f"{output} holds a diffusion model that was not trained here.", hint) from error
    if take and different:
        raise OutputError(f"{output} holds a denoiser of other settings; asked for now: {different}.", hint)
    if not take:
        raise OutputError(f"{output} holds a denoiser already: its training is finished.", hint)
    shutil.rmtree(output / HIDDEN, ignore_errors=True)  # where the training ended while it cleaned up
    return Trained(output, record)


def finish(trainer: Trainer, progress: Progress, output: Path, hidden: Path, events: Events) -> Trained:
    """Measure the trained denoiser and put it into its folder; what is hidden there goes.

    Args:
        trainer: has done all its steps.
        progress: how that went.
        output: the folder.
        hidden: the folder of the training's state in it.
        events: listens.

    Raises:
        OutputError: something cannot be written; the state is still there.
    """
    draft = hidden / "result"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        _save(trainer, draft)
        events.stage("measure", f"{len(trainer.images.held_out)} images that were held out")
        denoiser = load_denoiser(
            read_pipeline(draft, str(output)),
            trainer.settings.channels,
            threads=trainer.threads,
            device=str(trainer.device),
            low_precision=trainer.low_precision,
        )
        record = _record(trainer, progress, denoiser)
        (draft / PICTURE).write_bytes(picture(denoiser, trainer.images, trainer.settings))
        (draft / RECORD).write_text(json.dumps(record, indent=2) + "\n")
        _move(draft, output)
    except (OSError, SafetensorError) as error:
        hint = "Make room; the same command goes on from what is kept."
        raise OutputError(f"Cannot write the denoiser into {output}: {error}", hint) from error
    shutil.rmtree(hidden, ignore_errors=True)
    return Trained(output, record)


def _save(trainer: Trainer, folder: Path) -> None:
    from diffusers import DDPMPipeline

    with quiet("diffusers"):
        pipeline: Any = DDPMPipeline(trainer.averaged(), make_scheduler())  # type: ignore[no-untyped-call]
        pipeline.save_pretrained(folder, safe_serialization=True)


def _record(trainer: Trainer, progress: Progress, denoiser: Denoiser) -> dict[str, Any]:
    images, settings = trainer.images, trainer.settings
    return {
        "settings": asdict(settings),
        "images": {"training": len(images.training), "held_out": len(images.held_out), "digest": images.digest},
        "parameters": sum(weights.numel() for weights in trainer.parameters),
        "errors": [asdict(error) for error in errors(denoiser, images, settings)],
        "losses": progress.losses,
        "seconds": round(progress.seconds, 1),
        "images_per_second": round(settings.steps * BATCH / max(progress.seconds, 1e-9), 1),
        "device": str(trainer.device),
        "threads": trainer.threads,
        "arithmetic": "bfloat16" if trainer.low_precision else "float32",
        "versions": {name: metadata.version(name) for name in _PACKAGES},
    }


def _move(draft: Path, output: Path) -> None:
    """Move the files into place; the index comes last, for a folder with it is complete."""
    for path in sorted(draft.iterdir(), key=lambda path: path.name == INDEX):
        place = output / path.name
        if place.is_dir():
            shutil.rmtree(place)  # of an earlier attempt that was stopped right here
        path.replace(place)
