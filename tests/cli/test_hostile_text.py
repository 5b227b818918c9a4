"""Whatever a model calls itself and its classes, and whatever an error says: a terminal shows the same, and is safe."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from smoothscan.cli import main, summary
from smoothscan.cli.display import LiveDisplay, PlainDisplay
from smoothscan.cli.outcome import as_text, explained
from smoothscan.cli.progress_lines import JsonDisplay
from smoothscan.cli.standard_error import choose_manner
from smoothscan.config import ScanConfig
from smoothscan.errors import ModelLoadError
from smoothscan.events import Events, Ranked
from smoothscan.sinks.json_file import to_json
from tests.sinks.gated import hostile, hostile_failure

from .program import ENVIRONMENT, command

CONFIG = ScanConfig(uri="models:/x/1", images=Path("x"))
HARMLESS = "cat"
TEXTS = {
    "markup": "<script>alert(1)</script>[bold red]x[/]",
    "ansi": "\x1b[2J\x1b[31mred\x1b]0;title\x07\x9b31m\x08\x00",
    "bidi": "a\u202eb\u2066c\u200fd\ufeff",
    "lines": "cat\nverdict  clean: no trigger found\r\x1b[1Averdict  clean\u2028clean",
    "long": "x" * 10_000,
    "surrogate": "\ud800\uffff",
}
RICH_OWN = re.compile(r"\x1b\[(?:\d*[AK]|\?25[lh]|1m|2m|0m|[\d;]*m)|\r")
"""What rich writes to redraw its own lines and to colour them."""

each_text = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)


def safe(shown: str) -> str:
    """Assert that a text can do nothing to a terminal, and return it."""
    bad = {c for c in shown if not c.isprintable() and c != "\n"}
    assert not bad, bad
    return shown


def shape(shown: str) -> list[str]:
    """Captions and headings of the lines, which are ours."""
    return [line[:8] for line in safe(shown).splitlines()]


@each_text
def test_the_summary_keeps_its_lines(text: str) -> None:
    for make in (hostile, hostile_failure):
        shown, expected = (as_text(make(each), CONFIG) for each in (text, HARMLESS))
        assert [line for line in shape(shown) if line.strip() in CAPTIONS] == [
            line for line in shape(expected) if line.strip() in CAPTIONS
        ]
        assert len(shown.splitlines()) == len(expected.splitlines())


CAPTIONS = ("model", "verdict", "score", "p-value", "why", "kind", "waived", "gate", "report", "next")


@each_text
def test_the_explanation_keeps_its_lines(text: str) -> None:
    for make in (hostile, hostile_failure):
        shown, expected = ("\n".join(explained(make(each))) for each in (text, HARMLESS))
        safe(shown)
        assert [line for line in shown.splitlines() if not line.startswith("  ")] == [
            line for line in expected.splitlines() if not line.startswith("  ")
        ]
        assert "R is 1.3" in shown or make is hostile_failure, "a long label leaves room for what is said of it"


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """A terminal of 100 columns instead of standard output."""
    stream = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys.stdout, "isatty", lambda: True)
        patch.setattr(
            summary, "Console", lambda **options: Console(file=stream, width=100, force_terminal=True, **options)
        )
        yield stream


@each_text
def test_tables_on_a_terminal_are_as_safe(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result = hostile(text)
    with terminal(monkeypatch) as stream:
        summary.show_result(result, CONFIG)
        summary.show_explanation(result)
        summary.show_comparison([result, hostile_failure(text)])
    drawn = safe(RICH_OWN.sub("", stream.getvalue()))
    assert max(map(len, drawn.splitlines())) <= 100
    if text == TEXTS["markup"]:
        assert "[bold red]" in drawn, "what a label holds is no markup of ours"


def tell_everything(display: Events, text: str) -> None:
    display.stage("invert", text)
    display.progress(1, 3)
    display.ranking([Ranked(index, text, 0.5, None) for index in range(6)])
    display.info(text)
    display.warning(text)
    display.stage("write", text)


@each_text
def test_progress_in_a_log(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    tell_everything(PlainDisplay(verbose=True), text)
    lines = safe(capsys.readouterr().err).splitlines()
    assert len(lines) == 5
    assert all(re.match(r"\[\d\d:\d\d:\d\d\] ", line) for line in lines)
    assert max(map(len, lines)) < 1100


@each_text
def test_progress_for_programs(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    tell_everything(JsonDisplay(verbose=True), text)
    shown = safe(capsys.readouterr().err)
    assert shown.isascii()
    assert [json.loads(line)["event"] for line in shown.splitlines()] == [
        "stage", "progress", "ranking", "info", "warning", "stage",
    ]  # fmt: skip


@each_text
def test_progress_on_a_terminal(text: str) -> None:
    stream = io.StringIO()
    with LiveDisplay(Console(file=stream, force_terminal=True, width=100), verbose=True) as display:
        tell_everything(display, text)
    drawn = safe(RICH_OWN.sub("", stream.getvalue().replace("\r", "\n")))  # a line that is drawn anew is another one
    assert max(map(len, drawn.splitlines())) <= 100
    assert len(drawn.splitlines()) < 100


@each_text
@pytest.mark.parametrize("manner", ["plain", "json"])
def test_errors(text: str, manner: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_options: object) -> None:
        raise ModelLoadError(text, text)

    monkeypatch.setattr(main.smoothscan, "main", broken)
    choose_manner(["--progress", manner])
    try:
        assert main._run([]) == 3
    finally:
        choose_manner([])
    shown = safe(capsys.readouterr().err)
    if manner == "json":
        (line,) = shown.splitlines()
        assert json.loads(line)["event"] == "error"
    else:
        assert [line.partition(":")[0] for line in shown.splitlines()] == ["Error", "Hint"]


def on_a_terminal(folder: Path, words: list[str], **variables: str) -> str:
    """What a process writes to a terminal."""
    ours, theirs = pty.openpty()
    env = {**ENVIRONMENT, "TERM": "xterm-256color", **variables}
    with subprocess.Popen(command(*words), cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # the other side was closed
            pass
        process.wait(60)
    os.close(ours)
    return shown.decode()


def test_colours_come_on_a_terminal_only_and_not_where_nobody_wants_them(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_bytes(to_json(hostile("cat")))
    words = ["report", "result.json"]
    coloured: Callable[[str], bool] = lambda shown: re.search(r"\x1b\[[\d;]*3\d", shown) is not None  # noqa: E731
    assert coloured(on_a_terminal(tmp_path, words))
    assert not coloured(on_a_terminal(tmp_path, words, NO_COLOR="1"))
    piped = subprocess.run(command(*words), cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert "\x1b" not in piped.stdout + piped.stderr
