"""Figures that the running text repeats are those that were measured; where a page is edited, this has to follow."""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest

from smoothscan.detection.probe import MIN_HELD_OUT
from smoothscan.verdict.decision import BACKDOORED, SUSPICIOUS

from .blocks import ROOT


def measured(name: str) -> Any:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())


def seconds(profile: str) -> float:
    return median(scan["seconds"] for scan in measured("check")["scans"] if scan["profile"] == profile)


def r_of(name: str) -> float:
    return float(measured("zoo")["scans"][f"smoothscan-l2/1/{name}/0"]["anomaly"])


def ratio_of(name: str) -> float:
    """How much less the easiest class of a model needs than the middle of the others."""
    e50 = sorted(value for value in measured("zoo")["scans"][f"smoothscan-l2/1/{name}/0"]["e50"] if value)
    return float(e50[0] / median(e50[1:]))


def passes(method: str) -> float:
    scans = measured("zoo")["scans"]
    return median(scan["passes"] for key, scan in scans.items() if key.startswith(f"{method}/"))


def flagged_clean() -> int:
    zoo = measured("zoo")
    clean = [name for name, entry in zoo["models"].items() if entry["attack"] == "none"]
    scans = [
        scan for key, scan in zoo["scans"].items() if key.split("/")[0] == "smoothscan" and key.split("/")[2] in clean
    ]
    assert len(scans) > 20
    return sum(scan["verdict"] in ("suspicious", "backdoored") for scan in scans)


def auto_costs() -> float:
    scans = [scan for key, scan in measured("denoiser")["scans"].items() if key.startswith("smoothscan-auto/")]
    whole = sum(scan["seconds"] for scan in scans)
    return float(whole / (whole - sum(scan["denoised"]["seconds"] for scan in scans)))


def mixed_costs() -> float:
    scans = measured("denoiser")["scans"]
    spent = {how: sum(s["seconds"] for k, s in scans.items() if k.startswith(f"{how}/")) for how in METHODS}
    return spent[METHODS[1]] / spent[METHODS[0]]


METHODS = ("smoothscan-l2", "smoothscan-l2-mixed")

CLAIMS: list[tuple[str, str, Callable[[], bool]]] = [
    ("README.md", "22 are enough", lambda: MIN_HELD_OUT + 2 == 22),
    ("docs/images.md", "22 are enough for a model of few classes", lambda: MIN_HELD_OUT + 2 == 22),
    ("README.md", "Twenty allow no p-value below 0.048; 99 allow 0.01", lambda: round(1 / 21, 3) == 0.048),
    ("docs/calibrate.md", "Twenty clean models allow none below 0.048; 99 allow 0.01", lambda: 1 / 100 == 0.01),
    ("README.md", "Ten classes at 32x32 take half a minute on two cores", lambda: 25 < seconds("standard") < 40),
    ("README.md", "`--profile quick` half of that", lambda: 0.4 < seconds("quick") / seconds("standard") < 0.6),
    (
        "README.md",
        "a thousand at 224x224 about ten minutes for each kind of trigger",
        lambda: 500 < measured("speed")["scans"]["i02/0"]["seconds"] < 700,
    ),
    (
        "README.md",
        "(`--pairs` looks for those, at three times the cost)",
        lambda: 2.6 < (passes("smoothscan-pairs") + passes("smoothscan")) / passes("smoothscan") < 3.6,
    ),
    (
        "docs/method.md",
        "From 0.63 on a model is suspicious, from 0.8 backdoored",
        lambda: (SUSPICIOUS, BACKDOORED) == (0.63, 0.8),
    ),
    (
        "docs/method.md",
        "In the clean model it is 0.14. In the backdoored one it is 1.12",
        lambda: (round(r_of("d02"), 2), round(r_of("d01"), 2)) == (0.14, 1.12),
    ),
    ("docs/method.md", "class 0 needs a third of what the others need", lambda: 0.28 < ratio_of("d01") < 0.36),
    ("docs/method.md", "In the zoo no clean model was flagged", lambda: flagged_clean() == 0),
    ("docs/denoiser.md", "took a quarter more time over 14 models", lambda: round(auto_costs(), 2) == 1.25),
    ("docs/denoiser.md", "about as good as none at one and a half times the cost", lambda: 1.35 < mixed_costs() < 1.65),
    (
        "docs/static-check.md",
        "about half a second for a model of 100 MB",
        lambda: 0.35 < measured("overhead")["models"]["100 MB, pt2"]["check"] < 0.65,
    ),
]


@pytest.mark.parametrize(("page", "words", "holds"), CLAIMS, ids=[f"{page}: {words[:30]}" for page, words, _ in CLAIMS])
def test_what_a_page_says_was_measured(page: str, words: str, holds: Callable[[], bool]) -> None:
    text = " ".join((ROOT / page).read_text().split())
    assert words in text, f"{page} no longer says so: change the claim here, or take it away"
    assert holds(), f"{page} says {words!r}, which the results do not"
