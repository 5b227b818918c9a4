from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from smoothscan.cli import display as module
from smoothscan.cli.display import LiveDisplay, PlainDisplay, listen
from smoothscan.events import Ranked

RANKING = [Ranked(index, f"class-{index}\x1b[31m", 0.5, None if index else 1.25) for index in range(8)]


def test_a_log_gets_a_line_a_stage_and_few_on_progress(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    display = PlainDisplay(verbose=False)
    display.stage("invert", "10 classes\x1b[2J")
    for done in range(1, 101):
        now += 0.25
        display.progress(done, 100)
    display.info("for verbose logs only")
    display.ranking(RANKING)
    display.warning("careful")
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert all(re.match(r"\[\d\d:\d\d:\d\d\] ", line) for line in lines)
    assert [line[11:] for line in lines] == [
        "invert: 10 classes",
        "invert: 40%, about 15 s left",
        "invert: 80%, about 5.0 s left",
        "warning: careful",
    ]


def test_a_verbose_log_gets_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    display = PlainDisplay(verbose=True)
    display.info("a detail")
    display.ranking(RANKING)
    assert "a detail" in (text := capsys.readouterr().err)
    assert "most suspect so far class-0, transfer 50%" in text


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with listen("none", verbose=True) as display:
        display.stage("invert")
        display.progress(1, 2)
        display.ranking(RANKING)
        for tell in (display.info, display.note, display.warning):
            tell("x")
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_what_is_under_way() -> None:
    stream = io.StringIO()
    with LiveDisplay(Console(file=stream, force_terminal=True, width=60, color_system=None), verbose=False) as display:
        display.stage("scan", "2 versions")
        display.progress(0, 2)
        display.beneath(["models:/signs/3", "models:/\x1b[31mred/1", f"models:/{'long' * 50}/1"])
    text = stream.getvalue()
    for part in ("0%", "  models:/signs/3", "red/1"):
        assert part in text
    assert "\x1b[31m" not in text
    assert all(line.count("long") < 20 for line in text.splitlines()), "a name takes one line, whatever its length"


def test_a_terminal_gets_a_bar_and_the_five_most_suspect_classes() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, color_system=None)
    with LiveDisplay(console, verbose=False) as display:
        display.stage("download", "models:/x/1")
        display.stage("invert", "10 classes")
        display.progress(3, 10)
        display.ranking(RANKING)
        display.warning("careful\x1b[31m")
    text = stream.getvalue()
    for part in (
        "download  models:/x/1",
        "invert",
        "30%",
        "most suspect so far",
        "class-4",
        "1.25",
        "warning: careful",
    ):
        assert part in text
    assert "class-5" not in text
    assert "\x1b[31m" not in text
