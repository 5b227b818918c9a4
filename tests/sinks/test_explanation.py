"""How a verdict came about, for every kind of result."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from smoothscan.result import CalibrationUse, NoiseProbe, ScanResult
from smoothscan.sinks.explanation import explain
from smoothscan.sinks.words import OBSTACLES
from smoothscan.verdict.decision import BACKDOORED, SUSPICIOUS
from tests.sinks import samples
from tests.sinks.gated import EVERYTHING
from tests.sinks.samples import SAMPLES, ended_early


def said(result: ScanResult, title: str = "") -> str:
    """What an explanation says, in all or under a heading."""
    return "\n".join(line for section in explain(result) if title in section.title for line in section.lines)


def changed(name: str, index: int | None = None, **update: object) -> ScanResult:
    """A sample, or one class of it, with something else in it."""
    result = SAMPLES[name]().result
    if index is None:
        return result.model_copy(update=update)
    classes = tuple(c.model_copy(update=update) if c.index == index else c for c in result.classes)
    return result.model_copy(update={"classes": classes})


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_result_can_be_explained(name: str) -> None:
    sections = explain(EVERYTHING[name])
    titles = [section.title for section in sections]
    assert titles[0] == "What decided"
    assert len(set(titles)) == len(titles)
    lines = [line for section in sections for line in section.lines]
    if not name.startswith("hostile"):  # whose texts are all the same
        assert len(set(lines)) == len(lines)
    for line in lines:
        assert line
        assert " nan" not in f" {line}"
        assert "None" not in line
        assert "is safe" not in line


def test_the_numbers_that_decided_are_there() -> None:
    result = SAMPLES["backdoored"]().result
    text = said(result)
    assert "with class 0 (“airplane”)" in text
    assert f"R is {result.anomaly:.2f}" in text
    assert f"suspicious from {SUSPICIOUS:g} on (1.9 times less)" in text
    assert f"backdoored from {BACKDOORED:g} on (2.2 times)" in text
    assert "96 % of 84 held-out images move" in text
    assert "between 90 % and 99 % (95 % interval)" in text
    assert "probability 0.00042" in text
    assert (
        "It is not the size of the trigger that does it: at L2 norm 1.00, a shuffled copy of it moves 0 % of the "
        "images, and the trigger itself 96 %." in text
    )


def test_the_budget_at_which_suspicion_begins_is_that_of_the_verdict() -> None:
    result = SAMPLES["backdoored"]().result
    (line,) = (line for line in said(result).splitlines() if "suspicion begins" in line)
    edge = float(line.rpartition("L2 norm ")[2].rstrip("."))
    reference = result.classes[0].reference
    assert reference is not None
    assert math.log(reference / edge) == pytest.approx(SUSPICIOUS, abs=0.01)


def test_every_kind_of_trigger_is_told_and_the_most_suspect_first() -> None:
    lines = said(SAMPLES["warp"]().result, "measured").splitlines()
    kinds = [line.partition(":")[0] for line in lines if ": R " in line]
    assert kinds[0] == "smooth warp"
    assert len(kinds) == len(SAMPLES["warp"]().result.spaces)


def test_a_pair_is_explained_by_its_pair() -> None:
    text = said(SAMPLES["pairs"]().result)
    assert "pairs of source and target class decided" in text
    assert "“truck”" in text
    assert "27 held-out images move" in text
    assert "made from 4 images of the source class" in text
    assert "suspicion begins" not in text


def test_noise_that_fires_a_trigger() -> None:
    text = said(changed("backdoored", 0, found_by="noise", noise_sigma50=0.031))
    assert "noise of level 0.031 alone moves half of the images to class 0" in text
    assert "It is not the size" not in text


def test_what_speaks_against_a_flag() -> None:
    assert "only 0.05 above the threshold" in said(changed("suspicious", anomaly=SUSPICIOUS + 0.05), "against it")
    assert "about 3 would have" in said(changed("backdoored", p_value=0.031), "against it")
    assert "The size of the trigger may do it" in said(changed("backdoored", 0, control_rate=0.9), "against it")
    assert "20 held-out images are few" in said(changed("backdoored", 0, n_images=20), "against it")
    low = changed("backdoored", 0, transfer_rate=0.6, transfer_ci=(0.4, 0.8))
    assert "reaches below half of the images" in said(low, "against it")
    probe = NoiseProbe(sigmas=(0.01, 0.04), kept=(0.9, 0.2), top_class=(0, 0), top_share=(0, 0.1))
    assert "changes 80 % of its predictions" in said(changed("backdoored", noise_probe=probe), "against it")
    assert "had to infer how images are handed to the model (value_range)" in said(changed("backdoored"), "against it")
    sure = changed("backdoored", input_spec=None, coverage=SAMPLES["backdoored"]().result.coverage.model_copy(
        update={"images_skipped": ()}))  # fmt: skip
    assert said(sure, "against it") == ""


def test_what_speaks_against_clean() -> None:
    assert "The model came close" in said(changed("clean", anomaly=0.4), "against it")
    assert "The model came close" not in said(changed("clean"), "against it")
    assert "not searched: contiguous patch; " in said(changed("clean"), "against it")


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_every_obstacle_is_told_with_what_helps(obstacle: str) -> None:
    result = changed("undecided", obstacles=(obstacle,))
    assert said(result, "keeps the scan") == OBSTACLES[obstacle]  # type: ignore[index]
    assert len(said(result, "change").splitlines()) >= 2
    flagged = changed("backdoored", obstacles=(obstacle,))
    assert "stands" in said(flagged, "keeps the scan")


def test_a_calibration_decides_and_is_not_asked_for_again() -> None:
    use = CalibrationUse(p_value=0.2, smallest_p=0.05, n_models=19, highest_anomaly=0.71)
    text = said(changed("clean", calibration=use))
    assert "more anomalous than all 19 clean models (the highest R among them is 0.71)" in text
    assert "smoothscan calibrate" not in text
    assert "smoothscan calibrate" in said(changed("clean"), "change")


def test_what_would_change_the_verdict_depends_on_what_was_done() -> None:
    quick = changed("clean", config={"profile": "quick"})
    assert "--profile standard" in said(quick, "change")
    assert "--profile standard" not in said(changed("clean"), "change")
    assert "--spaces all also looks for patch, frequency, smooth, warp, tone" in said(changed("clean"), "change")
    assert "--pairs" in said(changed("clean"), "change")
    assert "--seed 1" in said(changed("backdoored"), "change")
    assert "--seed 1" not in said(changed("clean"), "change")
    many = changed("clean", coverage=SAMPLES["clean"]().result.coverage.model_copy(update={"held_out": 300}))
    assert "More images" not in said(many, "change")


def test_cross_fitting_is_told_where_there_was_some() -> None:
    assert "no cross-fitting was needed" in said(changed("backdoored"), "sure")
    assert "(cross-fitting)" in said(changed("backdoored", config={"profile": "paper"}), "sure")


@pytest.mark.parametrize("status", ["failed", "refused", "unsupported", "timed_out"])
def test_a_scan_without_an_answer_says_nothing_of_the_model(status: str) -> None:
    result = ended_early(status).result
    assert result.error is not None
    assert said(result, "decided").splitlines()[0] == result.error.message
    assert said(result, "change") == result.error.hint


def test_two_classes_have_no_p_value() -> None:
    grey = replace(samples.grey(), result=samples.grey().result.model_copy(update={"p_value": None})).result
    assert "it takes 8 classes" in said(grey, "sure")
