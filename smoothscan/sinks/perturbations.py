"""The recovered perturbations as files: exact numbers in safetensors, a picture to look at in PNG."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smoothscan.exhibits import ClassExhibit, Exhibits
from smoothscan.files import make_folder, remove, write_atomically
from smoothscan.products import PERTURBATIONS, of_class, of_pair
from smoothscan.result import PairResult, ScanResult
from smoothscan.sinks.pictures import of_trigger, png
from smoothscan.sinks.text import plain

_OURS = re.compile(r"(class|pair_\d{4,})_\d{4,}\.(png|safetensors)")
_SHOWN_AT = 128


class PerturbationSink:
    """Writes `perturbations/class_0000.safetensors` and `.png` for the classes with a recovered perturbation.

    For the most anomalous flagged pairs of source and target class there are `pair_0009_0004.safetensors` and `.png`,
    with `source` in the metadata.

    The safetensors file holds `delta` (float32 [C, H, W] in [-1, 1]), `image` (float32 [C, H, W] in [0, 1]), the clean
    image that delta was synthesised from, and, outside L2, `picture` (float32 [C, H, W] in [0, 1]), the trigger by
    itself, and `parameters` (float32, of the shape that its space has), which put it on other images
    (`smoothscan verify`). Its metadata are strings: `class`, `label`, `space`, `description`, `epsilon` (in the unit of
    the space), `sigma`, `model_digest`, `source_image` (the name of `image`), `made_from` (the names of all images that
    the trigger was made from, as a JSON list), and the classes that the model gives the image without the trigger
    (`clean_prediction`) and with it (`predicted`).

    Outside L2, delta is the change that the trigger makes to the image, so it shows the image: with redaction it is
    left out like the image itself.

    Args:
        redact_images: leave out the user's image and what shows parts of it.
    """

    def __init__(self, redact_images: bool) -> None:
        self.redact_images = redact_images

    def write(self, result: ScanResult, exhibits: Exhibits, folder: Path) -> tuple[Path, ...]:
        """Write the files and remove those of an earlier scan; see `Sink.write`."""
        place = folder / PERTURBATIONS
        written: list[Path] = []
        if exhibits.classes:
            make_folder(place)
        files = [(of_class(index), exhibit, _metadata(result, exhibit)) for index, exhibit in exhibits.classes.items()]
        files += [
            (of_pair(pair.source, pair.target), exhibit, _pair_metadata(result, exhibit, pair))
            for pair in (result.pairs.flagged if result.pairs else ())
            if (exhibit := exhibits.pairs.get((pair.source, pair.target))) is not None
        ]
        for name, exhibit, metadata in files:
            stem = place / name
            data = _safetensors(self._tensors(exhibit), metadata)
            written.append(write_atomically(stem.with_suffix(".safetensors"), data))
            written.append(write_atomically(stem.with_suffix(".png"), png(of_trigger(exhibit), _SHOWN_AT)))
        _remove_stale(place, keep=written)
        return tuple(written)

    def _tensors(self, exhibit: ClassExhibit) -> dict[str, NDArray[np.float32]]:
        tensors = {}
        if exhibit.picture is None or not self.redact_images:  # outside L2 the change shows parts of the image
            tensors["delta"] = exhibit.perturbation
        if not self.redact_images:
            tensors["image"] = exhibit.synthesis_image
        if exhibit.picture is not None:
            tensors["picture"] = exhibit.picture
        if exhibit.parameters is not None:
            tensors["parameters"] = exhibit.parameters
        return {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in tensors.items()}


def _metadata(result: ScanResult, exhibit: ClassExhibit) -> dict[str, str]:
    found = next((c for c in result.classes if c.index == exhibit.index), None)
    return {
        "class": str(exhibit.index),
        "label": plain(found.label) if found else str(exhibit.index),
        "space": result.space,
        "description": exhibit.description,
        "epsilon": repr(found.epsilon) if found else "",
        "sigma": repr(found.sigma) if found else "",
        "model_digest": result.model.digest or "",
        "source_image": plain(exhibit.synthesis_name),
        "made_from": json.dumps(exhibit.made_from),
        "clean_prediction": str(exhibit.synthesis_prediction),
        "predicted": str(exhibit.perturbed_prediction),
    }


def _pair_metadata(result: ScanResult, exhibit: ClassExhibit, pair: PairResult) -> dict[str, str]:
    return _metadata(result, exhibit) | {
        "source": str(pair.source),
        "space": "patch",
        "epsilon": repr(pair.epsilon),
        "sigma": repr(result.pairs.sigma) if result.pairs else "",
    }


def _safetensors(tensors: dict[str, NDArray[np.float32]], metadata: dict[str, str]) -> bytes:
    """Serialise with the header in a fixed order: the library's own differs from process to process."""
    from safetensors.numpy import save

    data = save(tensors, metadata)
    (length,) = struct.unpack("<Q", data[:8])
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def _remove_stale(place: Path, keep: list[Path]) -> None:
    """Remove what an earlier scan left: a file of a class that this scan says nothing about would mislead."""
    if not place.is_dir():
        return
    for path in place.iterdir():
        if _OURS.fullmatch(path.name) and path not in keep:
            remove(path)
