"""What the static check and the sandbox cost a model: `python benchmarks/overhead.py`.

For each model: the static check of its files; then start, load, a hundred questions and end of the model host, with the
protections of this machine and without any, in turn. Needs nothing but the package. Writes
`benchmarks/results/overhead.json` and `docs/overhead.md`.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from shared import ROOT, machine
from torch import Tensor, nn

from smoothscan.classifier import launcher
from smoothscan.classifier.remote import RemoteClassifier
from smoothscan.config import ScanConfig
from smoothscan.result import InputSpec
from smoothscan.safety.static import check
from smoothscan.sandbox import process
from smoothscan.sandbox.protections import Protections, protections
from smoothscan.sources import flavors
from smoothscan.sources.model_folder import read_mlmodel

RESULTS = ROOT / "benchmarks" / "results" / "overhead.json"
PAGE = ROOT / "docs" / "overhead.md"
REPEATS = 7
QUESTIONS = 100
SIDE = 32
NONE = Protections(None, 0, False)
BAR = 3.0
"""Most seconds that static check and sandbox together may cost a model."""


def small() -> nn.Module:
    """Return a network of a few thousand weights."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    )


def large() -> nn.Module:
    """Return a network whose files take 100 MB, most of it in one layer that costs little to compute."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(16), nn.Flatten(), nn.Linear(768, 32_000), nn.ReLU(), nn.Linear(32_000, 10)
    )


def main() -> None:
    """Measure, write the results, print the page."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow.pytorch

    here = protections()
    report: dict[str, Any] = {"machine": machine(), "protections": list(here.in_words()), "models": {}}
    for name, net in (("small", small()), ("100 MB", large())):
        for kind in ("pt2", "pickle"):
            with tempfile.TemporaryDirectory() as workspace:
                folder = Path(workspace) / "model"
                example = torch.rand(2, 3, SIDE, SIDE)
                mlflow.pytorch.save_model(
                    net.eval(), folder, serialization_format=kind, input_example=example.numpy(), pip_requirements=[]
                )
                report["models"][f"{name}, {kind}"] = measure(folder, example, here)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    PAGE.write_text(page(report))
    sys.stdout.write(PAGE.read_text())


def measure(folder: Path, images: Tensor, here: Protections) -> dict[str, float]:
    """Return medians over some repetitions, in seconds."""
    mlmodel = read_mlmodel(folder, str(folder))
    times: dict[str, list[float]] = {"check": [], "with": [], "without": []}
    for _ in range(REPEATS):
        started = time.perf_counter()
        check(folder, mlmodel)
        times["check"].append(time.perf_counter() - started)
        times["with"].append(hosted(folder, mlmodel, images, here))
        times["without"].append(hosted(folder, mlmodel, images, NONE))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {**medians, "overhead": medians["check"] + medians["with"] - medians["without"]}


def hosted(folder: Path, mlmodel: dict[str, Any], images: Tensor, protected: Protections) -> float:
    """Return how long a model host takes from start to end, with some questions in between, in seconds."""
    spec = InputSpec(channels=3, height=SIDE, width=SIDE)
    config = ScanConfig(uri=str(folder), images=folder, threads=1)
    with (
        tempfile.TemporaryDirectory() as workspace,
        mock.patch.object(process, "protections", return_value=protected),
        mock.patch.object(launcher, "protections", return_value=protected),
    ):
        started = time.perf_counter()
        with launcher.model_host(Path(workspace), folder, device="cpu", time_limit=600) as host:
            stored = flavors.stored(folder, mlmodel, str(folder))
            classifier = RemoteClassifier(host, folder, stored, spec, config, time.monotonic() + 600, allow_code=True)
            for _ in range(QUESTIONS):
                classifier.answers(images)
        return time.perf_counter() - started


def page(report: dict[str, Any]) -> str:
    """Return the page for people."""
    rows = [
        f"| {name} | {m['check']:.2f} s | {m['with']:.2f} s | {m['without']:.2f} s | {m['overhead']:.2f} s |"
        for name, m in report["models"].items()
    ]
    m = report["machine"]
    worst = max(entry["overhead"] for entry in report["models"].values())
    return "\n".join(
        [
            "# What protection costs",
            "",
            "Written by `python benchmarks/overhead.py`; raw figures in `benchmarks/results/overhead.json`. Medians of",
            f"{REPEATS} runs: the static check, and a model host from its start over loading and {QUESTIONS} questions",
            "to its end, with all protections and with none, in turn. A scan downloads the model meanwhile.",
            f"Machine: {m['processor']}, {m['cores']} cores. Protections: {'; '.join(report['protections'])}.",
            "",
            "| model | static check | host with sandbox | without | check and sandbox cost |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"At most {worst:.2f} s a model; the bar is {BAR:.0f} s.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
