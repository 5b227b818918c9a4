from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from smoothscan.result import ClassResult, CurvePoint, NoiseProbe
from smoothscan.sinks import charts
from smoothscan.vocabulary import SPACES

from .samples import Sample, warp

IN_L2: Any = {"words": SPACES["l2"], "level": 0.5}


def parsed(markup: Markup | None) -> ElementTree.Element:
    assert markup is not None
    return ElementTree.fromstring(str(markup))


def of_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [e for e in root.iter() if name in (e.get("class") or "").split()]


def share(attribute: str | None) -> float:
    assert attribute is not None
    return float(attribute.removesuffix("%")) / 100


def test_bars_show_rates_and_intervals(backdoored_sample: Sample) -> None:
    classes = backdoored_sample.result.classes
    rows = [row for row in of_class(parsed(charts.transfer_bars(classes)), "bar-row") if of_class(row, "bar")]
    assert len(rows) == len(classes)
    for row, c in zip(rows, classes, strict=True):
        assert share(of_class(row, "bar")[0].get("width")) == pytest.approx(c.transfer_rate, abs=1e-3)
        line = of_class(row, "interval")[0][0]
        assert (share(line.get("x1")), share(line.get("x2"))) == pytest.approx(c.transfer_ci, abs=1e-3)
        assert f"{c.transfer_rate:.0%}" in (of_class(row, "bar-value")[0].text or "").replace("\u00a0", "")
        # Flagged by a word as well as by colour.
        assert bool(of_class(row, "flag")) == c.flagged


def test_curves_show_every_budget_on_a_logarithmic_axis(backdoored_sample: Sample) -> None:
    classes = backdoored_sample.result.classes
    root = parsed(charts.budget_curves(classes, closest=None, **IN_L2))
    lines = of_class(root, "line")
    assert len(lines) == len(classes)
    # Flagged lines are drawn last, so that no other covers them.
    assert [line.get("class") for line in lines] == ["line other"] * 9 + ["line flagged"]
    budgets = [p.epsilon for p in classes[0].curve]
    span = math.log(budgets[-1] / budgets[0])
    points = [tuple(map(float, p.split(","))) for p in (lines[-1].get("points") or "").split()]
    for (x, y), p in zip(points, classes[0].curve, strict=True):
        assert x == pytest.approx(30 + 940 * math.log(p.epsilon / budgets[0]) / span, abs=0.1)
        assert y == pytest.approx(264 * (1 - p.transfer_rate), abs=0.1)
    (line,) = of_class(root, "level")
    assert float(line.get("y1") or 0) == 12 + 264 / 2


def test_curves_of_another_space_have_its_axis_and_its_line() -> None:
    result = warp().result
    root = parsed(charts.budget_curves(result.classes, closest=None, words=SPACES["warp"], level=1 / 3))
    (line,) = of_class(root, "level")
    assert float(line.get("y1") or 0) == pytest.approx(12 + 264 * 2 / 3, abs=0.01)
    assert [e.text for e in of_class(root, "axis-title")] == ["mean displacement in pixels (logarithmic)"]
    assert "at a mean displacement of 0.35 pixels" in ElementTree.tostring(root, "unicode")


def test_labels_do_not_collide(backdoored_sample: Sample, many_classes_sample: Sample) -> None:
    for sample in (backdoored_sample, many_classes_sample):
        ranked = sorted(sample.result.classes, key=lambda c: -c.score)[: charts.MAX_CLASSES]
        (labels,) = of_class(parsed(charts.budget_curves(ranked, closest=None, **IN_L2)), "plot-labels")
        heights = sorted(float(text.get("y") or 0) for text in labels.iter("text"))
        assert len(heights) >= 4
        assert min(b - a for a, b in pairwise(heights)) >= 14.9


def test_several_flagged_lines_differ_by_shape(backdoored_sample: Sample) -> None:
    classes = [c.model_copy(update={"flagged": c.index < 3}) for c in backdoored_sample.result.classes]
    root = parsed(charts.budget_curves(classes, closest=None, **IN_L2))
    markers = [m for m in of_class(root, "marker") if "flagged" in (m.get("class") or "")]
    shapes = {ElementTree.tostring(m[0]) for m in markers}
    assert len(shapes) == 3


def test_curves_at_the_noise_level_of_the_result() -> None:
    def point(sigma: float, epsilon: float, rate: float) -> CurvePoint:
        return CurvePoint(sigma=sigma, epsilon=epsilon, hits=round(10 * rate), n_images=10, transfer_rate=rate)

    curve = (point(0.25, 5, 0.9), point(0.12, 10, 0.4), point(0.12, 5, 0.1), point(0.25, 10, 1.0))
    c = ClassResult(
        index=0, label="a", score=0.5, transfer_rate=0.4, transfer_ci=(0.1, 0.7), n_images=10, epsilon=10, sigma=0.12,
        p_value=None, flagged=False, curve=curve,
    )  # fmt: skip
    (line,) = of_class(parsed(charts.budget_curves([c], closest=0, **IN_L2)), "line")
    assert line.get("points") == f"30.0,{264 * 0.9:.1f} 970.0,{264 * 0.6:.1f}"


def test_no_chart_without_at_least_two_points(backdoored_sample: Sample) -> None:
    one = backdoored_sample.result.classes[0]
    assert charts.budget_curves([], closest=None, **IN_L2) is None
    assert charts.budget_curves([one.model_copy(update={"curve": one.curve[:1]})], closest=None, **IN_L2) is None
    assert charts.noise_lines(NoiseProbe(), []) is None


def test_noise_lines(backdoored_sample: Sample) -> None:
    probe = backdoored_sample.result.noise_probe
    assert probe is not None
    root = parsed(charts.noise_lines(probe, ["<b>"] * len(probe.sigmas)))
    moved, kept = of_class(root, "line")
    assert [float(p.split(",")[1]) for p in (kept.get("points") or "").split()] == pytest.approx(
        [264 * (1 - k) for k in probe.kept], abs=0.1
    )
    assert [float(p.split(",")[1]) for p in (moved.get("points") or "").split()] == pytest.approx(
        [264 * (1 - t) for t in probe.top_share], abs=0.1
    )


def test_hostile_labels_are_escaped(backdoored_sample: Sample) -> None:
    hostile = [c.model_copy(update={"label": '"><script>\x1b[2J'}) for c in backdoored_sample.result.classes]
    for markup in (charts.transfer_bars(hostile), charts.budget_curves(hostile, closest=None, **IN_L2)):
        assert "<script" not in str(markup)
        assert not re.search(r"[\x00-\x1f]", str(markup))
        parsed(markup)


@given(st.lists(st.floats(-50, 350), max_size=15))
def test_spread(wanted: list[float]) -> None:
    placed = charts.spread(sorted(wanted), gap=15, low=12, high=276)
    assert len(placed) == len(wanted)
    assert all(b - a >= 15 - 1e-9 for a, b in pairwise(placed))
    assert all(12 - 1e-9 <= y <= 276 + 1e-9 for y in placed)


def test_spread_leaves_what_has_room() -> None:
    assert charts.spread([20, 100, 200], gap=15, low=12, high=276) == [20, 100, 200]
