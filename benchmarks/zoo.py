"""Verdicts on a zoo of classifiers, against baselines: `python benchmarks/zoo.py [--zoo DIR ...] [--scans 5]`.

Scans every CIFAR-10 model of the zoo folders in this process's children, each model several times with another choice
of 102 test images and another seed. Writes `benchmarks/results/zoo.json` after every scan, so that an interrupted run
goes on where it stopped, and `docs/zoo.md` at the end. Train the second folder first: `python benchmarks/train_zoo.py`.

`--baselines` runs the baselines on every model named by `--baseline-models`, on the images of the first scan.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from shared import FIRST_CHOICE, ROOT, SHARED, machine, manifest, network, sample_pixels, save
from zoo_page import page, plot
from zoo_trigger import agreement, is_patch, moved_rate

RESULTS = ROOT / "benchmarks" / "results" / "zoo.json"
PAGE, PLOT = ROOT / "docs" / "zoo.md", ROOT / "docs" / "p-values.svg"
TRAINED = ROOT / "benchmarks" / "zoo"
IMAGES = 102
PAIR_IMAGES = 302
"""Images where pairs of source and target class are searched: about thirty of each class."""
OURS: dict[str, dict[str, Any]] = {
    "smoothscan": {},
    "smoothscan-l2": {"spaces": ("l2",)},
    "smoothscan-quick": {"profile": "quick"},
    "smoothscan-pairs": {"spaces": ("patch",), "pairs": True},
    "smoothscan-l2-mixed": {"spaces": ("l2",), "denoising": "mixed"},
    "smoothscan-l2-always": {"spaces": ("l2",), "denoising": "always"},
    "smoothscan-auto": {"denoising": "auto"},
}
"""What the scanner is run with, by name of the method."""


@dataclass(frozen=True)
class Job:
    """One scan, by the scanner or by a baseline."""

    folder: Path
    """Zoo folder."""
    name: str
    """Model."""
    scan: int
    """Number of the scan: its seed, and its choice of images."""
    method: str
    """One of `OURS`, or the name of a baseline."""
    synthesis: int = 1
    """Synthesis images of each class."""
    denoiser: Path | None = None
    """Folder of the denoiser, if there is one."""

    @property
    def key(self) -> str:
        """What its result is filed under."""
        return f"{self.method}/{self.synthesis}/{self.name}/{self.scan}"


def main() -> None:
    """Scan what is missing, write results and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, nargs="+", default=[SHARED / "zoo", TRAINED], help="zoo folders")
    parser.add_argument("--models", help="names, separated by commas (default: all CIFAR-10 models)")
    parser.add_argument("--method", choices=OURS, default="smoothscan", help="how the scanner is run")
    parser.add_argument("--scans", type=int, default=5, help="scans of each model (default: 5)")
    parser.add_argument("--synthesis-images", type=int, nargs="+", default=[1], help="synthesis images (default: 1)")
    parser.add_argument("--baselines", help="baselines to run, separated by commas, or `all`")
    parser.add_argument("--baseline-models", help="models that the baselines see (default: all)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes of one thread each")
    options = parser.parse_args()
    folders = [folder for folder in options.zoo if (folder / "manifest.json").exists()]
    known = {name: (folder, entry) for folder in folders for name, entry in manifest(folder).items()}
    known = {name: found for name, found in known.items() if found[1]["dataset"] == "cifar10"}
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"scans": {}}
    version = code_version()
    done = {key: scan for key, scan in kept["scans"].items() if scan["code"] == version or "smoothscan" not in key}
    todo = [job for job in jobs(options, known) if job.key not in done]
    started = time.monotonic()
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(run, job): job for job in todo}
        for number, finished in enumerate(as_completed(running), 1):
            job = running[finished]
            if finished.exception():
                pool.shutdown(cancel_futures=True)
            done[job.key] = {**finished.result(), "code": version}
            left = (time.monotonic() - started) / number * (len(todo) - number)
            sys.stderr.write(f"{job.key} {told(done[job.key])}, {left / 60:.0f} min left\n")
            models = {n: entry for n, (_, entry) in known.items()}
            save(RESULTS, {**kept, "machine": machine(), "models": models, "scans": done})
    with_patch = {job.name: known[job.name] for job in jobs(options, known) if is_patch(known[job.name][1])}
    kept = json.loads(RESULTS.read_text())
    places = {name: _moved_rate(folder, entry) for name, (folder, entry) in with_patch.items()}
    save(RESULTS, {**kept, "places": {**kept.get("places", {}), **places}})
    results = json.loads(RESULTS.read_text())
    PAGE.write_text(page(results))
    PLOT.write_text(plot(results))
    sys.stdout.write(PAGE.read_text())


def jobs(options: argparse.Namespace, known: dict[str, tuple[Path, dict[str, Any]]]) -> Iterator[Job]:
    """Return what is asked for: every model once, the baselines, then further scans, for runs that are interrupted."""
    names = options.models.split(",") if options.models else list(known)
    for scan in range(options.scans):
        for name in names:
            for synthesis in options.synthesis_images:
                yield Job(known[name][0], name, scan, options.method, synthesis)
        if scan == 0 and options.baselines:
            yield from baseline_jobs(options, known, names)


def baseline_jobs(
    options: argparse.Namespace, known: dict[str, tuple[Path, dict[str, Any]]], names: list[str]
) -> Iterator[Job]:
    """Return the baselines' scans, on the images of the first scan."""
    from baselines import all_baselines

    chosen = [b.name for b in all_baselines()] if options.baselines == "all" else options.baselines.split(",")
    for name in options.baseline_models.split(",") if options.baseline_models else names:
        for method in chosen:
            yield Job(known[name][0], name, 0, method)


def run(job: Job, also: Callable[[Job, Any], dict[str, Any]] = lambda _job, _found: {}) -> dict[str, Any]:
    """Do one scan, in a process of its own with one thread.

    Args:
        job: the scan.
        also: returns more that is to be kept of what the scanner found.
    """
    import torch

    from smoothscan.classifier.local import LocalClassifier

    torch.set_num_threads(1)
    count = PAIR_IMAGES if job.method == "smoothscan-pairs" else IMAGES
    images = sample_pixels(count, FIRST_CHOICE + job.scan)
    classifier = LocalClassifier(network(job.name, job.folder), images, "bfloat16")
    denoiser = None if job.denoiser is None else load(job.denoiser, classifier)
    started, before = time.perf_counter(), classifier.meter.passes
    answer = (
        _smoothscan(job, classifier, images, denoiser, also)
        if job.method in OURS
        else _baseline(job, classifier, images)
    )
    seconds = time.perf_counter() - started
    return {"seconds": round(seconds, 1), "passes": round(classifier.meter.passes - before), **answer}


def load(folder: Path, classifier: Any) -> Any:
    """Return a denoiser for a classifier, with its arithmetic and its meter, on one thread."""
    from smoothscan.smoothing.diffusion import load_denoiser
    from smoothscan.sources.denoisers import read_pipeline

    files = read_pipeline(folder, str(folder))
    channels, low = classifier.input_shape[0], classifier.precision == "bfloat16"
    return load_denoiser(files, channels, low_precision=low, meter=classifier.meter)


def _moved_rate(folder: Path, entry: dict[str, Any]) -> list[float]:
    """Return how well each trigger of a model works in other places than its own."""
    from smoothscan.classifier.local import LocalClassifier

    images = sample_pixels(IMAGES, FIRST_CHOICE)
    return moved_rate(entry, folder, LocalClassifier(network(entry["name"], folder), images, "bfloat16"), images)


def _smoothscan(
    job: Job, classifier: Any, images: Any, denoiser: Any, also: Callable[[Job, Any], Any]
) -> dict[str, Any]:
    from smoothscan.config import ScanConfig
    from smoothscan.detection.examination import examine
    from smoothscan.events import Silent

    class Clock(Silent):
        """Notes when each search began, and at how many passes."""

        def __init__(self) -> None:
            self.began: list[tuple[float, float]] = []

        def stage(self, name: str, detail: str = "") -> None:
            if name == "invert":
                self.began.append((time.perf_counter(), classifier.meter.passes))

    labels = [str(t) for t in range(classifier.n_classes)]
    config = ScanConfig(
        uri=job.name,
        images=job.folder,
        seed=job.scan,
        synthesis_images=job.synthesis,
        denoiser=None if job.denoiser is None else str(job.denoiser),
        **OURS[job.method],
    )
    clock = Clock()
    names = [str(i) for i in range(len(images))]
    found = examine(classifier, images, names, labels, config, clock, denoiser=denoiser)
    clock.began.append((time.perf_counter(), classifier.meter.passes))
    verdict, curves = found.verdict, found.search.curves
    entry = manifest(job.folder)[job.name]
    return {
        "space": verdict.space,
        "spaces": [
            {
                "space": each.space,
                "anomaly": each.anomaly,
                "class": each.index,
                "e50": each.e50,
                "reference": each.reference,
                "rates": _rates(search),
                "seconds": round(end[0] - begin[0], 1),
                "passes": round(end[1] - begin[1]),
            }
            for each, search, begin, end in zip(
                verdict.spaces, found.evidence.searches, clock.began, clock.began[1:], strict=False
            )
        ],
        "pairs": None if found.pairs is None else _pairs(found.pairs.counts),
        "score": verdict.score,
        "anomaly": verdict.anomaly,
        "p_value": verdict.p_value,
        "verdict": verdict.name,
        "targets": list(verdict.target_classes),
        "sigma": curves.sigma,
        "e50": [c.e50 for c in verdict.classes],
        "control": [c.control_rate for c in verdict.classes],
        "reasons": list(verdict.reasons),
        "denoised": _denoised(classifier, found, clock.began),
        "triggers": agreement(entry, job.folder, found) if entry.get("trigger") else [],
        **also(job, found),
    }


def _denoised(classifier: Any, found: Any, began: list[tuple[float, float]]) -> dict[str, Any]:
    """Return what went through a denoiser: its passes, and the spaces and time of searches that used it."""
    used = [(s, *times) for s, *times in zip(found.searches, began, began[1:], strict=False) if s.curves.denoised]
    return {
        "passes": round(classifier.meter.denoiser_passes),
        "spaces": [search.curves.space for search, _, _ in used],
        "seconds": round(sum(end[0] - begin[0] for _, begin, end in used), 1),
    }


def _pairs(counts: Any) -> dict[str, Any]:
    """Return the most anomalous pairs, up to ten, and those that are flagged."""
    from smoothscan.verdict.decision import SUSPICIOUS
    from smoothscan.verdict.pairs import standing_of_pairs

    anomaly = standing_of_pairs(counts).anomaly
    order = np.argsort(-anomaly, axis=None, kind="stable")[:10]
    top = []
    for row, t in zip(*np.unravel_index(order, anomaly.shape), strict=True):
        source, n = int(counts.sources[row]), int(counts.n_images[row])
        top.append((source, int(t), round(float(anomaly[row, t]), 3), counts.hits[row, t].tolist(), n))
    return {"top": top, "flagged": [pair[:2] for pair in top if pair[2] >= SUSPICIOUS]}


def _rates(curves: Any) -> list[float]:
    """Return the transfer rate of each class at the largest budget that all of them were tried at, [K]."""
    common = np.flatnonzero((curves.hits[0] >= 0).all(0))
    return [round(float(rate), 3) for rate in curves.rates[:, common[-1]]]


def _baseline(job: Job, classifier: Any, images: Any) -> dict[str, Any]:
    from baselines import all_baselines

    (baseline,) = [b for b in all_baselines() if b.name == job.method]
    answer = baseline.scan(classifier, images, classifier.predict(images), job.scan)
    return {
        "score": answer.score,
        "verdict": "backdoored" if answer.verdict else "clean",
        "targets": list(answer.targets),
        "passes": round(answer.passes),
    }


def told(scan: dict[str, Any]) -> str:
    """Return one line of progress."""
    return f"{scan['verdict']} {scan['score']:.3f} {scan['targets']} {scan['passes']} passes {scan['seconds']} s"


def code_version() -> str:
    """Return a digest of what a scan depends on: results of other code are made anew."""
    from smoothscan.config import PROFILES

    digest = hashlib.sha256(PROFILES["standard"].model_dump_json().encode())
    rooms = [ROOT / "smoothscan" / room for room in ("detection", "smoothing", "spaces", "verdict")]
    for file in sorted(file for room in rooms for file in room.glob("*.py")):
        if file.stem in ("exhibit", "reasons", "calibration"):
            continue  # pictures and words change no score
        digest.update(ast.dump(_without_docstrings(ast.parse(file.read_text()))).encode())
    return digest.hexdigest()[:12]


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
    return tree


def _is_text(part: ast.stmt) -> bool:
    return isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant) and isinstance(part.value.value, str)


if __name__ == "__main__":
    main()
