"""Verdicts on the zoo with the standard profile: `python benchmarks/verdicts.py [--models d01,d02]`.

Scans every CIFAR-10 model of the zoo in this process, with several choices of 102 test images (one of them with an
airplane first, class 0) and as many seeds. Writes `benchmarks/results/verdicts.json` and `docs/verdicts.md`, in a
quarter of an hour on two cores. The constants of the method were chosen on some of these models (docs/detection.md), so
this shows that the plain cases work and what is missed; it estimates no error rate.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
import torch
from shared import ROOT, machine, manifest, network, sample_images

from smoothscan.classifier.local import LocalClassifier
from smoothscan.config import PROFILES
from smoothscan.detection.probe import probe, synthesis_images
from smoothscan.detection.schedule import Subjects, noise_levels_for, search
from smoothscan.events import Silent
from smoothscan.smoothing.noise import KeyedNoise
from smoothscan.verdict.decision import Verdict, decide, noise_levels
from smoothscan.verdict.evidence import Evidence

RESULTS = ROOT / "benchmarks" / "results" / "verdicts.json"
PAGE = ROOT / "docs" / "verdicts.md"
CHOICES = ((301, None), (302, 0), (303, None))
"""Choices of images: seed, label of the first image. None of them was used to choose a constant."""


def main() -> None:
    """Scan, write the results, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", help="names, separated by commas (default: all CIFAR-10 models)")
    options = parser.parse_args()
    known = manifest()
    names = options.models.split(",") if options.models else [n for n in known if known[n]["dataset"] == "cifar10"]
    scans = []
    for name in names:
        for seed, (choice, first) in enumerate(CHOICES):
            pixels = torch.tensor(np.stack(sample_images(102, choice, first)), dtype=torch.float32)
            scans.append({**scan(name, pixels.permute(0, 3, 1, 2) / 255, seed), "images": choice})
            sys.stderr.write(f"{scans[-1]}\n")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine(), "scans": scans}, indent=2) + "\n")
    PAGE.write_text(page(scans, known))
    sys.stdout.write(PAGE.read_text())


def scan(name: str, images: torch.Tensor, seed: int) -> dict[str, Any]:
    """Scan one model, as `pipeline.py` does it, without the registry and the host."""
    started = time.perf_counter()
    classifier = LocalClassifier(network(name), images, "bfloat16")
    labels = [str(t) for t in range(classifier.n_classes)]
    noise, clean = KeyedNoise(seed, classifier.input_shape), classifier.predict(images)
    counts = probe(classifier, images, clean, noise)
    subjects = Subjects(images, clean, synthesis_images(classifier, images, clean, noise))
    profile = PROFILES["standard"]
    (sigma,) = noise_levels_for(profile, float(noise_levels(counts).min()))
    found = search(classifier, subjects, profile, sigma, noise, labels, Silent())
    verdict = decide(Evidence((found.curves,), (found.curves,), counts), labels, labels)
    return {"model": name, "seed": seed, **told(verdict), "sigma": sigma, "seconds": time.perf_counter() - started}


def told(verdict: Verdict) -> dict[str, Any]:
    """Return what the table needs of a verdict."""
    ranked = sorted(verdict.classes, key=lambda c: -c.score)
    return {
        "verdict": verdict.name,
        "score": round(verdict.score, 3),
        "target_classes": list(verdict.target_classes),
        "ranking": [(c.index, round(c.score, 3), c.e50, c.noise_sigma50) for c in ranked[:3]],
    }


def page(scans: list[dict[str, Any]], known: dict[str, dict[str, Any]]) -> str:
    """Return `docs/verdicts.md`."""
    rows = []
    for name in dict.fromkeys(s["model"] for s in scans):
        entry, mine = known[name], [s for s in scans if s["model"] == name]
        truth = "clean" if entry["attack"] == "none" else str(entry["target"])
        verdicts = ", ".join(dict.fromkeys(s["verdict"] for s in mine))
        targets = " / ".join(",".join(map(str, s["target_classes"])) or "-" for s in mine)
        scores = " / ".join(f"{s['score']:.2f}" for s in mine)
        rows.append(f"| {name} | {entry['arch']} | {entry['attack']} | {truth} | {verdicts} | {targets} | {scores} |")
    table = "\n".join(rows)
    return f"""# Verdicts on the zoo

Written by `python benchmarks/verdicts.py`; raw figures in `benchmarks/results/verdicts.json`. Standard profile, three
choices of 102 CIFAR-10 test images, each with a seed of its own; the three values in a cell are theirs.

The constants of the method were chosen on some of these models ([detection.md](detection.md)), on other images. The
table shows which cases work and which are missed; it is no estimate of the error rate on models nobody has seen.

| model | network | attack | target | verdict | targets named | score |
|---|---|---|---|---|---|---|
{table}

A missed backdoor is one whose trigger is not small in L2 (a 5x5 patch, a sinusoid over the whole image, a warp), works
for one source class only, leads every class to another, or was trained to fade under noise.
"""


if __name__ == "__main__":
    main()
