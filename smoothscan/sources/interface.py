"""What a source of models does, and what it hands over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from smoothscan.errors import SmoothscanError
from smoothscan.events import Events
from smoothscan.result import ModelInfo
from smoothscan.stored import Stored


@dataclass(frozen=True)
class Artifact:
    """A model on this machine, pinned to bytes."""

    path: Path
    """Private copy of the model's folder; holds the MLmodel file."""
    info: ModelInfo
    """Where it came from, and the digests of its files."""
    stored: Stored
    """Where the network lies in the folder, and in which format."""
    mlmodel: dict[str, Any]
    """The parsed MLmodel file. Its contents are the model author's words: use with care."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.path.rglob("*") if path.is_file())


def model_of(error: BaseException) -> ModelInfo | None:
    """Return which model an error of `fetch` is about, as far as it was resolved; None if it was not.

    With it a version whose files can not be used is tagged as failed or unsupported, instead of keeping an old verdict.
    """
    model = vars(error).get("model")
    return model if isinstance(model, ModelInfo) else None


@contextmanager
def about(model: ModelInfo) -> Iterator[None]:
    """Note on errors which model they are about, unless that is known already."""
    try:
        yield
    except SmoothscanError as error:
        vars(error).setdefault("model", model)
        raise


class Source(Protocol):
    """Brings models to this machine. One file per implementation."""

    def fetch(self, uri: str, into: Path, events: Events) -> Artifact:
        """Copy the model's files into the empty folder `into`, and pin them; see `smoothscan.sources.fetch`."""
