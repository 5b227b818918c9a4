from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from smoothscan.cli.outcome import aligned, as_text, rows, verdict_line, why
from smoothscan.config import ScanConfig
from smoothscan.errors import Status
from smoothscan.result import ClassResult, ErrorInfo, ModelInfo, ScanResult, VerdictName, WriteBack

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


def test_the_file_to_open_is_one_that_exists() -> None:
    assert "out/report.html" in as_text(result(), CONFIG)
    only_json = as_text(result(), CONFIG.model_copy(update={"formats": ("json",)}))
    assert "out/result.json" in only_json
    assert "report.html" not in only_json


def test_columns_are_aligned() -> None:
    assert aligned([("a", "b"), ("long", "1.5")], right={1}) == ["a       b", "long  1.5"]
