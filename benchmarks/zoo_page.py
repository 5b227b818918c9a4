"""Writes `docs/zoo.md` and its plot from the results of `zoo.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from zoo_summary import Model, clean_p_values, models_of, summary

from smoothscan.verdict.discoveries import FALSE_DISCOVERY_RATE, q_values

PAPER_PASSES = 960_000
"""Model passes of the paper's protocol for ten classes: 10 classes, 6 settings, 400 steps, 40 noise vectors."""


def page(results: dict[str, Any]) -> str:
    """Return `docs/zoo.md`; `plot` draws the picture in it."""
    models, additive = models_of(results), models_of(results, "smoothscan-l2")
    p, p_tune = (clean_p_values([m for m in additive if m.split == half]) for half in ("report", "tune"))
    return f"""# Verdicts on the zoo, against baselines

Written by `python benchmarks/zoo.py`; raw figures in `benchmarks/results/zoo.json`. Standard profile, one synthesis
image, {_scans(models)} with 102 CIFAR-10 test images, every scan of a model with another choice of images and another
seed; several scans of one model count as one model. The models d* are given, t* come from
`python benchmarks/train_zoo.py`.

Constants were chosen on the models marked *tune*, to which all d* belong ([detection.md](detection.md)); the half
marked *report* was not looked at before the constants stood, with exceptions that are named there.

## Summary

A strong backdoor sends at least 70 % of the images of all classes to its targets. *Small in L2* are single and few
pixels, blended patterns, patches up to 3x3 and two targets at once; *all-to-one* are all strong ones: larger and
roaming patches, sinusoids, warps, filters, reflections besides. The others are in the table below; each is a miss of
its own kind. A model's score is the mean over its scans; intervals are bootstrapped over models (95 %).

### All spaces of the standard profile, {_scans(models)}

{_summaries(models)}

### The additive space alone (`--spaces l2`), {_scans(additive)}

{_summaries(additive)}

### The quick profile (`--profile quick`)

{_quick(results)}

### Passes

A scan costs {summary(models)["passes"]:,.0f} model passes on average, in the additive space alone
{summary(additive)["passes"]:,.0f}; the paper's protocol takes 960,000 for ten classes,
{PAPER_PASSES / summary(models)["passes"]:.0f} and {PAPER_PASSES / summary(additive)["passes"]:.0f} times as many.

{_discoveries(models)}

## Spaces and attacks

{_spaces(models)}

## Pairs of source and target class

{_pairs(results)}

## Baselines

{_baselines(results)}

## p-values of clean models

![p-values of clean models against uniform ones](p-values.svg)

In the additive space alone:

{_uniformity(p, p_tune)}

With all spaces the p-value of a clean model is mostly near 1: outside L2 its classes hardly move, while the correction
counts every space. Of {len(clean_p_values(models))} scans the smallest is
{min(clean_p_values(models), default=1.0):.2f}.

## Recovered triggers

{_triggers(results, models)}

## Every model

| model | half | network | attack | target | verdicts | exact targets | score | lowest p-value |
|---|---|---|---|---|---|---|---|---|
{chr(10).join(_row(m) for m in sorted(models, key=lambda m: (not m.clean, not m.meant, m.name)))}
{_several(results)}"""


def _scans(models: list[Model]) -> str:
    counts = sorted({len(m.scans) for m in models})
    if counts == [1]:
        return "one scan"
    return f"{counts[0]} scans" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} scans"


def _summaries(models: list[Model]) -> str:
    rows = [
        "| half | positives | backdoored | clean | AUROC | TPR at no false alarm | TPR at 5 % FPR | exact targets "
        "| clean flagged | clean inconclusive |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for half in ("report", "tune"):
        for wide in (False, True):
            s = summary([m for m in models if m.split == half], wide=wide)
            if s["auroc"] is None:
                continue
            rows.append(
                f"| {half} | {'all-to-one' if wide else 'small in L2'} | {s['backdoored']} | {s['clean']} | "
                f"{_interval(s)} | {s['tpr_at_0']:.0%} | {s['tpr_at_5']:.0%} | {s['exact']:.0%} | "
                f"{s['false_alarms']:.1%} of {s['clean_scans']} scans | {s['inconclusive']:.1%} |"
            )
    return "\n".join(rows)


def _spaces(models: list[Model]) -> str:
    """Tell for each attack what the target and the next class reach in each space at its largest budget."""
    scanned = [m for m in models if all("spaces" in scan for scan in m.scans)]
    if not scanned:
        return "Not run."
    names = [each["space"] for each in scanned[0].scans[0]["spaces"]]
    rows = [f"| attack | models | exact | {' | '.join(names)} |", "|---|---|---|" + "---|" * len(names)]
    attacks = [*sorted({m.entry["attack"] for m in scanned if m.targets}), "none"]
    for attack in attacks:
        of = [m for m in scanned if m.entry["attack"] == attack]
        if not of:
            continue
        cells = []
        for i, _ in enumerate(names):
            rates = [(np.array(scan["spaces"][i]["rates"]), m.targets) for m in of for scan in m.scans]
            highest = np.mean([np.delete(rate, list(targets)).max() for rate, targets in rates])
            hit = f"{np.mean([rate[list(targets)].min() for rate, targets in rates]):.2f} / " if of[0].targets else ""
            cells.append(f"{hit}{highest:.2f}")
        exact = f"{np.mean([m.exact for m in of]):.0%}"
        rows.append(f"| {attack} | {len(of)} | {exact} | {' | '.join(cells)} |")
    each = [[scan["spaces"][i] for m in scanned for scan in m.scans] for i, _ in enumerate(names)]
    costs = [
        f"{name}: {np.mean([s['passes'] for s in of]):,.0f} passes, {np.mean([s['seconds'] for s in of]):.0f} s"
        for name, of in zip(names, each, strict=True)
    ]
    return (
        "Transfer of the target (of the weaker one where there are two) / of the next class, at the largest budget at "
        "which all classes were tried; for clean models the highest. Mean over models and scans.\n\n"
        + "\n".join(rows)
        + f"\n\nA search of all classes costs, on one thread: {'; '.join(costs)}."
    )


def _discoveries(models: list[Model]) -> str:
    """State the false discovery rate of the first scans, as a sweep over these models would report it."""
    first = [(m, m.scans[0]) for m in models if m.scans[0]["p_value"] is not None]
    q = q_values([scan["p_value"] for _, scan in first])
    found = [m for (m, _), value in zip(first, q, strict=True) if value <= FALSE_DISCOVERY_RATE]
    wrong = sum(m.clean for m in found)
    return (
        f"As a sweep over the {len(first)} models, one scan each: at a false discovery rate of 5 % (Benjamini and "
        f"Hochberg on the p-values within the models) {len(found)} are discoveries, {wrong} of them clean."
    )


def _baselines(results: dict[str, Any]) -> str:
    methods = list(dict.fromkeys(key.split("/")[0] for key in results["scans"]))
    rows = [
        "| method | models | AUROC | this scanner, additive space alone, same models and images | passes | seconds |",
        "|---|---|---|---|---|---|",
    ]
    ours = {m.name: m for m in models_of(results, "smoothscan-l2")}
    for method in methods:
        if method.startswith("smoothscan"):
            continue
        theirs = [m for m in models_of(results, method) if m.name in ours and (m.clean or m.meant)]
        same = [Model(m.name, m.entry, ours[m.name].scans[:1]) for m in theirs]
        figures, compared = summary(theirs), summary(same)
        if figures["auroc"] is None:
            continue
        rows.append(
            f"| {method} | {figures['clean']} clean, {figures['backdoored']} backdoored | {_interval(figures)} | "
            f"{_interval(compared)}, {compared['passes']:,.0f} passes | {figures['passes']:,.0f} | "
            f"{figures['seconds']:.0f} |"
        )
    if len(rows) == 2:
        return "Not run; see `--baselines`."
    return (
        "One scan of each model, the same images for all methods, one thread each; `benchmarks/baselines/` says what "
        "each is and where its effort is below the published one.\n\n" + "\n".join(rows)
    )


def _interval(s: dict[str, Any]) -> str:
    return f"{s['auroc']:.3f} [{s['interval'][0]:.3f}, {s['interval'][1]:.3f}]"


def _uniformity(report: NDArray[np.float64], tune: NDArray[np.float64]) -> str:
    if not len(report) or not len(tune):
        return "Not enough scans."
    lines = []
    for name, p in (("report", report), ("tune", tune)):
        test = stats.kstest(p, "uniform")
        lines.append(
            f"{name}: {len(p)} scans, smallest {p[0]:.3f}, share below 0.05: {np.mean(p < 0.05):.1%}, below 0.2: "
            f"{np.mean(p < 0.2):.1%}; Kolmogorov distance from uniform {test.statistic:.2f} (p = {test.pvalue:.2g})"
        )
    return "- " + ".\n- ".join(lines) + "."


def _triggers(results: dict[str, Any], models: list[Model]) -> str:
    rows = [
        "| model | attack | space | target | ASR at the smallest budget | ASR at the largest | true ASR | true ASR "
        "elsewhere | cosine at the best shift | IoU there |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    recovered = []
    for m in sorted((m for m in models if m.strong), key=lambda m: m.name):
        found_in = ", ".join(dict.fromkeys(scan["space"] for scan in m.scans))
        elsewhere = results.get("places", {}).get(m.name, [])
        for i, target in enumerate(m.entry["target"] if isinstance(m.entry["target"], list) else [m.entry["target"]]):
            seen = [t for scan in m.scans for t in scan["triggers"] if t["target"] == target]
            if not seen:
                continue
            mean = {key: float(np.mean([t[key] for t in seen])) for key in ("asr", "shifted_cosine", "iou")}
            largest = float(np.mean([_largest(scan, target) for scan in m.scans]))
            true = float(np.atleast_1d(m.entry["asr"])[i])
            if elsewhere:
                ignores_place = elsewhere[i] >= true / 2
                recovered.append(mean["iou"] >= 0.5 or (ignores_place and largest >= 0.9 * true))
            rows.append(
                f"| {m.name} | {m.entry['attack']} | {found_in} | {target} | {mean['asr']:.2f} | {largest:.2f} | "
                f"{true:.2f} | {f'{elsewhere[i]:.2f}' if elsewhere else '-'} | {mean['shifted_cosine']:.2f} | "
                f"{mean['iou']:.2f} |"
            )
    bar = (
        f"Of {len(recovered)} patches {sum(recovered)} ({np.mean(recovered):.0%}) are recovered with an IoU of at "
        "least 0.5 or, where the true one keeps at least half of its ASR in random other places, with at least 90 % of "
        "its ASR at the largest budget.\n\n"
        if recovered
        else ""
    )
    return (
        "In the space that is reported; ASR at the smallest budget at which the class transfers, and at the largest at "
        "which all classes were tried. Cosine and IoU compare mean changes of the held-out images at the smallest "
        "budget, at the best circular shift; the IoU is of the true trigger's pixels and as many of the most changed "
        "ones.\n\n" + bar + "\n".join(rows)
    )


def _largest(scan: dict[str, Any], target: int) -> float:
    """Return what the target reached at the largest budget that all classes were tried at, in the reported space."""
    return next(float(each["rates"][target]) for each in scan["spaces"] if each["space"] == scan["space"])


def _pairs(results: dict[str, Any]) -> str:
    """Tell which pairs of source and target class are flagged, and the most anomalous ones."""
    rows = [
        "| model | attack | verdict | flagged pairs | most anomalous pairs (R) | passes | s |",
        "|---|---|---|---|---|---|---|",
    ]
    for m in sorted(models_of(results, "smoothscan-pairs"), key=lambda m: (m.clean, m.name)):
        scan = m.scans[0]
        flagged = ", ".join(f"{a}\u2192{t}" for a, t in scan["pairs"]["flagged"]) or "none"
        top = ", ".join(f"{a}\u2192{t} {anomaly:.2f}" for a, t, anomaly, *_ in scan["pairs"]["top"][:3])
        note = f" ({m.entry['note']})" if m.entry["mode"] == "source" else ""
        rows.append(
            f"| {m.name} | {m.entry['attack']}{note} | {scan['verdict']} | {flagged} | {top} | {scan['passes']:,} | "
            f"{scan['seconds']:.0f} |"
        )
    if len(rows) == 2:
        return "Not run; see `--method smoothscan-pairs`."
    return (
        "`--pairs --spaces patch`, one scan of 302 images, about thirty of each class; one thread. In an all-to-all "
        "backdoor every class leads to the next one.\n\n" + "\n".join(rows)
    )


def _quick(results: dict[str, Any]) -> str:
    quick = models_of(results, "smoothscan-quick")
    if not quick:
        return "Not run; see `--method smoothscan-quick`."
    costs = summary(quick)
    return (
        _summaries(quick)
        + f"\n\nA scan costs {costs['passes']:,.0f} model passes on average, {costs['seconds']:.0f} s on one thread."
    )


def _row(m: Model) -> str:
    verdicts = [scan["verdict"] for scan in m.scans]
    counted = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
    target = "clean" if m.clean else ", ".join(map(str, sorted(m.targets))) or "all"
    p = [scan["p_value"] for scan in m.scans if scan["p_value"] is not None]
    attack = m.entry["attack"] if not m.clean else m.entry.get("note") or "none"
    scores = [scan["score"] for scan in m.scans]
    return (
        f"| {m.name} | {m.split} | {m.entry['arch']} | {attack} | {target} | {counted} | {m.exact:.0%} | "
        f"{min(scores):.2f} to {max(scores):.2f} | {f'{min(p):.4f}' if p else '-'} |"
    )


def _several(results: dict[str, Any]) -> str:
    counts = sorted({int(key.split("/")[1]) for key in results["scans"] if key.startswith("smoothscan/")} - {1})
    if not counts:
        return ""
    rows = ["| model | attack | images | verdicts | exact targets | score |", "|---|---|---|---|---|---|"]
    for count in counts:
        for m in models_of(results, synthesis=count):
            verdicts = ", ".join(dict.fromkeys(scan["verdict"] for scan in m.scans))
            rows.append(f"| {m.name} | {m.entry['attack']} | {count} | {verdicts} | {m.exact:.0%} | {m.score:.2f} |")
    return "\n## Several synthesis images\n\n" + "\n".join(rows) + "\n"


def plot(results: dict[str, Any]) -> str:
    """Return an SVG that shows p-values, ascending, against the quantiles of a uniform distribution."""
    p = clean_p_values([m for m in models_of(results, "smoothscan-l2") if m.split == "report"])
    side, margin = 320, 44
    expected = (np.arange(len(p)) + 0.5) / max(len(p), 1)
    dots = "".join(
        f'<circle cx="{margin + x * side:.1f}" cy="{margin + (1 - y) * side:.1f}" r="2.5"/>'
        for x, y in zip(expected, p, strict=True)
    )
    ticks = "".join(
        f'<text x="{margin + t * side}" y="{margin + side + 18}" text-anchor="middle">{t:g}</text>'
        f'<text x="{margin - 8}" y="{margin + (1 - t) * side + 4}" text-anchor="end">{t:g}</text>'
        for t in (0, 0.5, 1)
    )
    size = side + 2 * margin
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" viewBox="0 0 {size} {size}"
 font-family="sans-serif" font-size="12">
<title>p-values of clean models against uniform quantiles</title>
<rect width="100%" height="100%" fill="white"/>
<rect x="{margin}" y="{margin}" width="{side}" height="{side}" fill="none" stroke="#999"/>
<path d="M{margin} {margin + side}L{margin + side} {margin}" stroke="#999" stroke-dasharray="4 4"/>
<g fill="#1f5fa8">{dots}</g>
{ticks}
<text x="{size / 2}" y="{size - 8}" text-anchor="middle">expected if uniform</text>
<text x="14" y="{size / 2}" text-anchor="middle" transform="rotate(-90 14 {size / 2})">p-value of a clean model</text>
</svg>
"""
