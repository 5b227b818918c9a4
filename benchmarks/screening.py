"""Whether a screening of classes hides targets: `python benchmarks/screening.py`.

Models with many classes are screened first (`smoothscan/detection/screening.py`). Here the rank of the true target
after each round is measured, in each trigger space, over seeds and choices of images. Networks of 1,000 classes are
screened as a scan does it. Those of ten would not be screened at all, so a harsher screening is forced upon them:
each class is tried for a few steps, the four best once more, and there is a single finalist. Writes
`benchmarks/results/screening.json` after every model, so that an interrupted run goes on where it stopped, and
`docs/screening.md`.

Needs what `zoo.py` needs, and for 1,000 classes what `speed.py` needs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from shared import FIRST_CHOICE, ROOT, SHARED, machine, manifest, network, sample_pixels
from speed import IMAGES, TRAINED, models

RESULTS = ROOT / "benchmarks" / "results" / "screening.json"
PAGE = ROOT / "docs" / "screening.md"
FORCED = {"ALONE": 4, "FINALISTS": 1, "SAMPLED": 1}
"""Constants of `screening.py` for ten classes."""
STRONG = 0.8
"""Attack success rate from which on a backdoor's target has to survive."""


@dataclass(frozen=True)
class Job:
    """One model, screened in one space."""

    name: str
    """Model."""
    folder: Path
    """Its zoo folder."""
    large: bool
    """Whether it has 1,000 classes."""
    target: int
    """Its true target."""
    space: str
    """Trigger space."""
    seeds: int
    """Screenings, each with its seed and its choice of images."""

    @property
    def key(self) -> str:
        """What its ranks are filed under."""
        return f"{self.name}/{self.space}"


def main() -> None:
    """Screen what is missing, write results and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, nargs="+", default=[SHARED / "zoo", TRAINED], help="zoo folders")
    parser.add_argument("--models", help="names, separated by commas (default: all with targets)")
    parser.add_argument("--spaces", default="l2,patch", help="trigger spaces (default: l2,patch)")
    parser.add_argument("--seeds", type=int, default=5, help="screenings of each model (default: 5)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes of one thread each")
    options = parser.parse_args()
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"screened": {}}
    todo = [job for job in jobs(options) if len(kept["screened"].get(job.key, {}).get("ranks", ())) < job.seeds]
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(run, job): job for job in todo}
        for number, finished in enumerate(as_completed(running), 1):
            kept["screened"][running[finished].key] = finished.result()
            kept["machine"] = machine()
            RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
            sys.stderr.write(f"{number} of {len(todo)}: {running[finished].key} {finished.result()['ranks']}\n")
    PAGE.write_text(page(kept))
    sys.stdout.write(PAGE.read_text())


def jobs(options: argparse.Namespace) -> Iterator[Job]:
    """Return the models with a strong all-to-one backdoor; those of 1,000 classes in L2 alone."""
    wanted = options.models.split(",") if options.models else None
    for space in options.spaces.split(","):
        for folder in options.zoo:
            entries = manifest(folder) if (folder / "manifest.json").exists() else {}
            for name, entry in entries.items():
                large = entry["dataset"] != "cifar10"
                if entry["mode"] != "all2one" or entry["target"] is None or (large and space != "l2"):
                    continue
                if name in wanted if wanted else entry["asr"] >= STRONG:
                    yield Job(name, folder, large, entry["target"], space, options.seeds)


def run(job: Job) -> dict[str, Any]:
    """Screen one model, in a process of its own with one thread."""
    import torch

    torch.set_num_threads(1)
    each = [_screened(job, seed) for seed in range(job.seeds)]
    return {
        "target": job.target,
        "large": job.large,
        "ranks": [ranks for ranks, _ in each],
        "survived": [survived for _, survived in each],
    }


def _screened(job: Job, seed: int) -> tuple[list[int], bool]:
    """Return the rank of the target after each round, and whether it is searched in full."""
    from imagenet import chosen, efficientnet

    from smoothscan.classifier.local import LocalClassifier
    from smoothscan.config import PROFILES
    from smoothscan.detection import screening
    from smoothscan.detection.inversion import Inverter
    from smoothscan.detection.journal import Journal
    from smoothscan.detection.probe import noise_level, probe, synthesis_images
    from smoothscan.detection.subjects import Subjects
    from smoothscan.smoothing.noise import KeyedNoise
    from smoothscan.smoothing.smoothed import standardised
    from smoothscan.spaces import SPACES

    if job.large:
        pixels, net = chosen(IMAGES, seed), efficientnet(models(job.folder)[job.name]["weights"])
    else:
        pixels, net = sample_pixels(IMAGES, FIRST_CHOICE + seed), network(job.name, job.folder)
    classifier = LocalClassifier(net, pixels, "bfloat16")
    profile, space = PROFILES["standard"], SPACES[job.space]  # type: ignore[index]
    noise = KeyedNoise(seed, classifier.input_shape)
    clean = classifier.predict(pixels)
    sigma = space.sigma_share * noise_level(probe(classifier, pixels, clean, noise))
    synthesis = synthesis_images(classifier, pixels, clean, noise, 1)
    smoothed = standardised(classifier, sigma, pixels, noise)
    inverter = Inverter((smoothed,), space, profile, noise, lambda _: None)
    subjects = Subjects(pixels, clean, synthesis, 1, *screening.screening_images(len(pixels), synthesis))
    ladder, journal = space.ladder(profile, classifier.input_shape), Journal(None, classifier.meter)
    with nullcontext() if job.large else mock.patch.multiple(screening, **FORCED):
        found = screening.select(
            classifier, inverter, subjects, profile, ladder.epsilons[ladder.first or 0], noise, (), journal.once
        )
    return [_rank(one.scores, job.target) for one in found.rounds], job.target in found.classes


def _rank(scores: Any, target: int) -> int:
    """Return the rank of a class, the best is 1; one that took no part comes last."""
    own = scores[target]
    return int(np.sum(scores > own)) + 1 if np.isfinite(own) else len(scores)


def page(results: dict[str, Any]) -> str:
    """Return the page for people."""
    lines = [
        "# Does the screening of many classes hide targets?",
        "",
        "Written by `python benchmarks/screening.py`; raw figures in `benchmarks/results/screening.json`. All-to-one",
        f"backdoors with an attack success rate of at least {STRONG:.0%}, whatever their trigger; five screenings of",
        "each, with other seeds and images. A cell has the rank of the true target after the first round and after the",
        "second, which only the best of the first take part in, and in how many screenings it goes on.",
        "",
        "Networks of 1,000 classes are screened as in a scan: in groups first, then the 32 best alone; the six best of",
        "those and ten random classes go on. Networks of ten classes are searched in full by a scan; a harsher one is",
        "forced upon them: each class for 20 steps, the four best once more; the best and a random one go on. Chance",
        "would keep a fifth. What L2 does not see was screened in other spaces as well; `-` was not screened.",
    ]
    for large, title in ((True, "1,000 classes"), (False, "Ten classes")):
        mine = {key: one for key, one in results["screened"].items() if one["large"] == large}
        if not mine:
            continue
        spaces = list(dict.fromkeys(key.split("/")[1] for key in mine))
        lines += ["", f"## {title}", "", f"| model | target | {' | '.join(spaces)} | in one of them |"]
        lines += ["|---" * (len(spaces) + 3) + "|"]
        kept = []
        for name in sorted({key.split("/")[0] for key in mine}):
            each = [mine.get(f"{name}/{space}") for space in spaces]
            there = [one for one in each if one is not None]
            kept += (some := [any(seed) for seed in zip(*(one["survived"] for one in there), strict=True)])
            cells = ["-" if one is None else _cell(one) for one in each]
            lines.append(f"| {name} | {there[0]['target']} | {' | '.join(cells)} | {sum(some)} of {len(some)} |")
        lines += ["", f"The target goes on in {sum(kept)} of {len(kept)} screenings, in one of the spaces at least."]
    return "\n".join(lines) + "\n"


def _cell(one: dict[str, Any]) -> str:
    groups, alone = (" ".join(str(ranks[r]) for ranks in one["ranks"]) for r in range(2))
    return f"{groups} / {alone}: {sum(one['survived'])} of {len(one['survived'])}"


if __name__ == "__main__":
    main()
