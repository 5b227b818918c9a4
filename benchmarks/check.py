"""Time and memory of `smoothscan check`, seen from outside: `python benchmarks/check.py`.

Registers two ResNet-20 of the zoo (one backdoored, one clean) in a temporary sqlite registry and runs the real command
on 102 real images, several times each. Writes `benchmarks/results/check.json` and the table in `docs/performance.md`.
Memory is the resident set of the process and all its descendants, sampled while it runs; shared pages count twice.

Needs the zoo and the images: SMOOTHSCAN_SHARED, or ../shared beside the checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from shared import ROOT, machine, network, sample_images

RESULTS = ROOT / "benchmarks" / "results" / "check.json"
PAGE = ROOT / "docs" / "performance.md"
MODELS = ("d01", "d02")
PROFILES = ("standard", "quick")
IMAGES = 102


def main() -> None:
    """Measure, write the results, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3, help="scans of each model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = write_images(folder / "images")
        uri = register(folder)
        scans = [
            measure(f"{model}/1", uri, images, folder / "out", profile)
            for profile in PROFILES
            for model in MODELS
            for _ in range(options.repeat)
        ]
    report = {"machine": machine(), "images": IMAGES, "scans": scans, "start": start_up()}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    PAGE.write_text(page(report))
    sys.stdout.write(PAGE.read_text())


def write_images(folder: Path) -> Path:
    """Write a random choice of test images as PNG files."""
    from PIL import Image

    folder.mkdir()
    for i, pixels in enumerate(sample_images(IMAGES, seed=20)):
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")
    return folder


def register(folder: Path) -> str:
    """Register the models as pt2 in a sqlite registry, and return its URI."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow
    import numpy as np

    uri = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    experiment = mlflow.create_experiment("zoo", artifact_location=(folder / "artifacts").as_uri())
    example = (np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32)) / 255).astype(np.float32)
    for name in MODELS:
        with mlflow.start_run(experiment_id=experiment):
            mlflow.pytorch.log_model(
                network(name),
                name="model",
                input_example=example,
                registered_model_name=name,
                serialization_format="pt2",
            )
    return uri


def measure(model: str, uri: str, images: Path, out: Path, profile: str, options: Sequence[str] = ()) -> dict[str, Any]:
    """Run one scan in a process of its own, and return what it took."""
    command = [sys.executable, "-m", "smoothscan", "check", f"models:/{model}", "--images", str(images)]
    command += ["--profile", profile, "--tracking-uri", uri, "--output-dir", str(out)]
    command += ["--quiet", "--no-cache", *options]
    started, peak = time.perf_counter(), 0
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, family_rss(process))
        time.sleep(0.05)
    seconds = time.perf_counter() - started
    result = json.loads((out / "result.json").read_text())
    cost = result["cost"]
    return {
        "model": model.split("/")[0],
        "profile": profile,
        "exit_code": process.returncode,
        "verdict": result["verdict"],
        "anomaly": result["anomaly"],
        "target_classes": result["target_classes"],
        "seconds": round(seconds, 2),
        "peak_rss_bytes": peak,
        "model_passes": round(cost["model_passes"]),
        "scan_seconds": round(cost["seconds"], 2),
        "host_seconds": round(cost["host_seconds"], 2),
        "exchange_share": round(cost["exchange_seconds"] / (cost["exchange_seconds"] + cost["host_seconds"]), 4),
        "precision": result["environment"]["precision"],
    }


def family_rss(process: psutil.Process) -> int:
    """Return the resident memory of a process and its descendants in bytes."""
    total = 0
    for member in (process, *process.children(recursive=True)):
        try:
            total += member.memory_info().rss
        except psutil.Error:
            continue
    return total


def start_up() -> dict[str, float]:
    """Return the median time in seconds of what should be instant."""
    return {
        name: round(statistics.median(seconds_of(command) for _ in range(5)), 3)
        for name, command in {
            "smoothscan --help": [sys.executable, "-m", "smoothscan", "--help"],
            "import smoothscan": [sys.executable, "-c", "import smoothscan"],
            "an empty Python program": [sys.executable, "-c", ""],
        }.items()
    }


def seconds_of(command: list[str]) -> float:
    """Return the wall time of a command."""
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def page(report: dict[str, Any]) -> str:
    """Return `docs/performance.md`."""
    machine = report["machine"]
    bf16 = "AMX" if machine["amx"] else "AVX-512 bf16, no AMX" if machine["avx512_bf16"] else "no native bf16"
    rows = "\n".join(
        f"| {s['profile']} | {s['model']} | {s['verdict']} | {s['seconds']:.1f} s | {s['host_seconds']:.1f} s | "
        f"{s['model_passes']:,} | "
        f"{s['peak_rss_bytes'] / 1e9:.2f} GB | {s['exchange_share']:.1%} |"
        for s in report["scans"]
    )
    start = "\n".join(f"| `{name}` | {seconds:.2f} s |" for name, seconds in report["start"].items())
    return f"""# Performance

Written by `python benchmarks/check.py`; the raw figures are in `benchmarks/results/check.json`.

`smoothscan check` on ResNet-20 (10 classes, 3x32x32) and {report["images"]} images, from the
start of the program to its end: imports, MLflow, model loading, reports and write-back included.
Machine: {machine["processor"]}, {machine["cores"]} cores, {bf16}, Python {machine["python"]}.

| profile | model | verdict | wall | in the model | model passes | peak memory, all processes | exchange adds |
|---|---|---|---|---|---|---|---|
{rows}

The cost of the exchange with the model host is what copying, checking and waiting add to the time the model computes.

| start | wall |
|---|---|
{start}

CUDA uses the same code path and has not been measured. [speed.md](speed.md) has models of 1,000 classes, and
[screening.md](screening.md) whether choosing among them hides targets.
"""


if __name__ == "__main__":
    main()
