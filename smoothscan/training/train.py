"""The order of one training: images, steps, what came out."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from smoothscan.devices import one_thread, pick_device
from smoothscan.errors import ConfigError
from smoothscan.events import Events
from smoothscan.sources.denoisers import require_diffusers
from smoothscan.sources.images import list_images
from smoothscan.surroundings import held_signals
from smoothscan.training.images import choose, files_digest, load
from smoothscan.training.result import Trained, finish, finished
from smoothscan.training.settings import MULTIPLE, Settings
from smoothscan.training.state import Progress, check_settings, hidden_folder, keep, recall
from smoothscan.training.trainer import Trainer

_KEPT_AFTER = (500, 120.0)
"""Steps, and seconds, after which the state is written down; whichever comes first."""
_LOSSES = 50
"""Points of the loss over time."""


def train(
    images: Path,
    output: Path,
    *,
    size: tuple[int, int] | None,
    channels: int | None,
    steps: int,
    seed: int,
    threads: int | None,
    device: str | None,
    take_finished: bool,
    events: Events,
) -> Trained:
    """Train a denoiser from unlabelled images, or go on with a training that was stopped.

    Args:
        images: folder of image files.
        output: folder of the denoiser, a pipeline as diffusers saves it; new, empty, or that of a stopped training.
        size: height and width in pixels, multiples of 4; None for that of the images.
        channels: 1 or 3; None for that of the images.
        steps: steps of the optimiser.
        seed: seed of all randomness, at least 0.
        threads: parts of a batch that are worked on side by side on a CPU; None for one for each core.
        device: torch device; None for the first accelerator, else the CPU.
        take_finished: whether a folder that the same training has finished before is as good as a new one.
        events: listens.

    Returns:
        Where the denoiser is, and what is known of it.

    Raises:
        DenoiserError: diffusers is not installed.
        ImagesError: the images cannot be used, or are too few.
        ConfigError: size, device or settings do not fit.
        OutputError: the folder holds something else, or cannot be written to.
        TrainingError: the training broke down.
    """
    require_diffusers()
    place = _place(device)
    paths = list_images(images)
    (height, width), channels = choose(paths, size, channels)
    if height % MULTIPLE or width % MULTIPLE or min(height, width) < 2 * MULTIPLE:
        raise ConfigError(
            f"The size {height}x{width} does not suit the network.",
            f"Height and width have to be multiples of {MULTIPLE}, and at least {2 * MULTIPLE}.",
        )
    settings = Settings(height, width, channels, steps, seed, files_digest(paths))
    if (before := finished(output, settings, take=take_finished)) is not None:
        events.stage("finished", f"{output} was trained before")
        return before
    with hidden_folder(output) as hidden, one_thread() as threads_before:
        check_settings(hidden, settings)
        found = load(paths, settings, hidden, events)
        trainer = Trainer(settings, found, threads or threads_before, place)
        try:
            progress = _steps(trainer, hidden, events)
            return finish(trainer, progress, output, hidden, events)
        except KeyboardInterrupt as stop:
            stop.args = ("stopped; what was trained is kept, and the same command goes on from there",)
            raise


def _steps(trainer: Trainer, hidden: Path, events: Events) -> Progress:
    """Do the steps that are left, and keep the state now and then, so that little is lost however the process ends."""
    settings, progress = trainer.settings, Progress()
    if (kept := recall(hidden)) is not None:
        progress, state = kept
        trainer.restore(state, progress.done)
        events.stage("resume", f"{progress.done:,} of {settings.steps:,} steps were done before")
    images = f"{len(trainer.images.training):,} images of {settings.shape}"
    events.stage("train", f"{images}, {settings.steps:,} steps")
    first, interval = trainer.done, max(settings.steps // _LOSSES, 1)
    began = kept_at = time.monotonic()
    spent = progress.seconds
    with trainer.workers, held_signals() as came:
        while trainer.done < settings.steps and not came:
            progress.pending += trainer.step()
            progress.done, progress.seconds = trainer.done, spent + time.monotonic() - began
            if not trainer.done % interval:
                progress.losses.append((trainer.done, progress.pending / interval))
                progress.pending = 0.0
            events.progress(trainer.done - first, settings.steps - first)
            if not trainer.done % _KEPT_AFTER[0] or time.monotonic() - kept_at > _KEPT_AFTER[1]:
                keep(hidden, settings, progress, trainer.state())
                kept_at = time.monotonic()
        if trainer.done > first:
            keep(hidden, settings, progress, trainer.state())
    return progress


def _place(wanted: str | None) -> torch.device:
    try:
        device = pick_device(wanted or "auto")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # an assertion: this torch was built without CUDA
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"The device {wanted} cannot be used: {reason}", "Pass another --device, such as cpu."
        ) from error
    return device
