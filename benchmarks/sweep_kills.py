"""Kills of `sweep.py`: a sweep is killed at random moments and started again, and nothing may be lost or done twice."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from sweep_stand import SCAN, SCAN_ID, Place, Server, inconsistent, left_behind

_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl: orphans of the processes started here become children of this one."""
_GONE = 30.0
"""Seconds that the processes of a killed sweep have to end."""


def kills(server: Server, images: Path, versions: int, times: int, within: float, seed: int) -> dict[str, Any]:
    """Kill a sweep again and again, then let it run to its end, and compare all that is known of it.

    Half of the kills hit the workers too. After half of them the sweep is started again at once, after the others when
    the last of its processes has gone.

    Args:
        server: a registry that was never swept.
        images: folder of images.
        versions: how many versions the registry holds.
        times: how many kills.
        within: latest moment of a kill, in seconds after the start.
        seed: seed of the moments.
    """
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    place = Place(server.uri, images, server.folder / "killed", server.admin)
    place.folder.mkdir()
    rng = random.Random(seed)  # noqa: S311
    both = rng.sample([True, False] * ((times + 1) // 2), times)
    done, judged = [], {}
    for too in both:
        moment, at_once = rng.uniform(0, within), rng.random() < 0.5
        sweep = place.start("--quiet", *SCAN)
        with suppress(subprocess.TimeoutExpired):
            sweep.wait(moment)
            break  # it came to its end
        family = psutil.Process(sweep.pid)
        processes = 1 + len(family.children(recursive=True))
        workers = family.children() if too else []
        for pid in (sweep.pid, *(worker.pid for worker in workers)):
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        sweep.wait()
        gone = None if at_once else _seconds_until_gone(server)
        judged, problems = _checked(place, judged)
        states = Counter(row["state"] for row in _rows(place))
        problems += [] if at_once or gone is not None else ["processes stayed"]
        kill = {"seconds": round(moment, 2), "workers_too": too, "processes": processes, "gone_after": gone}
        done.append({**kill, "states": dict(states), "problems": problems})
    last = place.sweep("--quiet", *SCAN)
    gone = _seconds_until_gone(server)
    again = place.sweep("--quiet", *SCAN)
    scanned = sum(each["action"] == "scanned" for each in place.posture()["models"])
    _, problems = _checked(place, judged)
    return {
        "versions": versions,
        "kills": done,
        "last": last,
        "again": {**again, "scanned": scanned},
        "problems": problems + inconsistent(place, versions) + ([] if gone is not None else ["processes stayed"]),
        "left_behind": left_behind(place),
    }


def _rows(place: Place) -> list[dict[str, Any]]:
    return place.rows() if place.ledger.exists() else []


def _checked(place: Place, before: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the scans that are judged now, and what is wrong with them after those that were judged before."""
    rows = _rows(place)
    judged = {row["scan_id"]: (row["name"], row["version"], row["judged_at"]) for row in rows if row["judged_at"]}
    problems = [] if not rows or place.is_sound() else ["the ledger's file is damaged"]
    problems += [f"scan {scan} was lost or changed" for scan, what in before.items() if judged.get(scan) != what]
    scans = Counter((row["name"], row["version"]) for row in rows)
    problems += [f"{name} {version} is in the ledger {n} times" for (name, version), n in scans.items() if n > 1]
    runs = Counter(run.data.tags[SCAN_ID] for run in place.runs())
    problems += [f"scan {scan} has {n} runs" for scan, n in runs.items() if n > 1]
    problems += [f"a run belongs to no scan that is judged: {scan}" for scan in runs.keys() - judged.keys()]
    return judged, problems


def _seconds_until_gone(server: Server) -> float | None:
    """Wait until no process is left that a sweep started; return how long that took, None if it was too long."""
    started = time.monotonic()
    while time.monotonic() - started < _GONE:
        if not _left_over(server):
            return round(time.monotonic() - started, 2)
        time.sleep(0.05)
    return None


def _left_over(server: Server) -> list[psutil.Process]:
    """Return descendants of this process that are not the server's."""
    here = psutil.Process()
    for child in here.children():
        with suppress(psutil.Error, ChildProcessError):
            if child.status() == psutil.STATUS_ZOMBIE and child.pid != server.pid:
                os.waitpid(child.pid, os.WNOHANG)
    own = {server.pid, *(child.pid for child in psutil.Process(server.pid).children(recursive=True))}
    return [child for child in here.children(recursive=True) if child.pid not in own]
