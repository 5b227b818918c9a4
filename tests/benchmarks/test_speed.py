from __future__ import annotations

import speed
import torch
from torch import nn


def run(**changes):
    values = {
        "target": 776,
        "verdict": "backdoored",
        "target_classes": [776],
        "anomaly": 2.9,
        "seconds": 800.0,
        "scan_seconds": 750.0,
        "host_seconds": 600.0,
        "exchange_share": 0.02,
        "model_passes": 30_000,
        "peak_rss_bytes": 2_000_000_000,
    }
    return values | changes


def test_a_head_answers_for_its_classes_alone_and_the_target_is_the_first():
    classes = speed.chosen_classes(10, 776)
    assert classes[0] == 776
    assert len(set(classes)) == 10
    assert speed.chosen_classes(100, 776)[:10] == classes
    logits = torch.arange(1000.0).repeat(2, 1)
    assert speed.Head(nn.Identity(), classes)(logits)[1].tolist() == [float(t) for t in classes]


def test_the_page_says_what_was_measured_and_leaves_out_what_was_not():
    report = {"machine": {"processor": "P", "cores": 2, "amx": False, "python": "3.11"}, "scans": {"i02/0": run()}}
    page = speed.page(report)
    assert "| i02/0 | 776 | backdoored | 776 | 2.90 | 800 s | 600 s | 30,000 | 2.00 GB |" in page
    assert "Growth" not in page
    assert "protocol" not in page

    report["growth"] = {"10": run(model_passes=10_000, seconds=200.0, host_seconds=200.0)}
    report["loop"] = {"best": {"passes_per_second": 50.0, "batch": 16}}
    report["paper"] = {
        "seconds_per_pass": 0.02,
        "measured_passes": 800,
        "one_setting_passes": 16_000_000,
        "one_setting_hours": 88.9,
    }
    page = speed.page(report)
    assert "1,000 classes cost 3.0 times the passes of 10, 4.0 times the time." in page
    assert "| i02/0 | 80% | 1.6% | 18% | 50.0 (100% of the network's own) | 40.0 (80% of the network's own) |" in page
    assert "A scan takes at most 30,000 passes, 533 times fewer." in page
