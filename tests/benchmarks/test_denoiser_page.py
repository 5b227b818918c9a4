"""The page that compares searches with and without a denoiser, from figures that are known."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from denoiser_page import METHODS, packed, page, picture, unpacked
from PIL import Image

ENTRIES = {
    "c1": {"attack": "none", "mode": "all2one", "target": None, "asr": None},
    "b1": {"attack": "single-pixel", "mode": "all2one", "target": 3, "asr": 0.9},
    "b2": {"attack": "noise-adaptive", "mode": "adaptive", "target": 1, "asr": 0.9},
}


def scan(anomaly: float, targets: list[int], cosine: float, *, patterned: bool = True) -> dict[str, Any]:
    change = np.zeros((3, 32, 32))
    change[-1, -1, -1] = 1
    pattern = packed(change)
    return {
        "anomaly": anomaly,
        "score": anomaly / 4,
        "verdict": "backdoored" if targets else "clean",
        "targets": targets,
        "passes": 1000,
        "seconds": 10.0,
        "without": 0.5,
        "denoised": {"passes": 400, "spaces": ["l2"], "seconds": 2.5},
        "triggers": [{"shifted_cosine": cosine}] if patterned else [],
        **({"pictures": {"true": pattern, "recovered": pattern}} if patterned else {}),
    }


@pytest.fixture
def results() -> dict[str, Any]:
    scans = {f"{method}/1/c1/0": scan(0.2, [], 0.0, patterned=False) for method in METHODS.values()}
    for how, method in METHODS.items():
        scans[f"{method}/1/b1/0"] = scan(1.2, [3], 0.6 if how == "mixed" else 0.4)
        scans[f"{method}/1/b2/0"] = scan(0.3, [], 0.1)
    scans["smoothscan-auto/1/b2/0"] = scan(0.7, [1], 0.1)
    trained = {"images": {"training": 49744}, "settings": {"steps": 6000}, "parameters": 624000, "seconds": 1500}
    return {
        "denoiser": {**trained, "threads": 2},
        "machine": {"processor": "one", "cores": 2},
        "accuracy": {"d02": {"clean": 0.86, "0.25": {"plain": 0.12, "denoised": 0.68}}},
        "models": ENTRIES,
        "scans": scans,
    }


def test_the_page_has_accuracies_searches_cosines_and_what_auto_costs(results: dict[str, Any]) -> None:
    text = page(results)
    assert "| d02 | 86.0% | 0.25 | 12.0% | 68.0% | +56.0 |" in text
    assert "| b1 | single-pixel | 3 | 1.20 | 3 | 0.40 | 1.20 | 3 | 0.60 | 1.20 | 3 | 0.40 |" in text
    assert "mixed is closer to the true trigger than plain for 1 of 1 triggers (mean cosine 0.60 against 0.40)" in text
    assert "always is closer to the true trigger than plain for 0 of 1 triggers" in text
    assert "| plain | 3 | 1.000" in text
    assert "| 1 of 1 | 0 of 1 |" in text  # the strong one with its target, the clean one not flagged
    assert "`auto` takes 1.33 times as long as the plain scan" in text
    assert max(map(len, text.splitlines()[:12])) <= 120


def test_the_picture_has_a_row_for_each_trigger_and_a_column_for_each_search(results: dict[str, Any]) -> None:
    sheet = Image.open(io.BytesIO(picture(results)))
    one = Image.open(io.BytesIO(picture({**results, "models": {"b1": ENTRIES["b1"]}})))
    assert sheet.size[0] == one.size[0] > 4 * 96
    assert sheet.size[1] > one.size[1]


def test_a_change_survives_as_text_to_one_255th() -> None:
    change = np.random.default_rng(0).uniform(-1, 1, (3, 32, 32))
    assert np.abs(unpacked(packed(change)) / 255 - change).max() <= 0.5 / 255
