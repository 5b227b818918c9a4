"""From a folder of image files to bytes on disk that training reads again and again, without decoding once more."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smoothscan.errors import ImagesError, OutputError
from smoothscan.events import Events
from smoothscan.files import write_whole
from smoothscan.result import InputSpec
from smoothscan.sources.images import UnusableImageError, load_pixels, look
from smoothscan.training.settings import HELD_OUT, MULTIPLE, Settings

LEAST_IMAGES = 64
"""Images that a training needs."""
MOST_HELD_OUT = 256
"""Images that are kept out of the training, at most, to measure what it learned; a tenth of all, if that is less."""
_LOOKED_AT = 100
"""Images that decide size and channels where the user does not."""
_LONGEST_SHORT_SIDE, _SHORTEST_SIDE = 64, 8
_PIXELS, _RECORD = "images.bin", "images.json"


@dataclass(frozen=True)
class TrainingImages:
    """All usable images, some of them held out from training."""

    pixels: NDArray[np.uint8]
    """[N, C, H, W] in 0 to 255, mapped from disk."""
    digest: str
    """`sha256:<hex>` over them."""
    training: NDArray[np.int64]
    """Which of them are trained on, sorted."""
    held_out: NDArray[np.int64]
    """Which of them are not, sorted."""


def choose(paths: Sequence[Path], size: tuple[int, int] | None, channels: int | None) -> tuple[tuple[int, int], int]:
    """Return height and width in pixels, and the number of channels.

    Args:
        paths: the image files.
        size: height and width that the user wants; None for the median of some images, at most 64 at the shorter side.
        channels: what the user wants; None for 1 if these images are all grey, else 3.

    Raises:
        ImagesError: none of the images can be decoded.
    """
    if size is not None and channels is not None:
        return size, channels
    looks = []
    for path in paths[:: math.ceil(len(paths) / _LOOKED_AT)]:
        try:
            looks.append(look(path))
        except UnusableImageError:
            continue
    if not looks:
        raise ImagesError(f"None of the images that were looked at ({paths[0]}, ...) can be read.")
    if size is None:
        size = _reduced(median(height for height, _, _ in looks), median(width for _, width, _ in looks))
    if channels is None:
        channels = 1 if all(grey for _, _, grey in looks) else 3
    return size, channels


def _reduced(height: float, width: float) -> tuple[int, int]:
    scale = min(1.0, _LONGEST_SHORT_SIDE / min(height, width))
    reduced = [max(int(side * scale / MULTIPLE) * MULTIPLE, _SHORTEST_SIDE) for side in (height, width)]
    return reduced[0], reduced[1]


def files_digest(paths: Sequence[Path]) -> str:
    """Return a digest of names, sizes and times of change, which needs no decoding."""
    root = Path(os.path.commonpath([path.parent for path in paths]))
    sha = hashlib.sha256()
    for path in paths:
        about = path.stat()
        name = path.relative_to(root).as_posix().encode("utf-8", "surrogateescape")
        sha.update(name + f"\0{about.st_size} {about.st_mtime_ns}\0".encode())
    return "sha256:" + sha.hexdigest()


def load(paths: Sequence[Path], settings: Settings, folder: Path, events: Events) -> TrainingImages:
    """Decode all images into a file, or take those that were decoded before with the same settings.

    Args:
        paths: the image files.
        settings: size and channels.
        folder: where the file is, or is made.
        events: listens.

    Raises:
        ImagesError: too few of them can be used.
        OutputError: the file cannot be written.
    """
    shape = (settings.channels, settings.height, settings.width)
    asked = {"files": settings.files, "shape": list(shape)}
    known = _record(folder)
    if {name: known.get(name) for name in asked} != asked:
        events.stage("images", f"{len(paths):,} files, as {settings.shape}")
        try:
            (folder / _RECORD).unlink(missing_ok=True)
            known = {**asked, **_decode(paths, shape, folder / _PIXELS, events)}
            write_whole(folder / _RECORD, json.dumps(known).encode(), durable=True)
        except OSError as error:
            raise OutputError(
                f"The decoded images cannot be written to {folder}: {error.strerror or error}.",
                "Make room, or pass another --output.",
            ) from error
    count = known["count"]
    if count < LEAST_IMAGES:
        raise ImagesError(
            f"Only {count} of {len(paths)} images can be used; a training needs at least {LEAST_IMAGES}.",
            "Pass a folder with more images, thousands if you can.",
        )
    pixels = np.memmap(folder / _PIXELS, np.uint8, "r", shape=(count, *shape))
    held_out = settings.draw(HELD_OUT).permutation(count)[: min(MOST_HELD_OUT, count // 10)]
    training = np.setdiff1d(np.arange(count), held_out)
    return TrainingImages(pixels, known["digest"], training, np.sort(held_out))


def _decode(paths: Sequence[Path], shape: tuple[int, ...], into: Path, events: Events) -> dict[str, Any]:
    channels, height, width = shape
    spec = InputSpec(channels=channels, height=height, width=width)
    sha, count, skipped = hashlib.sha256(str(shape).encode()), 0, []
    with into.open("wb") as file:  # a memory-mapped one could not say that the disk is full: the process would die
        for position, path in enumerate(paths):
            if not position % 100:
                events.progress(position, len(paths))
            try:
                pixels = load_pixels(path, path.name, spec)
            except UnusableImageError as error:
                skipped.append(f"{path.name}: {error}")
                continue
            stored = np.rint(pixels * 255).astype(np.uint8).tobytes()
            file.write(stored)
            sha.update(stored)
            count += 1
    if skipped:
        shown = "; ".join(skipped[:3]) + ("; ..." if len(skipped) > 3 else "")
        events.warning(f"{len(skipped)} of {len(paths)} images cannot be used: {shown}")
    return {"count": count, "digest": "sha256:" + sha.hexdigest()}


def _record(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / _RECORD).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
