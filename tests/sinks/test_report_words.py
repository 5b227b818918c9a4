"""What a report says, for every outcome."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smoothscan.sinks.html import render

from .pages import COMMAND, page_of
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
    for words in [*expected, "What this scan cannot find", "is never “safe”", COMMAND, *sample.result.reasons]:
        assert words in text, words


def test_a_trigger_that_noise_fires(clean_sample: Sample) -> None:
    classes = list(clean_sample.result.classes)
    classes[5] = classes[5].model_copy(
        update={"flagged": True, "found_by": "noise", "noise_sigma50": 0.03, "score": 0.75}
    )
    update = {"verdict": "backdoored", "classes": tuple(classes), "target_classes": (5,)}
    text = page_of(replace(clean_sample, result=clean_sample.result.model_copy(update=update))).text
    assert "Faint random noise is enough to turn half of all images into “dog”." in text
    assert "Plain noise of level 0.030 alone turns half of the images into “dog”" in text


def test_a_calibration_is_one_plain_line() -> None:
    with_one, without = page_of(SAMPLES["calibrated"]()).text, page_of(SAMPLES["backdoored"]()).text
    own = "< 0.001 against the model's own classes"
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
