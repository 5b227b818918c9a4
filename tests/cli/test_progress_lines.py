"""`--progress json`: what programs read on standard error."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smoothscan.cli import main, progress_lines
from smoothscan.cli.progress_lines import JsonDisplay, Line
from smoothscan.cli.standard_error import choose_manner, end
from smoothscan.events import Ranked

from .program import Digits, Run

PAGE = Path(__file__).parents[2] / "docs" / "terminal.md"
HOSTILE = st.one_of(
    st.text(st.characters()),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "\x1b[31mred\x1b[0m",
            "a\u202eb",
            "\n{}",
            "\ud800",
            "x" * 10_000,
            '"}\r\n{"event":',
        ]
    ),
)
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


def lines_of(text: str) -> list[dict[str, Any]]:
    """What was written, each line by the schema; every line is ASCII without control characters."""
    assert re.fullmatch(r"[\n\x20-\x7e]*", text)
    found = [json.loads(line) for line in text.splitlines()]
    for each in found:
        Line.model_validate(each)
        assert datetime.fromisoformat(each["time"]).utcoffset() is not None
        assert None not in each.values()
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=HOSTILE, text=HOSTILE, done=NUMBERS, total=NUMBERS, budget=NUMBERS)
def test_whatever_a_scan_tells_becomes_lines_of_the_schema(
    name: str, text: str, done: float, total: float, budget: float, capsys: pytest.CaptureFixture[str]
) -> None:
    display = JsonDisplay(verbose=True)
    display.stage(name, text)
    display.progress(done, total)
    display.ranking([Ranked(index, text, 0.5, budget) for index in range(9)])
    for tell in (display.info, display.note, display.warning):
        tell(text)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [each["event"] for each in lines_of(captured.err)] == [
        "stage", "progress", "ranking", "info", "note", "warning",
    ]  # fmt: skip


def test_progress_is_told_at_its_first_step_at_its_last_and_once_a_second(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(progress_lines.time, "monotonic", lambda: now)
    display = JsonDisplay(verbose=False)
    display.info("for verbose logs only")
    display.stage("invert", "10 classes")
    for done in range(1, 41):
        now += 0.25
        display.progress(done, 40)
    found = lines_of(capsys.readouterr().err)
    assert (found[0]["event"], found[0]["stage"], found[0]["message"]) == ("stage", "invert", "10 classes")
    told = [(each["done"], each.get("eta_seconds")) for each in found[1:]]
    assert [done for done, _ in told] == [1, *range(5, 40, 4), 40]
    assert told[1] == (5, pytest.approx(1.25 * 35 / 5))
    assert told[-1] == (40, None)


def test_a_ranking_has_the_five_most_suspect_classes(capsys: pytest.CaptureFixture[str]) -> None:
    JsonDisplay(verbose=False).ranking([Ranked(i, f"class {i}", 0.5, math.inf if i else 1.25) for i in range(9)])
    (line,) = lines_of(capsys.readouterr().err)
    assert line["classes"][0] == {"index": 0, "label": "class 0", "transfer_rate": 0.5, "budget": 1.25}
    assert [each["index"] for each in line["classes"]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("words", "json_lines"),
    [
        (["check", "--progress", "json"], True),
        (["check", "--progress=json"], True),
        (["check", "--progress=json", "--progress", "plain"], False),
        (["check", "--progress", "json", "-q"], False),
        (["check"], False),
        (["check", "--progress"], False),
    ],
)
def test_errors_are_lines_as_well_even_before_the_options_are_read(
    words: list[str], json_lines: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    choose_manner(words)
    try:
        code = main._run([*words, "models:/x/1", "--imgs", "\x1b[31m"])
        end(code)
    finally:
        choose_manner([])
    text = capsys.readouterr().err
    assert code == 2
    if json_lines:
        error, last = lines_of(text)
        assert "No such option" in error["message"]
        assert (last["event"], last["exit_code"]) == ("end", 2)
    else:
        assert "{" not in text


def test_a_process_without_images_ends_in_two_lines(smoothscan: Run) -> None:
    done = smoothscan("check", "models:/x/1", "--images", "nowhere", "--progress", "json")
    assert (done.returncode, done.stdout) == (2, "")
    error, last = lines_of(done.stderr)
    assert "does not exist" in error["message"]
    assert "--images" in error["hint"]
    assert last["exit_code"] == 2


def test_a_scan_tells_its_stages_and_standard_output_stays_as_it_is(smoothscan: Run, digits: Digits) -> None:
    done = smoothscan(
        "check", *digits.arguments, "--profile", "quick", "--spaces", "l2", "--progress", "json", "--explain"
    )
    found = lines_of("".join(line + "\n" for line in done.stderr.splitlines() if line.startswith("{")))
    stages = [each["stage"] for each in found if each["event"] == "stage"]
    assert stages[-2:] == ["write", "write back"]
    assert {"download", "load", "probe", "invert"} <= set(stages)
    (final,) = [each for each in found if each["event"] == "progress" and each["done"] == each["total"]][-1:]
    assert final["stage"] == "invert"
    assert found[-1]["event"] == "end"
    assert found[-1]["exit_code"] == done.returncode
    assert done.stdout.startswith("model    models:/digits/1\n")
    assert "What decided" in done.stdout
    assert "{" not in done.stdout


@pytest.mark.skipif(not PAGE.is_file(), reason="needs the checkout, for its documentation")
def test_every_field_and_event_is_documented() -> None:
    page = PAGE.read_text()
    for name in Line.model_fields:
        assert f"| `{name}` |" in page, name
    for event in progress_lines.EventName.__args__:
        assert f"`{event}`" in page, event
