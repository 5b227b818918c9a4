"""Parts of the report by themselves: where a trigger sits, how sure the scan is, the matrix of many pairs."""

from __future__ import annotations

import numpy as np
import pytest

from smoothscan.exhibits import Exhibits
from smoothscan.result import DenoiserInfo, PairsResult
from smoothscan.sinks.ranking import ranked
from smoothscan.sinks.report import where
from smoothscan.sinks.report.certainty import not_examined, sureness
from smoothscan.sinks.report.evidence import apart, class_card
from smoothscan.sinks.report.null_band import null_band
from smoothscan.sinks.report.pairs import MAX_MATRIX, pairs_view

from .pages import page_of
from .samples import SAMPLES, many_classes, photograph


def test_a_confined_trigger_is_boxed() -> None:
    delta = np.zeros((3, 32, 32), np.float32)
    delta[:, 24:30, 3:7] = 0.5
    at = where.place(delta)
    assert at == where.Place(top=24, left=3, height=6, width=4, energy=1.0, area=24 / 1024)
    assert at.confined
    assert at.words() == (
        "100\u00a0% of its energy lies in rows 24 to 29 and columns 3 to 6, 2\u00a0% of the image (outlined)."
    )


def test_a_faint_remainder_does_not_widen_the_box() -> None:
    delta = np.random.default_rng(0).normal(0, 0.01, (3, 32, 32)).astype(np.float32)
    delta[:, 10:14, 20:24] = 0.9
    at = where.place(delta)
    assert at is not None
    assert (at.top, at.left, at.height, at.width) == (10, 20, 4, 4)
    assert 0.8 < at.energy < 1


def test_a_trigger_all_over_the_image_is_not_boxed() -> None:
    at = where.place(np.random.default_rng(0).normal(0, 0.1, (3, 32, 32)).astype(np.float32))
    assert at is not None
    assert not at.confined
    assert at.words() == "It is spread over the image."
    assert where.place(np.zeros((1, 8, 8), np.float32)) is None


def test_the_map_is_hot_where_the_change_is_and_grey_elsewhere() -> None:
    image, delta = photograph(3), np.zeros((3, 32, 32), np.float32)
    delta[0, 5, 6] = -0.4
    mapped = where.energy_map(image, delta)
    assert (mapped.min() >= 0, mapped.max() <= 1) == (True, True)
    assert mapped[0, 5, 6] - mapped[2, 5, 6] > 0.5
    mapped[:, 5, 6] = 0
    np.testing.assert_allclose(mapped[0], mapped[2], atol=1e-6)


def test_what_the_verdict_rests_on() -> None:
    said = dict(sureness(result := SAMPLES["backdoored"]().result, result.classes[0]))
    assert said["Images."] == "Transfer was counted on 100 held-out images, none of which made a trigger."
    assert "with probability 0.00042, going by the model's own classes" in said["Chance."]
    assert said["Calibration."].startswith("None was used")
    assert said["Control."] == (
        "At L2 norm 1.00, a shuffled copy of it moves 0\u00a0% of the same images, the perturbation itself 96\u00a0% "
        "of them."
    )
    few = result.model_copy(update={"coverage": result.coverage.model_copy(update={"held_out": 12})})
    assert dict(sureness(few, result.classes[0]))["Images."].endswith("With so few, every interval is wide.")
    used = SAMPLES["calibrated"]().result
    assert (
        "p\u00a0=\u00a00.048, where so many models allow 0.048 at best"
        in dict(sureness(used, used.classes[0]))["Calibration."]
    )
    undecided = SAMPLES["undecided"]().result
    said = dict(sureness(undecided, undecided.classes[0]))
    assert said["In the way."] == (
        "The model's own classes give nothing to compare a class with: they are too few, or nearly any perturbation "
        "leads to most of them."
    )
    assert said["Chance."].startswith("There is no p-value")


def test_a_control_is_compared_with_the_trigger_at_its_own_size() -> None:
    sample = SAMPLES["patch"]()
    best = sample.result.classes[4]
    curve = tuple(p for p in best.curve if p.epsilon <= best.epsilon)
    small = best.model_copy(update={"control_rate": 0.02, "control_epsilon": 9.0, "curve": curve})
    at = next(p for p in curve if p.epsilon == 9)
    assert at.transfer_rate < best.transfer_rate
    classes = tuple(small if c.index == 4 else c for c in sample.result.classes)
    result = sample.result.model_copy(update={"classes": classes})
    found = class_card(small, result, None, None, redact=False).bars
    assert [(b.label, b.rate, b.kind) for b in found] == [
        ("With this patch", best.transfer_rate, "flagged"),
        ("With this patch, as large as its control", at.transfer_rate, "flagged"),
        ("With a patch of random values in the same place", 0.02, "ordinary"),
    ]
    assert found[1].remark == f"{at.hits} of {at.n_images} held-out images, at 9 replaced pixels"
    assert found[2].remark == "the control, on the same images, at 9 replaced pixels"
    assert len(class_card(best, sample.result, None, None, redact=False).bars) == 2  # at one size anyway
    told = dict(sureness(result, small))["Control."].replace("\u00a0", " ")
    assert told == (
        "At 9 replaced pixels, a patch of random values in the same place moves 2 % of the same images, the patch "
        f"itself {100 * at.transfer_rate:.0f} % of them."
    )


def test_of_a_pair_it_rests_on_the_images_of_the_source() -> None:
    result = SAMPLES["pairs"]().result
    said = dict(sureness(result, next(c for c in result.classes if c.flagged)))
    assert said["Interval."].startswith("100\u00a0% of 27 images move to “deer”")
    assert "\u03c3 = 0.03" in said["Smoothing."]
    assert "Control." not in said


def test_what_was_not_examined() -> None:
    result = SAMPLES["patch"]().result
    said = dict(not_examined(result))
    assert said["Kinds of trigger."].startswith("Searched: additive, small in L2; contiguous patch")
    assert said["Pairs of classes."] == "Not searched (--pairs)."
    assert said["Images that were left out."] == "1 image file could not be used."
    assert said["Denoiser."].startswith("None was used")
    coverage = result.coverage.model_copy(update={"classes_in_full": 4, "unfinished": ("warp",), "images_left_out": 7})
    safety = result.safety.model_copy(
        update={"architecture_examined": True, "unexamined": ("a",), "model_code_executed": True}
    )
    update = {"coverage": coverage, "safety": safety, "denoiser": DenoiserInfo(uri="ddpm", digest="sha256:1")}
    said = dict(not_examined(result.model_copy(update=update)))
    assert said["Classes."] == (
        "All 10 were looked at, 4 of them in full and the others in a screening, where they did worse."
    )
    assert said["What the time budget left no time for."] == "Not searched to the end: smooth warp."
    assert "7 images more than are of use" in said["Images that were left out."]
    assert said["Denoiser."] == "ddpm, sha256:1."
    assert "No scanner understood 1 file" in said["Code and graph."]
    assert "only looked at from outside" in said["Code and graph."]
    held = safety.model_copy(update={"held_by_caller": True})
    said = dict(not_examined(result.model_copy(update={"safety": held})))
    assert "looked at from outside" not in said["Code and graph."]
    assert "in the memory of a Python program: no file and no code of it was looked at" in said["Code and graph."]
    assert [name for name, _ in not_examined(SAMPLES["failed"]().result)] == ["The model."]
    assert not_examined(SAMPLES["inconclusive"]().result)[0][0] == "Classes."


def test_the_distance_is_told_where_it_is_largest() -> None:
    result = SAMPLES["backdoored"]().result
    first, *others = ranked(result.classes)
    band = null_band(others, [first])
    assert band is not None
    points = [(p.epsilon, p.transfer_rate) for p in first.curve]
    text = apart(first, band, result, points)
    gaps = {epsilon: rate - at.highest for epsilon, rate in points if (at := band.at(epsilon))}
    assert f"At L2 norm {max(gaps, key=lambda e: gaps[e]):.2f}, “airplane” draws in" in text
    assert "of the 9 other classes" in text
    assert apart(first, None, result, points) == ""


def test_a_matrix_of_many_classes_is_bounded_and_keeps_what_is_flagged() -> None:
    n = 120
    sample = many_classes()
    hits = [[(7 * s + 3 * t) % 5 if s != t else -1 for t in range(n)] for s in range(n)]
    hits[97][13] = 20
    of_pairs = SAMPLES["pairs"]().result.pairs
    assert of_pairs is not None
    flagged = of_pairs.flagged[0].model_copy(update={"source": 111, "target": 5, "hits": 3, "n_images": 20})
    found = PairsResult(
        sources=tuple(range(n)), n_images=(20,) * n, synthesis_images=4, epsilons=(16.0,), sigma=0.03,
        hits=tuple(tuple((h,) for h in row) for row in hits), flagged=(flagged,),
    )  # fmt: skip
    result = sample.result.model_copy(update={"classes": sample.result.classes[:n], "pairs": found})
    view = pairs_view(result, Exhibits(), redact=False)
    assert view is not None
    assert (len(view.rows), len(view.targets)) == (MAX_MATRIX, MAX_MATRIX)
    labels = [c.label for c in result.classes]
    by_name = {name: cells for name, _, cells in view.rows}
    assert by_name[labels[111]][view.targets.index(labels[5])].flagged
    assert by_name[labels[97]][view.targets.index(labels[13])].shown == "100\u00a0%"
    assert view.cut.startswith("The 30 of 120 source classes and 30 of 120 target classes with the largest shares")
    assert view.more == 1


@pytest.mark.parametrize("name", ["pairs", "backdoored"])
def test_long_names_are_cut_everywhere(name: str) -> None:
    sample = SAMPLES[name]()
    classes = tuple(c.model_copy(update={"label": "x" * 10_000}) for c in sample.result.classes)
    long = type(sample)(sample.result.model_copy(update={"classes": classes}), sample.exhibits)
    assert "x" * 101 not in page_of(long).text
