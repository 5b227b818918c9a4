"""What a sweep over a registry does, and how fast: `python benchmarks/sweep.py [--only PARTS]`.

registry: 40 versions behind a real `mlflow server` with basic authentication: which of them sweeps scan, one after the
other. kills: a sweep that is killed again and again. workers: what a second worker adds. planning: what is due among
3,000 versions. engines: Ray and local processes compared. Each part keeps the figures of the others, so they can be
measured one at a time. Writes `benchmarks/results/sweep.json` and `docs/sweep-figures.md`; small trials go elsewhere
with `--results`.

Needs the zoo and the images (SMOOTHSCAN_SHARED, or ../shared beside the checkout), Flask-WTF for the server's
authentication (`mlflow[auth]`) and, for the engines, Ray.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from check import write_images
from shared import ROOT, machine, manifest, save
from sweep_kills import kills
from sweep_page import page
from sweep_planning import planning
from sweep_speed import engines, workers
from sweep_stand import SCAN, Place, acting_as, inconsistent, left_behind, register, serving

RESULTS = ROOT / "benchmarks" / "results" / "sweep.json"
PAGE = ROOT / "docs" / "sweep-figures.md"
PARTS = ("registry", "kills", "workers", "planning", "engines")
REQUESTS = 10
"""How often the server is asked to see how long a request takes."""


def main() -> None:
    """Measure what is asked for; write results and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the figures go; for another file no page")
    parser.add_argument("--versions", type=int, default=40, help="registered versions of the part registry")
    parser.add_argument("--reader-models", type=int, default=4, help="models that the reader sweeps")
    parser.add_argument("--kill-versions", type=int, default=40, help="registered versions of the part kills")
    parser.add_argument("--kills", type=int, default=10, help="how many kills")
    parser.add_argument("--within", type=float, default=45.0, help="latest moment of a kill, in seconds")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments of the kills")
    parser.add_argument("--worker-models", type=int, default=8, help="models of the part workers")
    parser.add_argument("--repeat", type=int, default=3, help="sweeps of each kind in the part workers")
    parser.add_argument("--registered", type=int, default=3000, help="registered versions of the part planning")
    parser.add_argument("--engine-models", type=int, default=4, help="models of the part engines")
    options = parser.parse_args()
    parts = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["PYTHONPATH"] = str(ROOT)  # the programs that are started are those of this checkout
    for part in parts:
        results = json.loads(options.results.read_text()) if options.results.exists() else {}
        with tempfile.TemporaryDirectory(prefix="sweep-") as name:
            folder = Path(name)
            images = write_images(folder / "images")
            started = time.perf_counter()
            measured = measuring(options)[part](folder, images)
        measured |= {"measured_at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
        save(options.results, {**results, part: {**measured, "took": round(time.perf_counter() - started)}})
    results = json.loads(options.results.read_text())
    if options.results == RESULTS:
        PAGE.write_text(page(results))
    sys.stdout.write(page(results))


def measuring(options: argparse.Namespace) -> dict[str, Callable[[Path, Path], dict[str, Any]]]:
    """Return what measures each part, in an empty folder and with a folder of images."""
    names = [name for name in manifest() if name.startswith("d")]

    def killed(folder: Path, images: Path) -> dict[str, Any]:
        with serving(folder) as server:
            with acting_as(server.admin):
                register(server.uri, names[: options.kill_versions], options.kill_versions)
            return kills(server, images, options.kill_versions, options.kills, options.within, options.seed)

    return {
        "registry": lambda f, i: registry(f, i, names[: options.versions], options.versions, options.reader_models),
        "kills": killed,
        "workers": lambda f, i: workers(f, i, names[: options.worker_models], options.repeat),
        "planning": lambda f, i: planning(f, i, options.registered),
        "engines": lambda f, i: engines(f, i, names[: options.engine_models]),
    }


def registry(folder: Path, images: Path, names: list[str], versions: int, reader_models: int) -> dict[str, Any]:
    """Sweep a registry again and again, with something else changed each time.

    Args:
        folder: an empty folder.
        images: folder of images.
        names: models of the zoo.
        versions: how many versions are registered; those beyond the models are copies.
        reader_models: how many of the models one sweeps who may only read.
    """
    import mlflow

    steps: dict[str, dict[str, Any]] = {}
    with serving(folder) as server, acting_as(server.admin):
        register(server.uri, names, versions)
        request = seconds_of_a_request(server.uri, names[0])
        place = Place(server.uri, images, folder / "admin", server.admin)
        place.folder.mkdir()

        def step(name: str, place: Place, *more: str) -> None:
            taken = place.sweep("--quiet", "--no-cache", *SCAN, *more)
            actions = [each["action"] for each in place.posture()["models"]]
            counted = {"looked_at": len(actions), "scanned": actions.count("scanned")}
            steps[name] = {**counted, "in_ledger": len(place.rows()), "runs": len(place.runs()), **taken}

        step("first", place)
        problems = inconsistent(place, versions)
        engine = place.posture()["engine"]
        step("second", place)

        client, known = mlflow.MlflowClient(server.uri), place.standings()
        flagged = next(key for key, each in sorted(known.items()) if each["verdict"] == "backdoored")
        clean = next(key for key, each in sorted(known.items()) if each["verdict"] == "clean")
        client.set_model_version_tag(*flagged, "smoothscan.verdict", "clean")
        step("forged tag", place)
        steps["forged tag"]["verdict_stays"] = place.standings()[flagged]["verdict"] == "backdoored"
        steps["forged tag"]["planned"] = place.sweep("--quiet", "--dry-run", "--no-cache", *SCAN)["said"]
        client.set_model_version_tag(*flagged, "smoothscan.verdict", "backdoored")

        # All that a clean version was tagged with, on a new version of a backdoored one.
        forged = {key: value for key, value in place.tags()[clean].items() if key.startswith("smoothscan.")}
        new = mlflow.register_model(client.get_model_version(*flagged).source, flagged[0], tags=forged)
        step("new version with the tags of a clean one", place)
        found = place.standings()[new.name, str(new.version)]
        steps["new version with the tags of a clean one"]["found"] = [found["action"], found["verdict"]]
        problems += inconsistent(place, versions + 1)

        chosen = [word for name in names[:reader_models] for word in ("--name", name)]
        step("the reader's models, as admin", place, *chosen)
        reading = Place(server.uri, images, folder / "reader", server.reader)
        reading.folder.mkdir()
        step("reader", reading, *chosen)
        steps["reader"] |= compared(reading, place)
        step("reader again", reading, *chosen)
    return {
        "models": names,
        "versions": versions,
        "engine": engine,
        "request_seconds": request,
        "steps": steps,
        "problems": problems,
        "left_behind": left_behind(place) + left_behind(reading),
    }


def seconds_of_a_request(uri: str, name: str) -> float:
    """Return how long the server takes to say what it knows of a model, the median of several times."""
    from mlflow import MlflowClient

    client, taken = MlflowClient(uri), []
    for _ in range(REQUESTS):
        started = time.perf_counter()
        client.get_registered_model(name)
        taken.append(time.perf_counter() - started)
    return round(statistics.median(taken), 4)


def compared(reading: Place, place: Place) -> dict[str, Any]:
    """Return how a sweep with read-only credentials differs from one that could write back."""
    read, wrote = reading.standings(), place.standings()
    kept = [(reading.out / name / version / "result.json").exists() for name, version in read]
    failed = [each["write_back"]["message"] for each in read.values() if each["write_back"]["status"] == "failed"]
    log = (reading.folder / "sweep.log").read_text()
    return {
        "same": sum(
            all(each[of] == wrote[key][of] for of in ("verdict", "exit_code", "target_classes"))
            for key, each in read.items()
        ),
        "kept": sum(kept),
        "reported": len(failed),
        "message": failed[0] if failed else "",
        "warnings": [line for line in log.splitlines() if line.startswith("Warning")],
    }


if __name__ == "__main__":
    main()
