"""Real architectures in every format, scanned by the real command: `make architectures-page`.

Saves five networks of torchvision, timm and transformers (see `networks.py`) in each format that they can have, runs
`smoothscan check` on each and writes `benchmarks/results/architectures.json` and the table in `docs/flavors.md`. The
networks are trained on next to nothing, and the searches cut short: what is shown is that a scan comes to an answer,
and what it costs, not whether the verdict is right.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import networks
import torch
from shared import ROOT, machine

RESULTS = ROOT / "benchmarks" / "results" / "architectures.json"
PAGE = ROOT / "docs" / "flavors.md"
MARK = "<!-- table of benchmarks/architectures.py -->"
IMAGES = 30
SEARCH = ("--spaces", "l2", "--profile", "quick")
SAID = ("--input-size", "224x224", "--channels", "3", "--value-range", "0,1")
"""What a model without an input example, a processor or timm's config.json has to be told."""
CODE = ("pickle",)
"""Formats that run the model's own code."""


def main() -> None:
    """Scan every cell that is not in the results yet, or only write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time-budget", default="20s", help="for the searches of one scan")
    parser.add_argument("--again", action="store_true", help="forget the results so far")
    parser.add_argument("--page", action="store_true", help="only write the page")
    options = parser.parse_args()
    scans = [] if options.again or not RESULTS.exists() else json.loads(RESULTS.read_text())["scans"]
    if not options.page:
        torch.set_num_threads(2)
        with tempfile.TemporaryDirectory() as name:
            images = write_images(Path(name) / "images")
            for model in networks.NETWORKS:
                scans += scan_formats(model, {(s["model"], s["format"]) for s in scans}, images, options.time_budget)
                report = {"machine": machine(), "torch": torch.__version__, "images": IMAGES, "scans": scans}
                RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    PAGE.write_text(with_table(PAGE.read_text(), json.loads(RESULTS.read_text())))


def write_images(folder: Path) -> Path:
    """Write the images as PNG files."""
    from PIL import Image

    folder.mkdir()
    for i, pixels in enumerate(networks.images(IMAGES)):
        Image.fromarray((pixels * 255).round().byte().permute(1, 2, 0).numpy()).save(folder / f"{i:03d}.png")
    return folder


def scan_formats(model: str, known: set[tuple[str, str]], images: Path, budget: str) -> list[dict[str, Any]]:
    """Scan one network in each format that is not known yet."""
    missing = [kind for kind in networks.FORMATS if networks.applies(model, kind) and (model, kind) not in known]
    net = networks.network(model) if missing else None
    scans = []
    for kind in missing:
        with tempfile.TemporaryDirectory() as name:
            folder = networks.save(model, net, kind, Path(name) / "model")
            scans.append({"model": model, "format": kind, **measure(folder, model, kind, images, budget)})
        sys.stdout.write(f"{scans[-1]}\n")
    return scans


def measure(folder: Path, model: str, kind: str, images: Path, budget: str) -> dict[str, Any]:
    """Run one scan in a process of its own, and return what came of it."""
    out = folder.parent / "out"
    command = [sys.executable, "-m", "smoothscan", "check", str(folder), "--images", str(images), *SEARCH]
    command += ["--time-budget", budget, "--output-dir", str(out), "--format", "json", "--quiet"]
    command += ["--no-cache", "--no-write-back"]
    command += SAID if kind == "pickle" or (kind == "safetensors" and model.startswith("torchvision/")) else ()
    command += ["--allow-model-code"] if kind in CODE else []
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if not (out / "result.json").exists():
        raise RuntimeError(done.stderr[-2000:])
    result = json.loads((out / "result.json").read_text())
    return {
        "exit_code": done.returncode,
        "flavor": result["model"]["flavor"],
        "status": result["status"],
        "verdict": result["verdict"],
        "reason": result["reasons"][0] if result["reasons"] else "",
        "unfinished": result["coverage"]["unfinished"],
        "model_passes": round(result["cost"]["model_passes"]),
        "passes_per_second": round(result["cost"]["model_passes"] / max(result["cost"]["host_seconds"], 1e-9), 1),
        "seconds": round(seconds, 1),
        "precision": result["environment"].get("precision"),
    }


def with_table(page: str, report: dict[str, Any]) -> str:
    """Return the page with the table of these results behind its mark."""
    before, mark, _ = page.partition(MARK)
    if not mark:
        raise RuntimeError(f"{PAGE} has no line {MARK}")
    rows = "\n".join(
        f"| {s['model']} | {s['format']} | {answer(s)} | {s['model_passes']:,} | {s['passes_per_second']:.0f} | "
        f"{s['seconds']:.0f} s |"
        for s in report["scans"]
    )
    host = report["machine"]
    return f"""{before}{MARK}

Machine: {host["processor"]}, {host["cores"]} cores, torch {report["torch"]}; {report["images"]} images.

| network | format | answer | model passes | passes/s in the model | wall |
|---|---|---|---|---|---|
{rows}
"""


def answer(scan: dict[str, Any]) -> str:
    """Return what a scan says, in a few words."""
    if scan["status"] != "completed":
        return f"{scan['status']}: {scan['reason']}"
    return f"{scan['verdict']} (time budget)" if scan["unfinished"] else str(scan["verdict"])


if __name__ == "__main__":
    main()
