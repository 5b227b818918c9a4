"""From a model, wherever it is, to a classifier that can be asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smoothscan.config import ScanConfig
from smoothscan.intake.files import from_files
from smoothscan.intake.interface import Intake, Known
from smoothscan.sources.given_images import GivenArray, GivenPictures

if TYPE_CHECKING:
    from torch import nn

__all__ = ["NOTHING_GIVEN", "Given", "Intake", "Known", "taken_in"]


@dataclass(frozen=True)
class Given:
    """What the caller hands over instead of naming it."""

    module: nn.Module | None = None
    """The model; None for the one that `config.uri` names."""
    images: GivenArray | GivenPictures | None = None
    """The images; None for those in the folder `config.images`."""


NOTHING_GIVEN = Given()
"""The model and the images that a configuration names."""


@contextmanager
def taken_in(config: ScanConfig, workspace: Path, input_sources: Mapping[str, str], given: Given) -> Iterator[Intake]:
    """Yield the way of a model.

    Args:
        config: names the model, and says how it is loaded.
        workspace: empty folder that is removed afterwards.
        input_sources: where each part of `config.input` that the user gave comes from.
        given: what is handed over instead.
    """
    if given.module is None:
        with from_files(workspace, config, input_sources) as files:
            yield files
        return
    from smoothscan.intake.memory import in_memory  # torch is slow to import, and a recalled scan does without

    shape = None if given.images is None else given.images.shape
    with in_memory(given.module, config, workspace, shape) as memory:
        yield memory
