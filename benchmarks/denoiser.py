"""Plain, denoised and mixed searches compared: `python benchmarks/denoiser.py --denoiser DIR [--models NAMES]`.

Train the denoiser first, on the training images of ../shared/data: `python benchmarks/denoiser.py --images DIR` writes
them into a folder as files, then `smoothscan denoiser train --images DIR`. Every model is searched three times in the
additive space, on the same images with the same seed: without the denoiser (plain), with every other step through it
(mixed), with all steps (always). `--auto NAMES` scans models as a user does who gives a denoiser, in all spaces.

Writes `benchmarks/results/denoiser.json` after every scan, so that an interrupted run goes on where it stopped, and
`docs/denoising.md` with `docs/denoised-triggers.png` at the end.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from denoiser_page import METHODS, packed, page, picture
from shared import FIRST_CHOICE, ROOT, SHARED, machine, manifest, network, sample_pixels, save
from zoo import TRAINED, Job, load, run, told
from zoo_trigger import best_shift, cosine, stamp

RESULTS = ROOT / "benchmarks" / "results" / "denoiser.json"
PAGE, PICTURE = ROOT / "docs" / "denoising.md", ROOT / "docs" / "denoised-triggers.png"
ACCURACY_MODELS = ("d02", "d07")
SIGMAS = (0.12, 0.25, 0.5)
VECTORS, TEST_IMAGES = 8, 1000
"""Noise vectors of a smoothed prediction, and images it is tested on."""
AUTO = "smoothscan-auto"


def main() -> None:
    """Scan what is missing, write results and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="write the training images into this folder, and nothing else")
    parser.add_argument("--denoiser", type=Path, help="pipeline folder")
    parser.add_argument("--zoo", type=Path, nargs="+", default=[SHARED / "zoo", TRAINED], help="zoo folders")
    parser.add_argument("--models", default="", help="models of the comparison, separated by commas")
    parser.add_argument("--auto", default="", help="models that are scanned in all spaces, separated by commas")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes of one thread each")
    options = parser.parse_args()
    if options.images is not None:
        write_training_images(options.images)
        return
    if options.denoiser is None:
        parser.error("--denoiser is missing")
    folders = [folder for folder in options.zoo if (folder / "manifest.json").exists()]
    known = {name: (folder, entry) for folder in folders for name, entry in manifest(folder).items()}
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    trained = json.loads((options.denoiser / "training.json").read_text())
    if kept.get("denoiser") != trained:
        kept = {"denoiser": trained, "scans": {}, "machine": machine()}
    todo = [job for job in jobs(options, known) if job.key not in kept["scans"]]
    started = time.monotonic()
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        measured = None if "accuracy" in kept else pool.submit(accuracy, options.denoiser)
        running = {pool.submit(scanned, job): job for job in todo}
        for number, finished in enumerate(as_completed(running), 1):
            job = running[finished]
            if finished.exception():
                pool.shutdown(cancel_futures=True)
            kept["scans"][job.key] = finished.result()
            left = (time.monotonic() - started) / number * (len(todo) - number)
            sys.stderr.write(f"{job.key} {told(kept['scans'][job.key])}, {left / 60:.0f} min left\n")
            kept["models"] = {n: entry for n, (_, entry) in known.items()}
            save(RESULTS, kept)
        if measured is not None:
            kept["accuracy"] = measured.result()
    save(RESULTS, kept)
    PAGE.write_text(page(kept))
    PICTURE.write_bytes(picture(kept))
    sys.stdout.write(PAGE.read_text())


def jobs(options: argparse.Namespace, known: dict[str, tuple[Path, dict[str, Any]]]) -> list[Job]:
    """Return what is asked for."""
    wanted = [(name, method) for name in filter(None, options.models.split(",")) for method in METHODS.values()]
    wanted += [(name, AUTO) for name in filter(None, options.auto.split(","))]
    return [
        Job(known[name][0], name, 0, method, denoiser=None if method == METHODS["plain"] else options.denoiser)
        for name, method in wanted
    ]


def scanned(job: Job) -> dict[str, Any]:
    """Do one scan, in a process of its own with one thread."""
    return run(job, without if job.method == AUTO else pictures)


def without(_job: Job, found: Any) -> dict[str, Any]:
    """Return the anomaly that the searches without a denoiser come to."""
    from smoothscan.verdict.decision import noise_anomalies
    from smoothscan.verdict.looks import looks

    noise, plain = found.evidence.noise, [curves for curves in found.evidence.searches if not curves.denoised]
    anomalies = [look.anomaly.max() for look in looks(plain, noise.moved.shape[1])]
    return {"without": float(max(*anomalies, noise_anomalies(noise).max()))}


def pictures(job: Job, found: Any) -> dict[str, Any]:
    """Return the mean changes that the planted trigger and the recovered one make, in 255ths, for the first target.

    Also how alike they are at every budget, so that searches can be compared at one and the same.
    """
    from safetensors.torch import load_file

    entry = manifest(job.folder)[job.name]
    triggers = [trigger for trigger in entry.get("trigger") or () if "file" in trigger]
    target = entry["target"][0] if isinstance(entry["target"], list) else entry["target"]
    if target is None or not triggers:
        return {}
    images = found.subjects.images[found.subjects.held_out]
    tried = {level: found.search.triggers[t, level] for t, level in found.search.triggers if t == target}
    true = (stamp(images, triggers[0]["kind"], load_file(job.folder / triggers[0]["file"])) - images).mean(0)
    recovered = {level: (trigger.on(images) - images).mean(0) for level, trigger in sorted(tried.items())}
    shown = {"true": true, "recovered": recovered[int(found.search.curves.control_at[target])]}
    return {
        "pictures": {name: packed(change) for name, change in shown.items()},
        "cosines": {level: cosine(best_shift(change, true)[1], true) for level, change in recovered.items()},
    }


def accuracy(folder: Path) -> dict[str, Any]:
    """Return the accuracy of smoothed classifiers with and without the denoiser, by model and noise level."""
    import torch

    from smoothscan.classifier.local import LocalClassifier

    torch.set_num_threads(1)
    images, labels = sample_pixels(TEST_IMAGES, FIRST_CHOICE), torch.tensor(sample_labels(TEST_IMAGES, FIRST_CHOICE))
    found: dict[str, Any] = {}
    for name in ACCURACY_MODELS:
        classifier = LocalClassifier(network(name), images[:8], "bfloat16")
        denoiser = load(folder, classifier)
        found[name] = {"clean": _share(classifier.predict(images), labels)}
        for sigma in SIGMAS:
            votes = {"plain": torch.zeros(TEST_IMAGES, 10), "denoised": torch.zeros(TEST_IMAGES, 10)}
            generator = torch.Generator().manual_seed(0)
            for _ in range(VECTORS):
                noisy = images + sigma * torch.randn(images.shape, generator=generator)
                with torch.no_grad():
                    votes["plain"] += classifier(noisy).softmax(1)
                    votes["denoised"] += classifier(denoiser(noisy, sigma)).softmax(1)
            found[name][f"{sigma:g}"] = {how: _share(sums.argmax(1), labels) for how, sums in votes.items()}
    return found


def _share(answers: Any, labels: Any) -> float:
    return round(float((answers == labels).float().mean()), 4)


def sample_labels(count: int, seed: int) -> list[int]:
    """Return the labels of `sample_pixels`."""
    import numpy as np
    import pyarrow.parquet as parquet

    labels = parquet.read_table(SHARED / "data" / "cifar10-test.parquet", columns=["label"])["label"].to_numpy()
    return labels[np.random.default_rng(seed).permutation(len(labels))[:count]].tolist()


def write_training_images(folder: Path) -> None:
    """Write the CIFAR-10 training images of the shared data into a folder, as the JPEG files that they are."""
    import pyarrow.parquet as parquet

    folder.mkdir(parents=True, exist_ok=True)
    for number, cell in enumerate(parquet.read_table(SHARED / "data" / "cifar10-train.parquet")["image"]):
        value = cell.as_py()
        (folder / f"{number:05d}.jpg").write_bytes(value["bytes"] if isinstance(value, dict) else value)


if __name__ == "__main__":
    main()
