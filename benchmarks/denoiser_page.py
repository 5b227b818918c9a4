"""The page and the picture of `benchmarks/denoiser.py`."""

from __future__ import annotations

import base64
import io
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zoo_summary import Model, auroc, auroc_interval, models_of

from smoothscan.config import PROFILES

METHODS = {"plain": "smoothscan-l2", "mixed": "smoothscan-l2-mixed", "always": "smoothscan-l2-always"}
HARD = ("single-pixel", "two-pixels", "blend", "noise-adaptive", "weak", "gaussian-noise", "clean-label")
"""Parts of the names of attacks that the denoiser was hoped to help with."""
BUDGETS = PROFILES["standard"].epsilons
PICTURED = 6
SCALE, GAP, HEAD, MARGIN = 3, 6, 16, 70


def page(results: dict[str, Any]) -> str:
    """Return docs/denoising.md."""
    trained, machine = results["denoiser"], results["machine"]
    by_method = {how: {m.name: m for m in models_of(results, method)} for how, method in METHODS.items()}
    common = [name for name in by_method["plain"] if all(name in models for models in by_method.values())]
    return f"""# What a denoiser does for the search

Written by `python benchmarks/denoiser.py`; raw figures in `benchmarks/results/denoiser.json`. The denoiser was trained
by `smoothscan denoiser train` on {trained["images"]["training"]:,} CIFAR-10 training images
({trained["settings"]["steps"]:,} steps, {trained["parameters"]:,} weights) in {trained["seconds"] / 60:.0f} minutes on
{trained["threads"]} threads of {machine["processor"]}. Scans: one for each model, image choice 500, seed 0, one thread.
*Plain*: no denoiser. *Mixed*: every other step sees denoised images, and takes its gradient there. *Always*: all steps
go through the denoiser, and their gradients do.

## Accuracy of the smoothed classifiers

{_accuracy(results["accuracy"])}

## Searches in the additive space

{_summaries(by_method, common)}

{_models(by_method, common)}

R is the anomaly (flagged from 0.63); cosine compares what was recovered for the true target, at the smallest budget at
which it moves half of the images, with the mean change that the true trigger makes, at the best circular shift.

{_cosines(by_method, common)}

![Mean changes by the planted trigger and by recovered ones: plain, mixed, always](denoised-triggers.png)

## `--denoising auto`

{_auto(results)}
"""


def _accuracy(found: dict[str, Any]) -> str:
    lines = ["| model | clean | sigma | plain | denoised | gain in points |", "|---|---|---|---|---|---|"]
    for name, levels in found.items():
        for sigma, share in levels.items():
            if sigma != "clean":
                gain = 100 * (share["denoised"] - share["plain"])
                lines.append(
                    f"| {name} | {levels['clean']:.1%} | {sigma} | {share['plain']:.1%} | {share['denoised']:.1%} "
                    f"| {gain:+.1f} |"
                )
    return "\n".join(lines)


def _summaries(by_method: dict[str, dict[str, Model]], common: list[str]) -> str:
    lines = [
        "| search | models | AUROC, all | AUROC, small in L2 | strong with exact targets | clean flagged | "
        "passes | denoiser passes | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for how, models in by_method.items():
        mine = [models[name] for name in common]
        clean = [m.score for m in mine if m.clean]
        strong, small = ([m for m in mine if getattr(m, kind)] for kind in ("strong", "meant"))
        exact = sum(set(m.scans[0]["targets"]) == m.targets for m in strong)
        mean = {key: np.mean([m.scans[0][key] for m in mine]) for key in ("passes", "seconds")}
        through = np.mean([m.scans[0]["denoised"]["passes"] for m in mine])
        lines.append(
            f"| {how} | {len(mine)} | {_area([m.score for m in mine if not m.clean], clean)} "
            f"| {_area([m.score for m in small], clean)} | {exact} of {len(strong)} "
            f"| {sum(m.scans[0]['verdict'] in ('suspicious', 'backdoored') for m in mine if m.clean)} of {len(clean)} "
            f"| {mean['passes']:,.0f} | {through:,.0f} | {mean['seconds']:.0f} |"
        )
    return "\n".join(lines)


def _area(positive: list[float], negative: list[float]) -> str:
    low, high = auroc_interval(positive, negative)
    return f"{auroc(positive, negative):.3f} [{low:.3f}, {high:.3f}]"


def _models(by_method: dict[str, dict[str, Model]], common: list[str]) -> str:
    head = " | ".join(f"R, {how} | targets | cosine" for how in by_method)
    lines = [f"| model | attack | true | {head} |", "|---|---|---|" + "---|---|---|" * len(by_method)]
    hard = {name for name in common if any(kind in _entry(by_method, name)["attack"] for kind in HARD)}
    for name in sorted(common, key=lambda n: (by_method["plain"][n].clean, n not in hard, n)):
        entry = _entry(by_method, name)
        cells = []
        for models in by_method.values():
            scan = models[name].scans[0]
            similar = [t["shifted_cosine"] for t in scan["triggers"]]
            shown = ", ".join(f"{cosine:.2f}" for cosine in similar) or "-"
            cells.append(f"{scan['anomaly'] or 0:.2f} | {_listed(scan['targets'])} | {shown}")
        true = _listed(sorted(by_method["plain"][name].targets))
        lines.append(f"| {name} | {entry['attack']} | {true} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _entry(by_method: dict[str, dict[str, Model]], name: str) -> dict[str, Any]:
    return by_method["plain"][name].entry


def _listed(classes: list[int]) -> str:
    return ", ".join(map(str, classes)) or "-"


def _cosines(by_method: dict[str, dict[str, Model]], common: list[str]) -> str:
    patches = [name for name in common if _is_small(_entry(by_method, name)["attack"])]
    lines = []
    for how in ("mixed", "always"):
        pairs = [
            (plain["shifted_cosine"], other["shifted_cosine"])
            for name in patches
            for plain, other in zip(
                by_method["plain"][name].scans[0]["triggers"], by_method[how][name].scans[0]["triggers"], strict=True
            )
        ]
        closer = sum(other > plain for plain, other in pairs)
        means = np.mean(pairs, axis=0) if pairs else (0.0, 0.0)
        lines.append(
            f"Patches and pixels: {how} is closer to the true trigger than plain for {closer} of {len(pairs)} triggers "
            f"(mean cosine {means[1]:.2f} against {means[0]:.2f})."
        )
    lines += ["", *_at_every_budget(by_method, patches)]
    return "\n".join(lines)


def _at_every_budget(by_method: dict[str, dict[str, Model]], patches: list[str]) -> list[str]:
    """Compare triggers at budgets that both searches tried, for searches that transfer at different budgets."""
    lines = [
        "At budgets that both searches tried the target at, first target of each model:",
        "",
        "| model | attack | L2 budgets at 3x224x224 | cosine, plain | cosine, mixed |",
        "|---|---|---|---|---|",
    ]
    closer, count = 0, 0
    for name in patches:
        plain, mixed = (by_method[how][name].scans[0].get("cosines") for how in ("plain", "mixed"))
        common = sorted(set(plain or ()) & set(mixed or ()), key=int)
        if not common:
            continue
        assert plain
        assert mixed
        count, closer = count + 1, closer + (mean(mixed, common) > mean(plain, common))
        cells = [", ".join(f"{found[level]:.2f}" for level in common) for found in (plain, mixed)]
        budgets = ", ".join(f"{BUDGETS[int(level)]:g}" for level in common)
        lines.append(f"| {name} | {_entry(by_method, name)['attack']} | {budgets} | {cells[0]} | {cells[1]} |")
    return [
        *lines,
        "",
        f"On average over these budgets mixed is closer to the true trigger for {closer} of {count} models.",
    ]


def mean(found: dict[str, float], levels: list[str]) -> float:
    """Return the mean of some of the values."""
    return float(np.mean([found[level] for level in levels]))


def _is_small(attack: str) -> bool:
    return any(kind in attack for kind in ("badnets", "pixel", "two-targets"))


def _auto(results: dict[str, Any]) -> str:
    models = models_of(results, "smoothscan-auto")
    if not models:
        return "Not measured."
    lines = [
        "All spaces of the standard profile. The search without the denoiser is the first part of the same scan.",
        "",
        "| model | attack | true | verdict | targets | R | R without | searched again | seconds | of these denoised |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    total = again = 0.0
    for m in models:
        scan = m.scans[0]
        total, again = total + scan["seconds"], again + scan["denoised"]["seconds"]
        lines.append(
            f"| {m.name} | {m.entry['attack']} | {_listed(sorted(m.targets))} | {scan['verdict']} "
            f"| {_listed(scan['targets'])} | {scan['anomaly'] or 0:.2f} | {scan['without']:.2f} "
            f"| {', '.join(scan['denoised']['spaces']) or '-'} | {scan['seconds']:.0f} "
            f"| {scan['denoised']['seconds']:.0f} |"
        )
    lines += [
        "",
        f"Over these {len(models)} models `auto` takes {total / (total - again):.2f} times as long as the plain scan.",
    ]
    return "\n".join(lines)


def packed(change: Any) -> str:
    """Return a change of an image, [3, 32, 32] in [-1, 1], in 255ths, as text for JSON."""
    values = np.asarray(change * 255).round().astype("<i2")
    return base64.b64encode(zlib.compress(values.tobytes())).decode()


def unpacked(text: str) -> NDArray[np.float64]:
    """Return what `packed` was given, in 255ths, [3, 32, 32]."""
    values = np.frombuffer(zlib.decompress(base64.b64decode(text)), "<i2")
    return values.reshape(3, 32, 32).astype(np.float64)


def picture(results: dict[str, Any]) -> bytes:
    """Return a PNG of true triggers and recovered ones, a row each for the first models that have them."""
    from PIL import Image, ImageDraw, ImageFont

    rows = []
    for name, entry in results["models"].items():
        scans = [results["scans"].get(f"{method}/1/{name}/0") for method in METHODS.values()]
        if entry["attack"] != "none" and all(scan and scan.get("pictures") for scan in scans):
            first = scans[0]["pictures"]["true"]
            rows.append((name, entry["attack"], [first, *(scan["pictures"]["recovered"] for scan in scans)]))
    rows = rows[:: max(len(rows) // PICTURED, 1)][:PICTURED]
    side = 32 * SCALE + GAP
    sheet = Image.new("RGB", (MARGIN + 4 * side, HEAD + max(len(rows), 1) * side), "white")
    drawn, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for column, caption in enumerate(("planted", *METHODS)):
        drawn.text((MARGIN + column * side, 2), caption, "black", font)
    for row, (name, attack, changes) in enumerate(rows):
        drawn.text((2, HEAD + row * side + 30), f"{name}\n{attack[:11]}", "black", font)
        for column, change in enumerate(changes):
            values = unpacked(change)
            values = np.clip(127.5 + 127.5 * values / max(np.abs(values).max(), 1), 0, 255).astype(np.uint8)
            tile = Image.fromarray(values.transpose(1, 2, 0)).resize((32 * SCALE,) * 2, Image.Resampling.NEAREST)
            sheet.paste(tile, (MARGIN + column * side, HEAD + row * side))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
