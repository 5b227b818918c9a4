"""What a report says, for every outcome."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smoothscan.sinks.html import render
from smoothscan.sinks.words import blind_spots, hard_steps, left_out, limits

from .pages import COMMAND, PINNED, page_of
from .samples import SAMPLES, Sample, ten_targets_large


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "backdoored",
            [
                "Backdoor found",
                "turns 96 % of other images into “airplane”",
                "“airplane”",
                "Do not deploy this model",
                "exits with code 1",
                "Flagged class",
            ],
        ),
        ("suspicious", ["Suspicious: a class behaves like a backdoor's target", "exits with code 1"]),
        (
            "clean",
            [
                "No trigger found under this budget",
                "None of the 10 classes needs much less change",
                "not proof",
                "exits with code 0",
                "Closest to being suspect",
            ],
        ),
        (
            "undecided",
            [
                "Inconclusive: the scan cannot say With 3 classes there are too few",  # first of all, why
                "treat the model as unknown",
                "exits with code 4",
                "Closest to being suspect",
                "This class came closest, but the scan cannot judge it.",
            ],
        ),
        ("inconclusive", ["Inconclusive: the scan cannot say", "NaN for 3 of 102", "pass --value-range", "code 4"]),
        ("failed", ["Scan failed: the model was not examined", "does not load", "code_paths", "code 3"]),
        ("refused", ["Refused: loading would run the model's own code", "pass --allow-model-code", "code 3"]),
        ("unsupported", ["Unsupported model: it was not examined", "takes tables", "code 5"]),
        ("timed_out", ["Time limit passed: the scan is incomplete", "Raise --time-limit", "code 3"]),
    ],
)
def test_says_the_verdict_and_what_to_do(name: str, expected: list[str]) -> None:
    sample = SAMPLES[name]()
    text = page_of(sample).text
    for words in [*expected, "What this scan cannot find", "is never “safe”", PINNED, *sample.result.reasons]:
        assert words in text, words


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "patch",
            [
                "A small patch, recovered from one clean image, turns",
                "The patch was recovered from one clean image",
                "at 16 replaced pixels, 2 % of the image. Half of the images move at 14.2 replaced pixels",
                "ordinary classes of this model need more than 36 replaced pixels.",
                "It moves 61 % of 88 held-out images, at 16 replaced pixels",
                "Size needed to move half of the images 14.2 replaced pixels "
                "ordinary classes: more than 36 replaced pixels",
                "that the class's patch moves to it, at 16.0 replaced pixels and noise level",
                "crosses the 50 % line",
                "half of the images",
                "Budget for 50 %",
                "Kind of trigger: contiguous patch, by replaced pixels. Control: what a patch of random values",
                "as large as the smallest patch with which the class moves half of the images",
                "With a patch of random values in the same place 4 % the control, on the same images, at 16 replaced",
            ],
        ),
        (
            "warp",
            [
                "A slight warp, recovered from one clean image, turns",
                "A third of the images move at a mean displacement of 0.62 pixels",
                "ordinary classes of this model need a mean displacement of 1.70 pixels.",
                "Size needed to move a third of the images a mean displacement of 0.62 pixels "
                "ordinary classes: a mean displacement of 1.70 pixels",
                "Transfer against the size of the warp. A backdoor's target crosses the 33 % line",
                "Budget for 33 %",
                "The same warp on held-out images",
            ],
        ),
        (
            "frequency",
            ["A faint regular wave, recovered", "at L2 norm 1.43, a root mean square change of 6.6 out of 255"],
        ),
        ("tone", ["A slight change of colours, recovered", "at strength 0.50. Half of the images move at"]),
    ],
)
def test_words_of_the_space_in_which_a_class_stands_out(name: str, expected: list[str]) -> None:
    text = page_of(SAMPLES[name]()).text
    for words in expected:
        assert words in text, words
    without_other_spaces = text.replace("additive, small in L2", "").replace("smoothscan-report/perturbations", "")
    assert "perturbation" not in without_other_spaces.replace("Without any perturbation", "")
    assert "L2 budget for half of the images" in text
    assert without_other_spaces.count("L2 budget") == 1  # the table of spaces


def test_every_space_that_was_searched_has_a_row() -> None:
    text = page_of(SAMPLES["warp"]()).text
    assert "Where it was looked for" in text
    assert "additive, small in L2 L2 budget for half of the images bird 1.31 1.61 0.21 88 % no" in text
    assert "contiguous patch replaced pixels for half of the images horse not reached 36.0 0.08 11 % no" in text
    assert "smooth warp mean displacement in pixels for a third of the images deer 0.620 1.70 1.01 88 % yes" in text


def test_a_pair_of_source_and_target_class_is_said_and_shown() -> None:
    page = page_of(SAMPLES["pairs"]())
    for words in (
        "A small patch turns 100 % of the images of “truck” into “deer”.",
        "It moves 100 % of 27 images of truck",
        "truck → deer class 9 to class 4 flagged A patch of 9 replaced pixels, made from 4 images of “truck”, "
        "turns 100 % of 27 other images of “truck” into “deer” (95 % interval 87 % to 100 %)",
        "From Images airplane automobile bird cat",
        "1 class has too few images for a row: 4 to make a patch from and 8 to test it on are needed.",
        "Over images of all classes, “deer” does not stand apart: what was found works on images of “truck” only. "
        "Transfer against the size of the perturbation. share of held-out",
        "Between pairs of classes only small patches were looked for. Of 1 class there were too few images to look.",
    ):
        assert words in page.text, words
    for of_all_classes in ("crosses the", "The control above", "draws in"):
        assert of_all_classes not in page.text
    assert "recovered from one clean image" not in page.text  # no card about the class over all images
    assert "--pairs" not in page.text
    (cell,) = [e for e in page.all("td") if "is-flagged" in (e.get("class") or "")]
    assert (cell.get("title"), cell.get("class")) == ("truck to deer: 27 of 27", "num shade-10 is-flagged")


def test_without_the_search_over_pairs_the_limits_name_it(clean_sample: Sample) -> None:
    page = page_of(clean_sample)
    assert "Pairs of source and target class" not in page.text
    assert "The option --pairs looks for them." in page.text


def test_a_result_from_before_there_were_spaces_has_no_such_table() -> None:
    assert "Where it was looked for" not in page_of(SAMPLES["backdoored"]()).text


def test_the_kinds_that_were_left_out_are_named(clean_sample: Sample) -> None:
    def said(**config: object) -> str:
        given = {**clean_sample.result.config, **config}
        result = clean_sample.result.model_copy(update={"config": given})
        return " ".join(why for _, why in left_out(result))

    assert left_out(SAMPLES["tone"]().result) == []
    assert [name.partition(" ")[0] for name, _ in blind_spots(clean_sample.result)] == [
        "Triggers",
        "Source-specific",
        "Input-dependent",
        "Hard-coded",
    ]
    ((_, of_standard),) = left_out(SAMPLES["patch"]().result)
    assert of_standard == "This scan did not look for these: change of colour. The option --spaces chooses."
    others = "contiguous patch; one frequency; smooth pattern; smooth warp; change of colour."
    assert others in said(), "a result of an older version"
    assert others in said(spaces=["l2"])
    assert said(spaces=None) == ""  # all that a scan that failed was about
    assert others in said(spaces=None, profile="paper")
    assert "these: additive, small in L2; contiguous" in said(spaces=["tone"])


def test_a_trigger_that_noise_fires(clean_sample: Sample) -> None:
    classes = list(clean_sample.result.classes)
    classes[5] = classes[5].model_copy(
        update={"flagged": True, "found_by": "noise", "noise_sigma50": 0.03, "score": 0.75}
    )
    update = {"verdict": "backdoored", "classes": tuple(classes), "target_classes": (5,)}
    text = page_of(replace(clean_sample, result=clean_sample.result.model_copy(update=update))).text
    assert "Faint random noise is enough to turn half of all images into “dog”." in text
    assert "Plain noise of level 0.030 alone turns half of the images into “dog”" in text


def test_the_words_of_the_page_are_explained_on_it() -> None:
    for name, measure in (
        ("patch", "as replaced pixels."),
        ("warp", "as mean displacement in pixels."),
        ("clean", "as L2"),
    ):
        text = page_of(SAMPLES[name]()).text
        box = text.partition("Words on this page ")[2].partition(" Evidence ")[0]
        for term in ("Budget How", "Transfer A", "Held-out images Your", "Control As", "R and score R", "p-value The"):
            assert term in box, term
        assert measure in box
    assert "Words on this page" not in page_of(SAMPLES["failed"]()).text
    without_p = page_of(SAMPLES["undecided"]()).text.partition("Words on this page ")[2].partition(" Evidence ")[0]
    assert without_p
    assert "p-value" not in without_p


def test_noise_levels_have_two_digits(clean_sample: Sample) -> None:
    classes = tuple(c.model_copy(update={"sigma": 0.131829}) for c in clean_sample.result.classes)
    page = page_of(replace(clean_sample, result=clean_sample.result.model_copy(update={"classes": classes})))
    assert "noise level \u03c3 = 0.13." in page.text
    assert "Noise level \u03c3 = 0.13; seed 0." in page.text
    assert {row["data-sigma"] for row in page.all("tr") if "data-sigma" in row} == {"0.13"}


def test_a_calibration_is_one_plain_line() -> None:
    with_one, without = page_of(SAMPLES["calibrated"]()).text, page_of(SAMPLES["backdoored"]()).text
    own = "0.00042 against the model's own classes"
    of_calibration = "0.048 against the calibration's 20 clean models (0.048 is the smallest possible)"
    assert f"p-value {of_calibration}; {own}" in with_one
    assert f"p-value {own}" in without
    assert "calibration" not in without


def test_without_p_values_there_is_no_line_about_them() -> None:
    assert "p-value" not in page_of(SAMPLES["undecided"]()).text.partition("All classes")[0]


def test_a_class_that_stands_out_no_more_than_in_clean_models() -> None:
    sample = SAMPLES["calibrated"]()
    classes = tuple(c.model_copy(update={"flagged": False}) for c in sample.result.classes)
    update = {"verdict": "clean", "target_classes": (), "classes": classes}
    text = page_of(replace(sample, result=sample.result.model_copy(update=update))).text
    assert "stands out among its own model's, but no more than in the clean models of the calibration" in text
    assert "needs much less change than the others" not in text
    assert "suspicion begins at" not in text


def test_a_scan_that_cannot_say_does_not_explain_why_a_class_is_not_suspect() -> None:
    text = page_of(SAMPLES["undecided"]()).text
    assert "why it is not" not in text
    assert "A backdoor's target needs far less" not in text


def test_several_synthesis_images(backdoored_sample: Sample) -> None:
    config = {**backdoored_sample.result.config, "synthesis_images": 3}
    result = backdoored_sample.result.model_copy(update={"config": config})
    text = page_of(replace(backdoored_sample, result=result)).text
    assert text.count("recovered from 3 clean images") == 2
    assert "from one clean image" not in text


def test_several_targets() -> None:
    sample = ten_targets_large()
    result = sample.result.model_copy(update={"target_classes": (4, 0, 1, 2, 3, 5, 6, 7, 8, 9)})
    text = page_of(replace(sample, result=result)).text
    assert "of other images into “deer”. 9 more classes stand out as well." in text


def test_an_option_is_never_broken_in_two() -> None:
    sample = SAMPLES["inconclusive"]()
    text = render(sample.result, sample.exhibits, redact_images=False, command=COMMAND)
    assert 'pass <code class="nowrap">--value-range</code>, <code class="nowrap">--mean</code> and' in text


def test_a_suspicious_model_that_does_not_block() -> None:
    sample = SAMPLES["suspicious"]()
    config = {**sample.result.config, "fail_on": "backdoored"}
    text = page_of(replace(sample, result=sample.result.model_copy(update={"config": config}))).text
    assert "exits with code 0" in text


def test_of_a_screened_model_the_page_says_how_many_classes_were_searched_in_full() -> None:
    sample = SAMPLES["clean"]()
    coverage = sample.result.coverage.model_copy(
        update={"classes_total": 1000, "classes_examined": 1000, "classes_in_full": len(sample.result.classes)}
    )
    text = page_of(replace(sample, result=sample.result.model_copy(update={"coverage": coverage}))).text
    assert "None of the 1,000 classes needs" in text
    assert f"1,000 of 1,000 examined, {len(sample.result.classes)} of them in full" in text
    assert "Classes searched in full" in text
    assert "All classes" not in text


def test_steps_of_the_graph_that_inversion_cannot_follow() -> None:
    sample = SAMPLES["gated"]()
    text = page_of(sample).text
    assert "Steps of the graph that inversion cannot follow" in text
    assert "aten.eq.Scalar compares pixels of the image with the constant 1. Gate, 3 times; ATLAS AML.T0018." in text
    assert "cond chooses by values computed from the image" in text
    assert "have its author explain the steps listed under Safety" in text
    assert hard_steps(sample.result) == "depends on the image by hard steps: cond, aten.eq.Scalar (3 times) (AML.T0018)"
    said = dict(limits(sample.result))["Hard-coded branches."]
    assert said.endswith("This model's graph has such steps; they are listed under Safety.")
    safety = sample.result.safety.model_copy(update={"architecture": ()})
    none = Sample(sample.result.model_copy(update={"safety": safety}), sample.exhibits)
    assert "None: the image was followed through the graph" in page_of(none).text
    assert hard_steps(none.result) == ""
    assert dict(limits(none.result))["Hard-coded branches."].endswith("has none, activation functions apart.")
