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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networks
import torch
from shared import ROOT, machine

RESULTS = ROOT / "benchmarks" / "results" / "architectures.json"
PAGE = ROOT / "docs" / "flavors.md"
MARK = "<!-- table of benchmarks/architectures.py -->"
IMAGES = 24
SEARCH = ("--spaces", "l2", "--profile", "quick")
SAID = ("--input-size", "224x224", "--channels", "3", "--value-range", "0,1")
"""What a model without an input example, a processor or timm's config.json has to be told."""


def main() -> None:
    """Scan every cell that is not in the results yet, or only write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time-budget", default="8s", help="for the searches of one scan")
    parser.add_argument(
        "--full", action="store_true", help="scan each network once more, as pt2, to the end of the search"
    )
    parser.add_argument("--network", choices=networks.NETWORKS, action="append", help="only this one")
    parser.add_argument("--again", action="store_true", help="forget the results so far")
    parser.add_argument("--page", action="store_true", help="only write the page")
    options = parser.parse_args()
    scans = [] if options.again or not RESULTS.exists() else json.loads(RESULTS.read_text())["scans"]
    if not options.page:
        torch.set_num_threads(2)
        with tempfile.TemporaryDirectory() as name:
            images = write_images(Path(name) / "images")
            for model in options.network or networks.NETWORKS:
                cells = [(kind, options.time_budget) for kind in networks.FORMATS if networks.applies(model, kind)]
                cells += [("pt2", None)] if options.full else []
                known = {(s["format"], s["budget"]) for s in scans if s["model"] == model}
                for scan in scan_cells(model, [cell for cell in cells if cell not in known], images):
                    scans.append(scan)
                    scans.sort(key=lambda s: list(networks.NETWORKS).index(s["model"]))
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


def scan_cells(model: str, cells: list[tuple[str, str | None]], images: Path) -> Iterator[dict[str, Any]]:
    """Scan one network in each of these formats with these time budgets."""
    net = networks.network(model) if cells else None
    for kind, budget in cells:
        with tempfile.TemporaryDirectory() as name:
            folder = networks.save(model, net, kind, Path(name) / "model")
            scan = {"model": model, "format": kind, "budget": budget, **measure(folder, model, kind, images, budget)}
        sys.stdout.write(f"{scan}\n")
        sys.stdout.flush()
        yield scan


def measure(folder: Path, model: str, kind: str, images: Path, budget: str | None) -> dict[str, Any]:
    """Run one scan in a process of its own, and return what came of it."""
    out = folder.parent / "out"
    command = [sys.executable, "-m", "smoothscan", "check", str(folder), "--images", str(images), *SEARCH]
    command += ["--time-budget", budget] if budget else []
    command += ["--output-dir", str(out), "--format", "json", "--quiet"]
    command += ["--no-cache", "--no-write-back"]
    command += SAID if kind == "pickle" or (kind == "safetensors" and model.startswith("torchvision/")) else ()
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
        f"| {s['model']} | {s['format']} | {s['budget'] or 'none'} | {answer(s)} | {s['model_passes']:,} | "
        f"{s['passes_per_second']:.0f} | {s['seconds']:.0f} s |"
        for s in report["scans"]
    )
    host = report["machine"]
    return f"""{before}{MARK}

Machine: {host["processor"]}, {host["cores"]} cores, torch {report["torch"]}; {report["images"]} images.

| network | format | time budget | answer | model passes | passes/s in the model | wall |
|---|---|---|---|---|---|---|
{rows}
"""


def answer(scan: dict[str, Any]) -> str:
    """Return what a scan says, in a few words."""
    if scan["status"] != "completed":
        return f"{scan['status']}: {scan['reason']}"
    return f"{scan['verdict']} (time budget)" if "time budget" in scan["reason"] else str(scan["verdict"])


if __name__ == "__main__":
    main()
