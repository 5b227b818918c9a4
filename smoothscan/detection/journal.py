"""What a search has found so far, on disk: memory holds what it works on, and one that was stopped goes on from there.

A search is a chain of pieces of work, each determined by the scan's settings and by the pieces before it. A piece that
an earlier, stopped scan has finished is read instead of done again, so that both scans end alike.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from smoothscan.errors import ScanFailedError, TimeBudgetError
from smoothscan.files import write_whole
from smoothscan.meter import Meter
from smoothscan.spaces.interface import Space, Trigger

Key = TypeVar("Key", bound=Hashable)
Once = Callable[[str, Callable[[], dict[str, Tensor]]], "Piece"]
"""Does a piece of work, or recalls it; see `Journal.once`."""


@dataclass(frozen=True)
class Piece:
    """One finished piece of work."""

    journal: Journal
    """Where it is."""
    path: Path
    """Its file."""
    passes: float
    """Model passes that it took."""
    recalled: bool
    """Whether an earlier scan did it."""

    def __getitem__(self, name: str) -> Tensor:
        """Read one of its tensors."""
        with safe_open(self.path, "pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    def row(self, name: str, position: int) -> Tensor:
        """Read one row of one of its tensors."""
        with safe_open(self.path, "pt") as file:
            rows: Tensor = file.get_slice(name)[position : position + 1]
        return rows[0]


class Journal:
    """Finished pieces of work, each in a file of its own.

    Args:
        folder: where the files are; one that is removed with the last piece if left out.
        meter: counts model passes; those of a piece that is recalled are added.
        deadline: value of `time.monotonic()` by which every piece has to be finished.
    """

    def __init__(self, folder: Path | None, meter: Meter, deadline: float = math.inf) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="smoothscan-") if folder is None else None
        self.folder = folder or Path(self._temporary.name if self._temporary else "")
        self.meter, self.deadline = meter, deadline
        self._longest = 0.0

    @property
    def n_pieces(self) -> int:
        """Number of pieces that are there."""
        return sum(1 for _ in self.folder.glob("*.safetensors"))

    def once(self, title: str, work: Callable[[], dict[str, Tensor]]) -> Piece:
        """Do a piece of work, or recall it.

        Args:
            title: what it is, with everything that it depends on beyond the scan's settings and the model.
            work: does it; called only if it has not been done.

        Raises:
            TimeBudgetError: there is no time left for it.
            ScanFailedError: it cannot be stored.
        """
        path = self.folder / (hashlib.sha256(title.encode()).hexdigest()[:32] + ".safetensors")
        spent = _spent(path, title)
        if spent is not None:
            passes, denoiser_passes = spent
            self.meter.passes += passes
            self.meter.denoiser_passes += denoiser_passes
            return Piece(self, path, passes, recalled=True)
        started, before = time.monotonic(), replace(self.meter)
        if started + self._longest > self.deadline:
            raise TimeBudgetError(
                "The time budget ended before one kind of trigger was searched to its end.",
                "Run the same command again: unless --no-cache is given, it goes on from there. Or allow more time.",
            )
        found = work()
        self._longest = max(self._longest, time.monotonic() - started)
        passes = self.meter.passes - before.passes
        denoiser_passes = self.meter.denoiser_passes - before.denoiser_passes
        words = {"title": title, "passes": repr(passes), "denoiser_passes": repr(denoiser_passes)}
        self._store(path, {name: t.contiguous() for name, t in found.items()}, words)
        return Piece(self, path, passes, recalled=False)

    def _store(self, path: Path, tensors: dict[str, Tensor], words: dict[str, str]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, save(tensors, words), durable=False)
        except OSError as error:
            raise ScanFailedError(
                f"What the scan has found so far cannot be stored in {self.folder}: {error.strerror or error}.",
                "Free some space, or choose a folder on another disk with --cache-dir.",
            ) from error


class Triggers(Mapping[Key, Trigger]):
    """Triggers of one space by key; their parameters stay on disk until they are asked for.

    Args:
        space: the space.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self._places: dict[Key, tuple[Piece, int]] = {}

    def keep(self, key: Key, piece: Piece, position: int) -> None:
        """Note that a trigger's parameters are a row of `parameters` of a piece."""
        self._places[key] = piece, position

    def parameters(self, keys: list[Key]) -> Tensor:
        """Read the parameters of several triggers, [G, *P]."""
        return torch.stack([self[key].parameters for key in keys])

    def __getitem__(self, key: Key) -> Trigger:
        piece, position = self._places[key]
        return Trigger(self.space, piece.row("parameters", position))

    def __iter__(self) -> Iterator[Key]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _spent(path: Path, title: str) -> tuple[float, float] | None:
    """Return the passes, through the model and the denoiser, of a piece; None if it is not there, or not whole."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        passes, denoiser_passes = float(metadata["passes"]), float(metadata["denoiser_passes"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    whole = metadata.get("title") == title and 0 <= passes < math.inf and 0 <= denoiser_passes < math.inf
    return (passes, denoiser_passes) if whole else None
