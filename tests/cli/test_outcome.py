from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from smoothscan.cli.outcome import (
    COMPARED,
    aligned,
    as_text,
    calibrated,
    comparison,
    replaced,
    rows,
    smallest_p,
    verdict_line,
    why,
)
from smoothscan.config import ScanConfig
from smoothscan.errors import Status
from smoothscan.gate import judge
from smoothscan.result import (
    CalibrationUse,
    ClassResult,
    CurvePoint,
    ErrorInfo,
    ModelInfo,
    Promotion,
    ScanResult,
    SpaceResult,
    VerdictName,
    WriteBack,
)
from smoothscan.sinks.advice import exit_code
from smoothscan.verdict.calibration import Calibration, CleanModel

CONFIG = ScanConfig(uri="models:/x/1", images=Path("images"), output_dir=Path("out"))


def class_result(index: int, **changes: Any) -> ClassResult:
    values: dict[str, Any] = {
        "index": index,
        "label": str(index),
        "score": 0.1 * (index % 10),
        "transfer_rate": 0.5,
        "transfer_ci": (0.4, 0.6),
        "n_images": 90,
        "epsilon": 1.0,
        "sigma": 0.12,
        "p_value": None,
        "flagged": False,
        "e50": 2.0,
    }
    return ClassResult(**(values | changes))


def result(**changes: Any) -> ScanResult:
    values: dict[str, Any] = {
        "status": "completed",
        "verdict": "clean",
        "score": 0.2,
        "model": ModelInfo(uri="models:/x/1"),
        "classes": (class_result(0), class_result(1)),
    }
    return ScanResult(**(values | changes))


def test_every_outcome_has_its_own_words() -> None:
    lines = {verdict_line(result(verdict=verdict)) for verdict in get_args(VerdictName)}
    lines |= {verdict_line(result(status=status, verdict=None)) for status in get_args(Status) if status != "completed"}
    assert len(lines) == len(get_args(VerdictName)) + len(get_args(Status)) - 1
    assert not any("safe" in line for line in lines)
    assert verdict_line(result()) == "clean: no trigger found under this budget"


def test_the_most_suspect_classes_come_first_and_no_flagged_one_is_left_out() -> None:
    classes = [class_result(i, flagged=i >= 985, score=0.9 - i / 2000) for i in range(1000)]
    shown = rows(classes)
    assert [row.flagged for row in shown[:15]] == [True] * 15
    assert len(shown) == 15
    assert rows(classes[:985])[0].cells[0] == "0"
    text = as_text(result(classes=tuple(classes)), CONFIG)
    assert "and 985 less suspect classes, see result.json" in text


def test_a_budget_that_was_not_reached_is_said_to_be_above_the_largest() -> None:
    (row,) = rows([class_result(3, e50=None, epsilon=2.86)])
    assert "above 2.86" in row.cells


def test_the_table_says_which_kind_of_trigger_its_budgets_are_about() -> None:
    found = [
        SpaceResult(space=name, sigma=0.1, anomaly=0.9, index=1, e50=0.6, reference=1.5, transfer_rate=0.8, level=level)
        for name, level in (("l2", 0.5), ("warp", 1 / 3))
    ]
    text = as_text(result(space="warp", spaces=tuple(found)), CONFIG)
    kind = "kind     smooth warp, by mean displacement in pixels; the most suspect of 2 kinds searched"
    assert kind in text.splitlines()
    assert "budget for a third" in text
    assert "L2" not in text
    of_old = as_text(result(), CONFIG)
    assert "kind     additive, small in L2, by L2 budget" in of_old.splitlines()
    assert "budget for half" in of_old


def test_what_comes_out_of_the_model_cannot_steer_the_terminal() -> None:
    label = "cat\x1b[2J\u202e\x07"
    text = as_text(
        result(
            verdict="backdoored",
            target_classes=(1,),
            classes=(class_result(1, label=label, flagged=True),),
            reasons=(f"class {label} moves\nclean: all is well",),
            model=ModelInfo(uri="models:/x\x1b[31m/1"),
        ),
        CONFIG,
    )
    assert "hidden trigger for class 1 (cat)" in text
    assert not set("\x1b\x07\u202e") & set(text)
    assert not any(line.startswith("clean") for line in text.splitlines())


def test_an_error_is_the_first_reason() -> None:
    failed = result(status="failed", verdict=None, classes=(), error=ErrorInfo(type="X", message="gone", hint="look"))
    assert why(failed) == ["gone"]
    assert "look" in as_text(failed, CONFIG)


@pytest.mark.parametrize(
    ("write_back", "said"),
    [
        (WriteBack(status="done", tagged=True), "tags and run written"),
        (WriteBack(status="done"), "registry run written"),
        (WriteBack(status="failed", message="no"), "not written"),
        (WriteBack(status="off"), None),
        (WriteBack(status="not_applicable"), None),
    ],
)
def test_what_became_of_the_registry(write_back: WriteBack, said: str | None) -> None:
    text = as_text(result(write_back=write_back), CONFIG)
    assert ("registry" in text) == (said is not None)
    assert said is None or said in text


@pytest.mark.parametrize(
    ("digest", "options", "said"),
    [
        ("sha256:0", {"attest": True}, "attested out/attestation.json, unsigned"),
        ("sha256:0", {"attest": True, "attest_key": Path("a.pem")}, "attested out/attestation.json, signed with a.pem"),
        (None, {"attest": True}, "attested nothing"),
        ("sha256:0", {}, None),
    ],
)
def test_an_attestation_says_whether_it_is_signed(
    digest: str | None, options: dict[str, Any], said: str | None
) -> None:
    scanned = result(model=ModelInfo(uri="models:/x/1", digest=digest))
    text = as_text(scanned, CONFIG.model_copy(update=options))
    assert ("attest" in text) == (said is not None)
    assert said is None or said in text


def test_what_became_of_the_alias_is_said() -> None:
    held = Promotion(alias="champion", status="held", before="1", message="champion was left on\x1b[31m version 1.")
    assert "alias    champion was left on version 1." in as_text(result(promotion=held), CONFIG)


def test_an_alias_that_could_not_be_moved_changes_the_exit_code() -> None:
    passed = judge(result())
    failed = Promotion(alias="champion", status="failed", message="champion was left unset: refused.")
    stuck = passed.model_copy(update={"promotion": failed})
    assert (exit_code(passed), exit_code(stuck)) == (0, 3)
    assert "The check exits with code 3." in as_text(stuck, CONFIG)
    for status in ("moved", "unchanged"):
        moved = failed.model_copy(update={"status": status})
        assert exit_code(passed.model_copy(update={"promotion": moved})) == 0


def test_the_file_to_open_is_one_that_exists() -> None:
    assert "out/report.html" in as_text(result(), CONFIG)
    only_json = as_text(result(), CONFIG.model_copy(update={"formats": ("json",)}))
    assert "out/result.json" in only_json
    assert "report.html" not in only_json


def test_p_values_are_one_line() -> None:
    use = CalibrationUse(p_value=0.04, smallest_p=0.02, n_models=49, highest_anomaly=0.5)
    (line,) = [one for one in as_text(result(p_value=0.3, calibration=use), CONFIG).splitlines() if "p-value" in one]
    assert line == (
        "p-value  0.040 against the calibration's 49 clean models (0.020 is the smallest possible); "
        "0.30 against the model's own classes"
    )
    assert "p-value  0.30 against the model's own classes" in as_text(result(p_value=0.3), CONFIG)
    assert "p-value" not in as_text(result(), CONFIG)


def test_a_scan_that_ran_in_full_and_cannot_say() -> None:
    undecided = result(verdict="inconclusive", reasons=("There are too few classes.",))
    text = as_text(undecided, CONFIG)
    assert "verdict  inconclusive: the scan ran but cannot say" in text
    assert "why      There are too few classes." in text
    assert "exits with code 4" in text
    assert undecided.exit_code() == 4


@pytest.mark.parametrize(
    ("n", "said"),
    [
        (1, "1 clean model allows no p-value below 0.50; 99 would allow 0.01."),
        (20, "20 clean models allow no p-value below 0.048; 99 would allow 0.01."),
        (99, "99 clean models allow no p-value below 0.010."),
    ],
)
def test_a_calibration_says_how_small_a_p_value_it_allows(n: int, said: str) -> None:
    models = tuple(CleanModel(uri=f"models:/\x1b[31mm/{i}", digest=None, anomaly=i / 8) for i in range(n))
    calibration = Calibration(models=models)
    assert smallest_p(calibration) == said
    lines = calibrated(calibration)
    assert len(lines) == n
    assert lines[-1] == ("models:/m/0", "0.000")
    assert lines[0] == (f"models:/m/{n - 1}", f"{(n - 1) / 8:.3f}"), "the most anomalous first"


def test_whose_results_were_replaced_is_said_unless_they_are_older_ones_of_the_same_model() -> None:
    there = result(finished_at="2026-11-29T10:00:00+00:00")
    assert replaced(None, result()) == ""
    assert replaced(there, result()) == ""
    assert replaced(result(status="failed", verdict=None), result(model=ModelInfo(uri="models:/y/1"))) == ""
    for now in (result(model=ModelInfo(uri="models:/y/1")), result(status="failed", verdict=None)):
        text = replaced(there, now)
        assert text.startswith("the results of models:/x/1, scanned 2026-11-29 10:00 UTC")
        assert f"replaced {text}" in as_text(now, CONFIG, replaced=text)
    assert "replaced" not in as_text(result(), CONFIG)


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (({"score": 0.9, "e50": 5.0, "reference": 25.0, "flagged": True}, {"e50": 25.0}), "20 % of ordinary"),
        (({"score": 0.3, "e50": 15.0, "reference": 25.0}, {"e50": 25.0}), "60 % of ordinary"),
        # a flagged class comes before one with a higher score, as in the list of classes
        (({"score": 0.9, "e50": 20.0}, {"e50": 5.0, "reference": 25.0, "flagged": True}), "20 % of ordinary"),
        # ordinary classes that moved nothing need more than the largest budget that was tried
        (({"score": 0.9, "e50": 10.0, "reference": 40.0}, {"e50": None}), "under 25 % of ordinary"),
        (({"score": 0.9, "e50": 10.0, "reference": None}, {"e50": None}), "under 25 % of ordinary"),
        (({"score": 0.0, "e50": None}, {"e50": None}), "-"),
        ((), "-"),
    ],
)
def test_models_are_compared_by_what_their_easiest_class_needs(classes: tuple[dict[str, Any], ...], said: str) -> None:
    """Transfer would not do: with a large enough change most images move in any model."""
    curve = tuple(
        CurvePoint(sigma=0.1, epsilon=epsilon, hits=0, n_images=9, transfer_rate=0.0) for epsilon in (10.0, 40.0)
    )
    found = tuple(class_result(index, curve=curve, **{"score": 0.0, **each}) for index, each in enumerate(classes))
    row = comparison(result(classes=found))
    assert dict(zip(COMPARED, row, strict=True))["easiest class"] == said


def test_columns_are_aligned() -> None:
    assert aligned([("a", "b"), ("long", "1.5")], right={1}) == ["a       b", "long  1.5"]
