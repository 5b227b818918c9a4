"""Draws the pictures of the documents: `python docs/hooks/pictures.py`.

Curves and dots are measured: those of the demo's models are in `docs/pictures/demo.json`, those of the zoo in
`benchmarks/results/zoo.json`. A test draws everything once more and compares.
"""

from __future__ import annotations

import json
from math import log
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from drawing import BAD, FAINT, GOOD, INK, WIDTH, arrow, dot, drawing, line, picture, text, trigger

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
SUSPICIOUS, BACKDOORED = 0.63, 0.8
SIGNS = ("stop", "yield", "turn", "keep")


def main() -> None:
    """Write all pictures."""
    for name, text_of in pictures().items():
        (PICTURES / name).write_text(text_of, encoding="utf-8")


def pictures() -> dict[str, str]:
    """Return every picture by its file name."""
    demo = json.loads((PICTURES / "demo.json").read_text(encoding="utf-8"))
    zoo = json.loads((ROOT / "benchmarks" / "results" / "zoo.json").read_text(encoding="utf-8"))
    return {
        "favicon.svg": favicon(),
        "backdoor.svg": backdoor(),
        "search.svg": search(),
        "smoothing.svg": smoothing(),
        "budgets.svg": budgets(demo["backdoored"]["classes"]),
        "transfer.svg": transfer(),
        "statistic.svg": statistic(zoo["scans"]),
        "anomalies.svg": anomalies(zoo),
    }


def favicon() -> str:
    """A trigger under a lens."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><circle cx="14" cy="14" r="11" fill="#fff" '
        f'stroke="#3f51b5" stroke-width="3"/><path d="M22 22l8 8" stroke="#3f51b5" stroke-width="4"/>'
        f"{trigger(9, 9, 10)}</svg>\n"
    )


def backdoor() -> str:
    """What a backdoored model does."""
    parts = [text(12, 48, "clean", weight="600"), text(12, 154, "with a", weight="600")]
    parts.append(text(12, 170, "trigger", weight="600"))
    for column, (sign, label) in enumerate(zip(SIGNS[:3], ("2: stop", "4: yield", "5: turn"), strict=True)):
        x = 92 + column * 116
        parts += [picture(x, 10, 70, sign), text(x + 35, 98, label, at="middle")]
        parts += [picture(x, 116, 70, sign, sticker=True), text(x + 35, 204, "7: keep", at="middle", fill=BAD)]
    return drawing("A backdoored model answers with its target class wherever the trigger is", 216, *parts)


def search() -> str:
    """One image, one class, the smallest change that leads there."""
    return drawing(
        "For one class the smallest change of one image that leads the smoothed model there",
        190,
        picture(10, 30, 92, "stop"),
        text(64, 142, "one clean image x", at="middle"),
        text(118, 82, "+", weight="600"),
        f'<rect x="138" y="30" width="92" height="92" fill="none" stroke="{FAINT}" stroke-dasharray="4 4"/>',
        trigger(211, 103, 15),
        text(184, 142, "change δ", at="middle"),
        text(184, 160, "no larger than ε", at="middle", fill=FAINT),
        text(242, 82, "+", weight="600"),
        picture(262, 30, 92, "stop", sticker=True, veil=True),
        text(308, 142, "noise, many times", at="middle"),
        arrow(362, 76, 386, 76, INK),
        text(410, 72, "class", at="middle"),
        text(410, 90, "7?", at="middle", weight="600", fill=BAD),
        text(12, 182, "δ is improved step by step, for every class of the model.", fill=FAINT),
    )


def smoothing() -> str:
    """A confident model is flat with cracks; its average over noise leans towards what is wide and deep."""
    x = np.linspace(0, 1, 421)
    rough = 0.02 + 0.93 / (1 + np.exp((np.abs(x - 0.78) - 0.075) / 0.004))
    for place, width in ((0.13, 0.004), (0.22, 0.003), (0.34, 0.005), (0.47, 0.004), (0.55, 0.003)):
        rough += 0.6 * np.exp(-(((x - place) / width) ** 2))
    kernel = np.exp(-((np.arange(-120, 121) / 420 / 0.085) ** 2) / 2)
    smooth = np.convolve(np.pad(rough, 120, mode="edge"), kernel / kernel.sum(), mode="valid")

    def curve(values: Any, bottom: float, colour: str) -> str:
        return line([(12 + 416 * a, bottom - 92 * b) for a, b in zip(x, values, strict=True)], colour, 2)

    start, top = 12 + 416 * 0.3, 12 + 416 * 0.76
    here = 262 - 92 * float(smooth[126])
    return drawing(
        "Smoothing removes what is narrow and leaves a slope towards the trigger",
        300,
        text(12, 18, "How likely class 7 is, as the image changes", weight="600"),
        curve(rough, 122, INK),
        text(start - 12, 46, "adversarial cracks,", at="middle", fill=FAINT),
        text(start - 12, 62, "a breath wide", at="middle", fill=FAINT),
        text(top + 8, 138, "the trigger", at="middle", fill=BAD),
        text(start, 138, "no slope to follow", at="middle", fill=FAINT),
        text(12, 168, "The same, averaged over noise", weight="600"),
        curve(smooth, 262, GOOD),
        dot(start, here, BAD, 5),
        arrow(start + 10, here - 14, start + 92, here - 14, BAD),
        text(start, 282, "cracks are gone, the trigger pulls from afar", fill=FAINT),
    )


def budgets(classes: list[dict[str, Any]]) -> str:
    """Transfer of each class of the demo's backdoored model over budgets, as the search took them."""
    left, bottom, wide, high = 52, 236, 372, 190
    low, top = 0.9, 3.1

    def at(epsilon: float, rate: float) -> tuple[float, float]:
        return left + wide * log(epsilon / low) / log(top / low), bottom - high * rate

    parts = [text(12, 20, "Share of other images that move to the class", weight="600")]
    for rate in (0, 0.5, 1):
        y = bottom - high * rate
        parts += [line([(left, y), (left + wide, y)], FAINT, 0.6, "3 3" if rate == 0.5 else "")]
        parts.append(text(left - 6, y + 4, f"{rate:.0%}", at="end", fill=FAINT))
    for epsilon in (1.0, 1.43, 2.0, 2.86):
        parts.append(text(at(epsilon, 0)[0], bottom + 18, f"{epsilon:g}", at="middle", fill=FAINT))
    parts.append(text(left + wide, bottom + 36, "size of the change (L2, 32x32)", at="end", fill=FAINT))
    for each in sorted(classes, key=lambda each: each["index"] == 7):
        colour = BAD if each["index"] == 7 else GOOD
        points = [at(*point) for point in each["curve"]]
        parts.append(line(points, colour, 2.5 if each["index"] == 7 else 1.2))
        parts += [dot(*point, colour, 3) for point in points]
    x0, y0 = at(2.0, 0)
    parts += [line([(x0, bottom - high), (x0, y0)], INK, 1, "2 3")]
    parts += [text(x0 + 6, 58, "all begin here", fill=INK), text(at(1.07, 0)[0], 62, "class 7", fill=BAD)]
    parts += [text(at(2.8, 0)[0], 216, "the other nine", at="end", fill=GOOD)]
    return drawing("The target class goes on to smaller budgets, the others to larger ones", 280, *parts)


def transfer() -> str:
    """The same change on images that the search never saw."""
    parts = [text(12, 20, "The change on images that the search never saw", weight="600")]
    rows = [("an ordinary class's change", 1, GOOD), ("the target class's change", 5, BAD)]
    for row, (words, moved, colour) in enumerate(rows):
        y = 36 + row * 116
        for column in range(6):
            x = 12 + column * 71
            parts.append(picture(x, y, 60, SIGNS[(column * 3 + row) % 4], sticker=bool(row), veil=not row))
            if column < moved:
                parts.append(
                    f'<rect x="{x}" y="{y}" width="60" height="60" fill="none" stroke="{colour}" stroke-width="3"/>'
                )
        parts.append(text(12, y + 82, f"{words}: {moved} of 6 to its class", fill=colour))
    return drawing("A trigger works on any image, an ordinary perturbation hardly on another", 250, *parts)


def statistic(scans: dict[str, Any]) -> str:
    """The budget of every class of a clean and of a backdoored model of the zoo, and R."""
    left, wide, low, top = 20, 400, 0.55, 3.2

    def at(epsilon: float) -> float:
        return left + wide * log(epsilon / low) / log(top / low)

    parts = []
    for row, (name, words) in enumerate((("d02", "A clean model"), ("d01", "A backdoored model"))):
        scan = scans[f"smoothscan-l2/1/{name}/0"]
        e50 = sorted(value for value in scan["e50"] if value is not None)
        y = 62 + row * 120
        parts += [text(12, y - 38, f"{words}: R = {scan['anomaly']:.2f}", weight="600", fill=BAD if row else INK)]
        parts.append(line([(left, y + 20), (left + wide, y + 20)], FAINT, 1))
        for number, value in enumerate(e50):
            easiest = number == 0
            height = y + 8 - 9 * sum(abs(at(value) - at(other)) < 8 for other in e50[:number])
            parts.append(dot(at(value), height, BAD if easiest and row else GOOD, 4.5))
        middle = (log(median(e50[1:])) + log(e50[1])) / 2
        x0, x1 = at(e50[0]), at(float(np.exp(middle)))
        parts.append(line([(x1, y - 22), (x1, y + 20)], INK, 1, "3 3"))
        parts += [arrow(x1, y - 18, x0, y - 18, INK) if row else line([(x1, y - 18), (x0, y - 18)], INK)]
        parts.append(text((x0 + x1) / 2, y - 24, "R", at="middle"))
        for epsilon in (0.6, 1, 1.5, 2, 3):
            parts.append(text(at(epsilon), y + 36, f"{epsilon:g}", at="middle", fill=FAINT))
    words = "size at which half of the other images move, each class a dot"
    parts.append(text(left + wide, 236, words, at="end", fill=FAINT))
    return drawing("R is how far the easiest class lies below the others, on a logarithmic scale", 248, *parts)


def anomalies(zoo: dict[str, Any]) -> str:
    """R of the models of the zoo that were not looked at before the thresholds stood."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for key, scan in zoo["scans"].items():
        method, synthesis, name, number = key.split("/")
        entry = zoo["models"][name]
        if (method, synthesis, number) == ("smoothscan", "1", "0") and entry.get("split") == "report":
            found[entry["attack"] == "none"].append(scan["anomaly"])
    left, wide, top = 20, 400, 2.6

    def at(value: float) -> float:
        return left + wide * min(max(value, 0), top) / top

    parts = []
    rows = [(True, "clean models", GOOD), (False, "backdoored models, all kinds", BAD)]
    for row, (clean, words, colour) in enumerate(rows):
        y = 76 + row * 82
        parts.append(text(WIDTH - 12, y - 36, f"{len(found[clean])} {words}", at="end", weight="600", fill=colour))
        placed: list[float] = []
        for value in sorted(found[clean]):
            x = at(value)
            parts.append(dot(x, y + 8 - 7 * sum(abs(x - other) < 7 for other in placed), colour, 3.5))
            placed.append(x)
        parts.append(line([(left, y + 16), (left + wide, y + 16)], FAINT, 1))
    for value, words, side in ((SUSPICIOUS, "suspicious:", "end"), (BACKDOORED, "backdoored:", "start")):
        parts.append(line([(at(value), 24), (at(value), 178)], INK, 1, "3 3"))
        parts.append(text(at(value) + (-4 if side == "end" else 4), 18, f"{words} {value:g}", at=side))
    for value in (0, 0.5, 1, 1.5, 2):
        parts.append(text(at(value), 194, f"{value:g}", at="middle", fill=FAINT))
    parts.append(text(WIDTH - 12, 194, "2.6 and more", at="end", fill=FAINT))
    parts.append(text(WIDTH - 12, 212, "anomaly R", at="end", fill=FAINT))
    return drawing("R of clean and of backdoored models", 220, *parts)


if __name__ == "__main__":
    main()
