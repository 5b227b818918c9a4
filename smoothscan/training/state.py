"""What a stopped training goes on from: one file in a hidden folder inside of the output folder. Never unpickled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from smoothscan.cache import locked
from smoothscan.errors import ConfigError, OutputError
from smoothscan.files import make_folder, write_atomically
from smoothscan.training.settings import Settings

HIDDEN = ".training"
_STATE = "state.safetensors"


@dataclass
class Progress:
    """What is known of a training besides its weights."""

    done: int = 0
    """Steps done."""
    seconds: float = 0.0
    """Time that they took."""
    losses: list[tuple[int, float]] = field(default_factory=list)
    """Steps done, and the mean loss of those since the entry before."""
    pending: float = 0.0
    """Sum of the losses since the last entry."""


@contextmanager
def hidden_folder(output: Path) -> Iterator[Path]:
    """Make the output folder and the hidden one in it, and keep other trainings out of it.

    Args:
        output: folder of the denoiser; new, empty, or with an unfinished training in it.

    Raises:
        OutputError: it holds something else, cannot be written to, or another process trains there.
    """
    folder = output / HIDDEN
    if output.is_dir() and not folder.is_dir() and any(output.iterdir()):
        raise OutputError(f"{output} exists and holds something else.", "Pass a new folder with --output.")
    try:
        make_folder(output)
    except OutputError as error:
        raise OutputError(error.message, "Pass another --output.") from error
    lock = locked(folder)
    if lock is None:
        raise OutputError(f"Another process trains in {output}.", "Wait for it, or pass another --output.")
    with lock:
        yield folder


def keep(folder: Path, settings: Settings, progress: Progress, state: dict[str, Tensor]) -> None:
    """Write down how far a training has come.

    Raises:
        OutputError: the disk is full; what was kept before is still there.
    """
    about = {"settings": json.dumps(asdict(settings)), "progress": json.dumps(asdict(progress))}
    data = save({name: tensor.cpu().contiguous() for name, tensor in state.items()}, about)
    try:
        write_atomically(folder / _STATE, data)
    except OutputError as error:
        hint = "Make room; the same command goes on from what is kept."
        raise OutputError(error.message, hint) from error


def check_settings(folder: Path, settings: Settings) -> None:
    """Check that what was kept belongs to the same training.

    Raises:
        ConfigError: it was begun with other settings.
    """
    if (about := _about(folder)) is None:
        return
    if different := settings.differences(json.loads(about["settings"])):
        raise ConfigError(
            f"{folder.parent} holds an unfinished training of other settings; asked for now: {different}.",
            f"Repeat the command that began it, pass another --output, or remove {folder} to give it up.",
        )


def recall(folder: Path) -> tuple[Progress, dict[str, Tensor]] | None:
    """Return how far a training had come and the state of its trainer; None if nothing was kept."""
    if (about := _about(folder)) is None:
        return None
    with safe_open(folder / _STATE, "pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    return Progress(**json.loads(about["progress"])), state


def _about(folder: Path) -> dict[str, str] | None:
    if not (folder / _STATE).exists():
        return None
    try:
        with safe_open(folder / _STATE, "pt") as file:
            found: dict[str, str] = file.metadata()
    except (OSError, SafetensorError) as error:
        raise ConfigError(
            f"What was kept of the training in {folder.parent} cannot be read: {error}.",
            f"Remove {folder} to begin anew, or pass another --output.",
        ) from error
    return found
