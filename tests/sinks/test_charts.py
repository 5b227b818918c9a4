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
from smoothscan.sinks.ranking import ranked
from smoothscan.sinks.report import charts
from smoothscan.sinks.report.bars import bar, strip
from smoothscan.sinks.report.null_band import curve, null_band
from smoothscan.vocabulary import SPACES

from .samples import Sample, warp

IN_L2: Any = {"words": SPACES["l2"], "level": 0.5, "band": None}


def parsed(markup: Markup | None) -> ElementTree.Element:
    assert markup is not None
    return ElementTree.fromstring(str(markup))


def of_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [e for e in root.iter() if name in (e.get("class") or "").split()]


def share(attribute: str | None) -> float:
    assert attribute is not None
    return float(attribute.removesuffix("%")) / 100


def test_a_bar_shows_its_rate_and_interval(backdoored_sample: Sample) -> None:
    for c in backdoored_sample.result.classes:
        root = parsed(bar(c.transfer_rate, c.transfer_ci))
        assert share(of_class(root, "fill")[0].get("width")) == pytest.approx(c.transfer_rate, abs=1e-3)
        line = of_class(root, "whisker")[0][0]
        assert (share(line.get("x1")), share(line.get("x2"))) == pytest.approx(c.transfer_ci, abs=1e-3)
    assert of_class(parsed(bar(0.5, None)), "whisker") == []


def test_the_strip_has_a_column_for_each_of_a_thousand_classes(many_classes_sample: Sample) -> None:
    classes = ranked(many_classes_sample.result.classes)
    root = parsed(strip(classes))
    (ordinary,), (flagged,) = (of_class(root, kind) for kind in ("ordinary", "flagged"))
    columns = re.findall(r"M(\d+) 100V([\d.]+)h1V100z", ordinary.get("d") or "")
    assert [int(i) for i, _ in columns] == [i for i, c in enumerate(classes) if not c.flagged]
    for (_, top), c in zip(columns, classes[1:], strict=True):
        assert float(top) == pytest.approx(100 * (1 - c.transfer_rate), abs=0.05)
    assert re.fullmatch(r"M0 100V[\d.]+h[\d.]+V100z", flagged.get("d") or "")


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


def of_curve(index: int, *points: tuple[float, int]) -> ClassResult:
    """A class with hits out of ten at some budgets."""
    curve = tuple(CurvePoint(sigma=0.1, epsilon=e, hits=h, n_images=10, transfer_rate=h / 10) for e, h in points)
    return ClassResult(
        index=index, label=str(index), score=0.1, transfer_rate=0.1, transfer_ci=(0, 1), n_images=10, epsilon=4,
        sigma=0.1, p_value=None, flagged=False, curve=curve,
    )  # fmt: skip


def test_the_band_is_never_below_what_was_measured() -> None:
    ordinary = [of_curve(0, (2, 1), (4, 6), (8, 9)), of_curve(1, (4, 2)), of_curve(2, (4, 3)), of_curve(3, (4, 4))]
    suspect = of_curve(4, (1, 9), (2, 10))
    band = null_band(ordinary, [suspect])
    assert band is not None
    # Classes that were not tried at a smaller budget count with the next larger one; at the largest one that most were
    # tried with, the band ends.
    assert [level.epsilon for level in band.levels] == [1, 2, 4]
    first, second, third = band.levels
    assert (first.lowest, first.median, first.highest, first.tried) == pytest.approx((0.1, 0.25, 0.4, 0))
    assert (second.lowest, second.highest, second.tried) == pytest.approx((0.1, 0.4, 1))
    assert (third.lowest, third.lower, third.median, third.upper, third.highest, third.tried) == pytest.approx(
        (0.2, 0.275, 0.35, 0.45, 0.6, 4)
    )
    assert band.at(8) is None
    for c in ordinary:
        for p in curve(c):
            at = band.at(p.epsilon)
            assert at is None or at.lowest <= p.transfer_rate <= at.highest


def test_too_few_classes_make_no_band() -> None:
    assert null_band([of_curve(0, (2, 1)), of_curve(1, (2, 1)), of_curve(2)]) is None


def test_the_band_is_drawn_behind_the_lines(many_classes_sample: Sample) -> None:
    classes = ranked(many_classes_sample.result.classes)
    band = null_band(classes[1:], classes[:1])
    assert band is not None
    root = parsed(charts.budget_curves(classes, closest=None, words=SPACES["l2"], level=0.5, band=band))
    (stretched,) = [e for e in root.iter() if e.get("preserveAspectRatio") == "none"]
    assert [e.get("class") for e in stretched] == [
        "null-range", "null-half", "null-median", *["line other"] * charts.LEADING, "line flagged",
    ]  # fmt: skip
    points = [tuple(map(float, p.split(","))) for p in (stretched[0].get("points") or "").split()]
    highest, lowest = points[: len(band.levels)], points[len(band.levels) :][::-1]
    for (_, top), (_, bottom), level in zip(highest, lowest, band.levels, strict=True):
        assert (top, bottom) == pytest.approx((264 * (1 - level.highest), 264 * (1 - level.lowest)), abs=0.06)


def test_curves_of_another_space_have_its_axis_and_its_line() -> None:
    result = warp().result
    root = parsed(charts.budget_curves(result.classes, closest=None, words=SPACES["warp"], level=1 / 3, band=None))
    (line,) = of_class(root, "level")
    assert float(line.get("y1") or 0) == pytest.approx(12 + 264 * 2 / 3, abs=0.01)
    assert [e.text for e in of_class(root, "axis-title")] == ["mean displacement in pixels (logarithmic)"]
    assert "at a mean displacement of 0.35 pixels" in ElementTree.tostring(root, "unicode")


def test_labels_do_not_collide(backdoored_sample: Sample, many_classes_sample: Sample) -> None:
    for sample in (backdoored_sample, many_classes_sample):
        (labels,) = of_class(
            parsed(charts.budget_curves(ranked(sample.result.classes), closest=None, **IN_L2)), "plot-labels"
        )
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
    for markup in (strip(hostile), charts.budget_curves(hostile, closest=None, **IN_L2)):
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
