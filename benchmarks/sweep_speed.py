"""Speed of `sweep.py`: what a second worker adds, and whether a Ray cluster comes to the same as this machine."""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from shared import network
from sweep_stand import SCAN, Place, register

WAYS = {
    "one worker, one thread": ("--workers", "1", "--threads", "1"),
    "one worker, all cores": ("--workers", "1"),
    "two workers, one thread each": ("--workers", "2", "--threads", "1"),
}
_SECONDS = 5.0
"""How long the machine itself is measured, for each figure."""
_COPIED = 2**28
"""Bytes that are copied over and over to see what the memory gives; more than fits into a core's cache."""


def workers(folder: Path, images: Path, names: Sequence[str], repeat: int) -> dict[str, Any]:
    """Measure sweeps over the same models with one worker and with two, as a user runs them, and the machine itself.

    Args:
        folder: an empty folder.
        images: folder of images.
        names: models of the zoo.
        repeat: sweeps of each kind; the order turns from one to the next.
    """
    uri = f"sqlite:///{folder}/mlflow.db"
    register(uri, names, len(names), folder / "artifacts")
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    spans: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(repeat):
        ways = list(WAYS)[:: 1 if turn % 2 == 0 else -1]
        for way in ways:
            place = Place(uri, images, folder / f"{turn}-{ways.index(way)}", {})
            place.folder.mkdir()
            taken = place.sweep("--quiet", "--no-cache", *SCAN, *WAYS[way])
            _all_scanned(place, len(names))
            rows = place.rows()
            seconds[way].append(taken["seconds"])
            spans[way].append(max(row["judged_at"] for row in rows) - min(row["started_at"] for row in rows))
    return {
        "models": list(names),
        "seconds": seconds,
        "median_seconds": {way: statistics.median(each) for way, each in seconds.items()},
        "median_span": {way: round(statistics.median(each), 2) for way, each in spans.items()},
        "ceiling": {what: _ceiling(work) for what, work in (("network", _passes), ("memory", _copies))},
        "lscpu": _lscpu(),
    }


def engines(folder: Path, images: Path, names: Sequence[str]) -> dict[str, Any]:
    """Sweep the same models with both engines; Ray on a cluster of two nodes with a core each.

    Args:
        folder: an empty folder.
        images: folder of images.
        names: models of the zoo.
    """
    uri = f"sqlite:///{folder}/mlflow.db"
    register(uri, names, len(names), folder / "artifacts")
    found, seconds = {}, {}
    with _cluster(folder) as address:
        ways = {"local": ("--workers", "2"), "ray": ("--engine", "ray", "--ray-address", address)}
        for engine, options in ways.items():
            place = Place(uri, images, folder / engine, {})
            place.folder.mkdir()
            seconds[engine] = place.sweep("--quiet", "--no-cache", "--threads", "1", *SCAN, *options)["seconds"]
            _all_scanned(place, len(names))
            found[engine] = {
                name: {key: each[key] for key in ("verdict", "target_classes", "score")}
                for (name, _), each in sorted(place.standings().items())
            }
            found[engine]["engine"] = place.posture()["engine"]
    same = [
        all(found["local"][name][key] == found["ray"][name][key] for key in ("verdict", "target_classes"))
        for name in names
    ]
    return {"models": list(names), "seconds": seconds, "found": found, "same": sum(same)}


def _all_scanned(place: Place, versions: int) -> None:
    standings = place.standings().values()
    done = [each for each in standings if each["action"] == "scanned" and each["status"] == "completed"]
    if len(done) != versions:
        raise SystemExit(f"{len(done)} of {versions} were scanned: {[each['reason'] for each in standings]}")


@contextmanager
def _cluster(folder: Path) -> Iterator[str]:
    """Start a Ray cluster of two nodes on this machine and yield its address."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_TMPDIR"] = str(folder / "r")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        yield cluster.address
    finally:
        cluster.shutdown()


def _ceiling(work: Callable[[], float]) -> dict[str, float]:
    """Return how much a process of one thread gets done in a second, and two of them side by side."""
    context = multiprocessing.get_context("spawn")
    rates = []
    for processes in (1, 2):
        with context.Pool(processes) as pool:
            rates.append(sum(pool.map(_rate, [work] * processes, chunksize=1)))
    return {"one": round(rates[0], 1), "two": round(rates[1], 1), "ratio": round(rates[1] / rates[0], 2)}


def _rate(work: Callable[[], float]) -> float:
    import torch

    torch.set_num_threads(1)
    return work()


def _passes() -> float:
    """Return forward and backward passes of a zoo network in a second, in images."""
    import torch

    net, images = network("d02"), torch.rand(64, 3, 32, 32, requires_grad=True)
    return 64 * _per_second(lambda: torch.autograd.grad(net(images).sum(), images))


def _copies() -> float:
    """Return gigabytes copied in a second."""
    source = np.ones(_COPIED // 8)
    target = np.empty_like(source)
    return _COPIED / 1e9 * _per_second(lambda: np.copyto(target, source))


def _per_second(step: Callable[[], Any]) -> float:
    step()
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < _SECONDS:
        step()
        steps += 1
    return steps / (time.perf_counter() - started)


def _lscpu() -> dict[str, str]:
    """Return what decides how much two cores of this machine share."""
    told = subprocess.run(["lscpu", "-J"], capture_output=True, check=True, env={**os.environ, "LC_ALL": "C"})  # noqa: S607
    wanted = ("Model name", "CPU(s)", "Thread(s) per core", "L2 cache", "L3 cache", "Hypervisor vendor")
    known = {each["field"].rstrip(":"): each["data"] for each in json.loads(told.stdout)["lscpu"]}
    return {name: known[name] for name in wanted if name in known}
