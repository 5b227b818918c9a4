"""What a scan of 1,000 classes costs: `python benchmarks/speed.py`.

EfficientNet-Lite0 at 224x224, clean and backdoored, in a temporary sqlite registry; the real command `smoothscan check
--spaces l2` on 102 images. Then the same backdoored network with 10, 100 and 1,000 of its classes; the loop's speed
against the machine's best for the same network; and the paper's profile on a few classes of it, extrapolated to all.
Writes `benchmarks/results/speed.json` and `docs/speed.md`. `--parts` runs some of it and keeps the rest.

Needs the zoo and the images (SMOOTHSCAN_SHARED, or ../shared beside the checkout) and the packages named in
`imagenet.py`; networks of `train_imagenet.py` are scanned as well where they are there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from check import measure
from imagenet import SIDE, chosen, efficientnet, sample
from shared import ROOT, SHARED, machine, manifest
from torch import Tensor, nn

RESULTS = ROOT / "benchmarks" / "results" / "speed.json"
PAGE = ROOT / "docs" / "speed.md"
TRAINED = ROOT / "benchmarks" / "zoo"
IMAGES = 102
GROWTH = (10, 100)
"""Classes of the smaller heads; the whole network, with 1,000, is one of the scans."""
BACKDOORED = "i02"
PARTS = ("scans", "growth", "loop", "paper")
BATCHES = (4, 8, 16, 32)
PAPER_CLASSES = 2
PAPER_STEPS = 10
PAPER_SETTING = 16_000
"""Model passes of the paper's protocol for one class, noise level and budget: 400 steps of 40 noise vectors."""


class Head(nn.Module):
    """A network with some of its classes alone.

    Args:
        net: images -> logits [B, K].
        classes: positions of the classes that are left.
    """

    def __init__(self, net: nn.Module, classes: list[int]) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("classes", torch.tensor(classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of these classes."""
        logits: Tensor = self.net(images).index_select(1, self.classes)
        return logits


def main() -> None:
    """Measure, write the results, print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to run (default: everything)")
    parser.add_argument("--zoo", type=Path, default=TRAINED, help="folder of train_imagenet.py")
    parser.add_argument("--models", help="models of `scans`, separated by commas (default: all that are there)")
    parser.add_argument("--busy", action="store_true", help="note that the machine does other work at the same time")
    parser.add_argument("--seeds", type=int, default=1, help="scans of each model, each with other images (default: 1)")
    options = parser.parse_args()
    report: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    report |= {"machine": machine()}
    known = models(options.zoo)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "scans" in options.parts:
            scans = report.setdefault("scans", {})
            for model in known if options.models is None else options.models.split(","):
                for seed in range(options.seeds):
                    net = efficientnet(known[model]["weights"])
                    scans[f"{model}/{seed}"] = scan(net, model, folder, seed) | {
                        "target": known[model]["target"],
                        "busy": options.busy,
                    }
                    save(report)
        if "growth" in options.parts:
            growth = report.setdefault("growth", {})
            target = int(known[BACKDOORED]["target"])
            for k in GROWTH:
                net = Head(efficientnet(known[BACKDOORED]["weights"]), chosen_classes(k, target))
                growth[str(k)] = scan(net, f"{BACKDOORED}-{k}", folder, 0) | {"target": 0}
                save(report)
    if "loop" in options.parts:
        report["loop"] = {"best": best_speed(efficientnet(known[BACKDOORED]["weights"]))}
    if "paper" in options.parts:
        report["paper"] = paper(efficientnet(known[BACKDOORED]["weights"]), int(known[BACKDOORED]["target"]))
    save(report)
    sys.stdout.write(PAGE.read_text())


def models(trained: Path) -> dict[str, dict[str, Any]]:
    """Return weights and target of every network, by name; `imagenet` has the published weights."""
    known: dict[str, dict[str, Any]] = {"imagenet": {"weights": None, "target": None}}
    for folder in (SHARED / "zoo", trained):
        if (folder / "manifest.json").exists():
            for name, entry in manifest(folder).items():
                if entry["dataset"] == "imagenet-sample":
                    known[name] = {"weights": folder / entry["file"], "target": entry["target"]}
    return known


def chosen_classes(k: int, target: int) -> list[int]:
    """Return the target and random other classes, k in all; the target comes first."""
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(0)).tolist()
    return [target, *(t for t in order if t != target)][:k]


def scan(net: nn.Module, name: str, folder: Path, seed: int) -> dict[str, Any]:
    """Register a network as pt2 and run the command on it."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow
    from PIL import Image

    pixels = chosen(IMAGES, seed)
    images = folder / f"images-{seed}"
    images.mkdir(exist_ok=True)
    for i, image in enumerate((pixels * 255).round().byte()):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(images / f"{i:03d}.png")
    uri = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("speed")
    example = pixels[:2].numpy()
    with mlflow.start_run():
        mlflow.pytorch.log_model(
            net.to(memory_format=torch.contiguous_format),  # type: ignore[call-overload]
            name="model",
            input_example=example,
            registered_model_name=name,
            serialization_format="pt2",
        )
    version = mlflow.MlflowClient().get_registered_model(name).latest_versions[-1].version
    options = ["--spaces", "l2", "--seed", str(seed)]
    return measure(f"{name}/{version}", uri, images, folder / "out", "standard", options)


def best_speed(net: nn.Module) -> dict[str, float]:
    """Return the most model passes a second, forward and backward for the input, over batch sizes."""
    net.requires_grad_(False)
    fastest, at = 0.0, 0
    for batch in BATCHES:
        images = torch.rand(batch, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
        for _ in range(6):
            started = time.perf_counter()
            x = images.clone(memory_format=torch.preserve_format).requires_grad_()
            with torch.autocast("cpu", torch.bfloat16):
                answer = net(x)
            answer.float().logsumexp(1).sum().backward()
            speed = batch / (time.perf_counter() - started)
            if speed > fastest:
                fastest, at = speed, batch
    return {"passes_per_second": round(fastest, 1), "batch": at}


def paper(net: nn.Module, target: int) -> dict[str, float]:
    """Return the time of a pass in the paper's profile, from a few steps on a few classes, and what all would take."""
    from smoothscan.classifier.local import LocalClassifier
    from smoothscan.config import PROFILES
    from smoothscan.detection.inversion import Inverter
    from smoothscan.smoothing.noise import KeyedNoise
    from smoothscan.smoothing.smoothed import SmoothedClassifier
    from smoothscan.spaces import SPACES

    pixels, _ = sample(held_out=True, count=2)
    classifier = LocalClassifier(net, pixels, "bfloat16")
    profile = PROFILES["paper"].model_copy(update={"steps": PAPER_STEPS})
    smoothed = SmoothedClassifier(classifier, profile.sigmas[0] if profile.sigmas else 0.12, 1.0)
    inverter = Inverter((smoothed,), SPACES["l2"], profile, KeyedNoise(0, (3, SIDE, SIDE)), lambda _: None)
    classes = chosen_classes(PAPER_CLASSES, target)
    started = time.perf_counter()
    for t in classes:
        inverter.invert(pixels[:1][None], torch.tensor([t]), None, epsilon=10.0, first_step=0)
    each = (time.perf_counter() - started) / (PAPER_CLASSES * PAPER_STEPS * profile.n_noise)
    return {
        "seconds_per_pass": round(each, 4),
        "measured_passes": PAPER_CLASSES * PAPER_STEPS * profile.n_noise,
        "one_setting_passes": 1000 * PAPER_SETTING,
        "one_setting_hours": round(1000 * PAPER_SETTING * each / 3600, 1),
    }


def save(report: dict[str, Any]) -> None:
    """Write the results and the page."""
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    PAGE.write_text(page(report))


def page(report: dict[str, Any]) -> str:
    """Return the page for people."""
    found = report["machine"]
    amx = "AMX" if found["amx"] else "no AMX"
    lines = [
        "# A thousand classes",
        "",
        "Written by `python benchmarks/speed.py`; raw figures in `benchmarks/results/speed.json`. EfficientNet-Lite0,",
        "224x224, 102 images, `smoothscan check --spaces l2` from the start of the program to its end.",
        f"Machine: {found['processor']}, {found['cores']} cores, {amx}, Python {found['python']}.",
    ]
    if scans := report.get("scans"):
        lines += ["", "## Scans", "", *_table(scans, "model/seed")]
    if smaller := report.get("growth"):
        whole = report.get("scans", {}).get(f"{BACKDOORED}/0")
        growth = smaller | ({"1000": whole} if whole else {})
        lines += ["", f"## Growth with the number of classes ({BACKDOORED} with some of its classes)", ""]
        lines += _table(growth, "classes")
        few, many = growth.get(str(GROWTH[0])), growth.get("1000")
        if few and many:
            passes, seconds = (many[of] / few[of] for of in ("model_passes", "seconds"))
            in_time = "" if few.get("busy") or many.get("busy") else f", {seconds:.1f} times the time"
            lines += ["", f"1,000 classes cost {passes:.1f} times the passes of {GROWTH[0]}{in_time}."]
    best, runs = report.get("loop", {}).get("best"), report.get("scans", {})
    if best and runs:
        lines += ["", "## The loop", "", *_loop(best, runs)]
    if known := report.get("paper"):
        whole, hours = known["one_setting_passes"], known["one_setting_hours"]
        lines += [
            "",
            "## The paper's protocol, extrapolated",
            "",
            f"{known['measured_passes']:,} passes on {PAPER_CLASSES} classes took "
            f"{known['seconds_per_pass']:.3f} s each;",
            f"one of its six settings on 1,000 classes is {whole:,} passes, {hours:,} hours at that speed.",
        ]
        if scans:
            most = max(run["model_passes"] for run in scans.values())
            lines += [f"A scan takes at most {most:,} passes, {whole / most:,.0f} times fewer."]
    return "\n".join(lines) + "\n"


def _loop(best: dict[str, Any], runs: dict[str, dict[str, Any]]) -> list[str]:
    peak = best["passes_per_second"]
    lines = [
        f"The network as it is, forward and backward in one process, reaches {peak} passes a second at its best",
        f"batch size ({best['batch']}). The model host multiplies normalisations into the convolutions before them and",
        "runs parts of a batch side by side. The rest of a scan's time is the exchange with it, the scanner's own",
        "arithmetic (noise, views, steps; one thread), and start, download and reports.",
        "",
        "| model/seed | in the model | exchange | other | passes a second in the model | in the whole scan |",
        "|---|---|---|---|---|---|",
    ]
    for name, run in runs.items():
        if run.get("busy"):
            continue
        model = run["host_seconds"] / run["scan_seconds"]
        exchange = model * run["exchange_share"] / (1 - run["exchange_share"])
        speeds = [run["model_passes"] / run[of] for of in ("host_seconds", "scan_seconds")]
        told = " | ".join(f"{speed:.1f} ({speed / peak:.0%} of the network's own)" for speed in speeds)
        lines.append(f"| {name} | {model:.0%} | {exchange:.1%} | {1 - model - exchange:.0%} | {told} |")
    return lines


def _table(runs: dict[str, dict[str, Any]], head: str) -> list[str]:
    rows = [
        f"| {head} | true target | verdict | targets | R | wall | in the model | model passes | peak memory |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, run in runs.items():
        mark = " (machine busy)" if run.get("busy") else ""
        targets = ", ".join(map(str, run["target_classes"])) or "-"
        rows.append(
            f"| {name} | {'none' if run['target'] is None else run['target']} | {run['verdict']} | {targets} "
            f"| {run['anomaly']:.2f} | {run['seconds']:.0f} s{mark} | {run['host_seconds']:.0f} s "
            f"| {run['model_passes']:,} | {run['peak_rss_bytes'] / 1e9:.2f} GB |"
        )
    return rows


if __name__ == "__main__":
    main()
