"""Results of earlier scans with a trigger saved beside them, made without a scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smoothscan.exhibits import ClassExhibit, Exhibits
from smoothscan.result import ClassResult, InputSpec, ModelInfo, PairResult, PairsResult, ScanResult
from smoothscan.sinks.json_file import JsonSink
from smoothscan.sinks.perturbations import PerturbationSink
from smoothscan.verdict.budget import binomial_interval
from smoothscan.vocabulary import SpaceName
from tests.planted import SHAPE, TARGET, patch


def one_class(index: int, rate: float = 1.0, **changes: Any) -> ClassResult:
    """The entry of a class, flagged unless `changes` says otherwise."""
    values = {
        "index": index, "label": str(index), "score": 0.9, "transfer_rate": rate, "n_images": 60, "epsilon": 0.35,
        "transfer_ci": binomial_interval(round(60 * rate), 60), "sigma": 0.12, "p_value": None, "flagged": True,
        "found_by": "budget",
    }  # fmt: skip
    return ClassResult(**{**values, **changes})


def exhibit(parameters: NDArray[np.float32], space: SpaceName = "l2", index: int = TARGET) -> ClassExhibit:
    """What a scan shows of a trigger."""
    grey = np.full(SHAPE, 0.5, np.float32)
    return ClassExhibit(
        index=index,
        perturbation=parameters if space == "l2" else grey - grey,
        picture=None if space == "l2" else grey,
        description="a trigger",
        synthesis_image=grey,
        synthesis_name="000.png",
        synthesis_prediction=0,
        perturbed_prediction=index,
        parameters=None if space == "l2" else parameters,
    )


def planted_trigger() -> NDArray[np.float32]:
    """A perturbation that fires the backdoor of a `PlantedNet`."""
    return (0.6 * patch()).numpy()


def write(
    folder: Path,
    *classes: ClassResult,
    exhibits: dict[int, ClassExhibit],
    pairs: dict[PairResult, ClassExhibit] | None = None,
    space: SpaceName = "l2",
    **changes: Any,
) -> Path:
    """Write result.json and perturbations as a scan does, and return the path of the former."""
    targets = tuple(c.index for c in classes if c.flagged)
    counts = {"sources": (0,), "n_images": (20,), "synthesis_images": 4, "epsilons": (9.0,), "sigma": 0.06, "hits": ()}
    found = PairsResult(**counts, flagged=tuple(pairs or ()))
    result = ScanResult(
        **{
            "status": "completed",
            "verdict": "backdoored" if targets else "clean",
            "model": ModelInfo(uri="models:/planted/1", resolved_uri="models:/planted/1", digest="sha256:0"),
            "target_classes": targets,
            "space": space,
            "classes": classes,
            "pairs": found if pairs else None,
            "input_spec": InputSpec(channels=SHAPE[0], height=SHAPE[1], width=SHAPE[2]),
            "finished_at": "2026-11-22T21:40:23+00:00",
            **changes,
        }
    )
    shown = Exhibits(exhibits, {(pair.source, pair.target): one for pair, one in (pairs or {}).items()})
    PerturbationSink(redact_images=True).write(result, shown, folder)
    JsonSink().write(result, Exhibits(), folder)
    return folder / "result.json"
