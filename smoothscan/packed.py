"""One finished scan in one file: its result and its pictures, as safetensors. Nothing in it is ever unpickled."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from smoothscan.exhibits import ClassExhibit, Exhibits, HeldOutExample
from smoothscan.result import ScanResult


class PackedError(ValueError):
    """A file holds no finished scan that this version can read."""


def pack(result: ScanResult, exhibits: Exhibits) -> bytes:
    """Return a finished scan as the bytes of its file."""
    words, arrays = _flat(exhibits)
    return save(arrays, {"result": result.model_dump_json(), "exhibits": json.dumps(words)})


def unpack(path: Path) -> tuple[ScanResult, Exhibits]:
    """Read a finished scan.

    Raises:
        PackedError: the file is not whole, or of another version.
        OSError: it cannot be read.
    """
    try:
        with safe_open(path, "numpy") as file:
            words = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        result = ScanResult.model_validate_json(words["result"])
        return result, _exhibits(json.loads(words["exhibits"]), arrays)
    except (SafetensorError, ValidationError, KeyError, TypeError, ValueError) as error:
        raise PackedError(f"{path} holds no finished scan: {type(error).__name__}") from error


@dataclass
class _Writer:
    """Takes pictures apart into words and arrays."""

    arrays: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def put(self, array: NDArray[np.float32] | None) -> str | None:
        if array is None:
            return None
        name = str(len(self.arrays))
        self.arrays[name] = np.ascontiguousarray(array, np.float32)
        return name

    def of(self, exhibit: ClassExhibit) -> dict[str, Any]:
        examples = [
            {**vars(one), "clean": self.put(one.clean), "perturbed": self.put(one.perturbed)}
            for one in exhibit.examples
        ]
        pictures = {name: self.put(getattr(exhibit, name)) for name in _PICTURES}
        return {**vars(exhibit), **pictures, "examples": examples}


_PICTURES = ("perturbation", "picture", "parameters", "synthesis_image")


def _flat(exhibits: Exhibits) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """Return exhibits as words for JSON, with names for their arrays, and these arrays."""
    writer = _Writer()
    words = {
        "classes": [[index, writer.of(one)] for index, one in exhibits.classes.items()],
        "pairs": [[list(pair), writer.of(one)] for pair, one in exhibits.pairs.items()],
    }
    return words, writer.arrays


def _exhibits(words: dict[str, Any], arrays: dict[str, NDArray[np.float32]]) -> Exhibits:
    """Put exhibits together again; the reverse of `_flat`."""

    def one(said: dict[str, Any]) -> ClassExhibit:
        examples = tuple(
            HeldOutExample(**{**each, "clean": arrays[each["clean"]], "perturbed": arrays[each["perturbed"]]})
            for each in said["examples"]
        )
        pictures = {name: None if said[name] is None else arrays[said[name]] for name in _PICTURES}
        made_from = tuple(said.get("made_from", ()))
        return ClassExhibit(**{**said, **pictures, "made_from": made_from, "examples": examples})

    return Exhibits(
        {index: one(said) for index, said in words["classes"]},
        {(source, target): one(said) for (source, target), said in words["pairs"]},
    )
