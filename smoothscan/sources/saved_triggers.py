"""Triggers that an earlier scan saved: a result.json and the folder `perturbations` beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from smoothscan.errors import ReplayError
from smoothscan.products import PERTURBATIONS, of_class, of_pair
from smoothscan.result import ClassResult, PairResult, ScanResult
from smoothscan.sources.result_file import read_result
from smoothscan.vocabulary import SpaceName

MOST_SUSPECT = 3
"""Classes that are replayed where none was flagged."""


@dataclass(frozen=True)
class SavedTrigger:
    """One trigger, and what it did in the model that it was found in."""

    space: SpaceName
    """Kind of trigger."""
    index: int
    """Class that it leads to."""
    label: str
    """Name of that class, or its index as text."""
    source: int | None
    """Class of the images that it works on; None for one that works on all others."""
    parameters: NDArray[np.float32]
    """Its parameters in the space."""
    description: str
    """The trigger in a few words."""
    made_from: tuple[str, ...]
    """Names of the images that it was made from; files of older versions name one of them only."""
    rate: float
    """Share of the held-out images that it moved to the class."""
    interval: tuple[float, float]
    """95 % Clopper-Pearson interval of `rate`."""


@dataclass(frozen=True)
class Saved:
    """What an earlier scan left behind."""

    result: ScanResult
    """Its result."""
    flagged: bool
    """Whether the triggers are of flagged classes."""
    triggers: tuple[SavedTrigger, ...]
    """The triggers that can be replayed."""
    missing: tuple[str, ...]
    """What was flagged and left no such trigger, in words."""


def read_saved(path: Path) -> Saved:
    """Read a result and the triggers beside it: those of flagged classes and pairs, else of the most suspect classes.

    Args:
        path: a result.json.

    Raises:
        ConfigError: see `read_result`.
        ReplayError: there is no trigger to replay beside it.
    """
    result = read_result(path)
    folder = path.parent / PERTURBATIONS
    if not result.target_classes:
        suspects = sorted(result.classes, key=lambda c: -c.score)
        found = [found for c in suspects if (found := _of_class(folder, result, c)) is not None][:MOST_SUSPECT]
        if not found:
            raise _nothing(path, "")
        return Saved(result, False, tuple(found), ())
    triggers, missing = [], []
    for trigger, what in _flagged(folder, result):
        if trigger is not None:
            triggers.append(trigger)
        else:
            missing.append(what)
    if not triggers:
        raise _nothing(path, ": " + "; ".join(missing))
    return Saved(result, True, tuple(triggers), tuple(missing))


def _nothing(path: Path, why: str) -> ReplayError:
    return ReplayError(
        f"No trigger that could be replayed is saved beside {path}{why}.",
        "The folder `perturbations` belongs beside it. If it is there, an older smoothscan wrote it: scan again.",
    )


def _flagged(folder: Path, result: ScanResult) -> Iterator[tuple[SavedTrigger | None, str]]:
    """Yield the trigger of everything that was flagged, or None with the reason why there is none."""
    level = next((each.level for each in result.spaces if each.space == result.space), 0.5)
    for c in result.classes:
        if not c.flagged or c.found_by == "pairs":
            continue
        if c.found_by == "noise" or c.transfer_rate < level / 2:
            yield None, f"class {c.index} was flagged by plain noise or at a larger budget, not by the trigger saved"
        else:
            yield _of_class(folder, result, c), f"the trigger of class {c.index} is not there, or not whole"
    for pair in result.pairs.flagged if result.pairs else ():
        what = f"the trigger from class {pair.source} to class {pair.target} is not there, or not whole"
        yield _of_pair(folder, result, pair), what


def _of_class(folder: Path, result: ScanResult, c: ClassResult) -> SavedTrigger | None:
    path = folder / f"{of_class(c.index)}.safetensors"
    return _read(path, result.space, c.index, c.label, None, c.transfer_rate, c.transfer_ci)


def _of_pair(folder: Path, result: ScanResult, pair: PairResult) -> SavedTrigger | None:
    label = next((c.label for c in result.classes if c.index == pair.target), str(pair.target))
    path = folder / f"{of_pair(pair.source, pair.target)}.safetensors"
    return _read(path, "patch", pair.target, label, pair.source, pair.transfer_rate, pair.transfer_ci)


def _read(
    path: Path,
    space: SpaceName,
    index: int,
    label: str,
    source: int | None,
    rate: float,
    interval: tuple[float, float],
) -> SavedTrigger | None:
    """Return the trigger of a file; None if it is missing, broken, or of a version that saved too little."""
    try:
        with safe_open(path, "numpy") as file:
            words = file.metadata() or {}
            parameters = file.get_tensor("delta" if space == "l2" else "parameters")
    except (OSError, SafetensorError):
        return None
    if words.get("space") != space or parameters.dtype != np.float32 or not np.isfinite(parameters).all():
        return None
    described, made_from = words.get("description", ""), _names(words)
    return SavedTrigger(space, index, label, source, parameters, described, made_from, rate, interval)


def _names(words: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the images that a trigger was made from, as its metadata have them."""
    first = words.get("source_image", "")
    try:
        names = json.loads(words.get("made_from", "[]"))
    except (ValueError, RecursionError):
        return (first,)
    others = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return tuple(dict.fromkeys([first, *others]))
