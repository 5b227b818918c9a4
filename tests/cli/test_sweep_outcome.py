from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from smoothscan.cli import summary
from smoothscan.cli.summary import show_posture
from smoothscan.cli.sweep_outcome import as_text, left_out, rows
from smoothscan.posture import Posture
from tests.sinks.postures import POSTURES, flagged, mixed, posture, registry_of, standing, unscanned

FOLDER = Path("out")


def lines_of(sweep: Posture) -> list[str]:
    return as_text(sweep, FOLDER).splitlines()


def test_one_line_for_each_version_that_needs_attention_and_a_count_of_the_rest() -> None:
    lines = lines_of(mixed())
    assert lines[:6] == [
        "warning  This sweep is incomplete: 3 versions are due and were not reached.",
        "registry http://mlflow.example:5000",
        "versions 40: 19 scanned now, 18 still valid, 3 not reached",
        "verdicts 2 backdoored and 1 suspicious (1 waived); 3 failed, 1 inconclusive, 1 unsupported, 2 never scanned; "
        "no trigger found in 30.",
        "promoted models:/retail-shelf/21 @champion: no scan holds",
        "promoted models:/retail-shelf/20 @previous: no scan holds",
    ]
    table = lines[lines.index("") + 1 :]
    assert table[0].split() == ["model", "verdict", "score", "q", "target", "class", "why"]
    assert table[1].startswith("traffic-signs 7    backdoored          0.830  0.014  no entry       Class 3")
    assert "defect-detector 3  backdoored, waived" in table[2]
    assert [line.split("  ")[0] for line in table[1:10]] == [
        "traffic-signs 7", "defect-detector 3", "x-ray-triage 12", "plant-disease 4", "parking-spots 1",
        "plant-disease 5", "parking-spots 2", "retail-shelf 21", "retail-shelf 22",
    ]  # fmt: skip
    assert table[10] == "not listed: 1 unsupported, 30 no trigger found"


def test_what_follows_the_table_says_where_things_are_and_what_to_do() -> None:
    text = as_text(mixed(), FOLDER)
    for line in (
        "fdr      Of 33 versions with a p-value, 2 stand out at a false discovery rate of 5 %",
        "registry 1 result not written back",
        "page     out/index.html",
        "data     out/sweep.json",
        "run      7d3e5d7f9b1a2c0c4b1f7a9d2e4b6f8a",
        "next     Do not deploy a flagged version before a person has looked at its report.",
    ):
        assert f"\n{line}" in text
    assert text.endswith("The sweep exits with code 1.")


def test_a_sweep_without_findings_is_short_and_calls_nothing_safe() -> None:
    text = as_text(POSTURES["one_clean"](), FOLDER)
    assert "verdicts No trigger found in 1." in text
    assert "not listed: 1 no trigger found" in text
    assert "“No trigger found” is not proof that a model is safe. The sweep exits with code 0." in text
    assert "why" not in text
    assert "warning" not in text
    assert "promoted" not in text


def test_an_empty_selection_says_so() -> None:
    text = as_text(POSTURES["empty"](), FOLDER)
    assert "The selection picks no version" in text
    assert "not listed" not in text


def test_no_flagged_version_is_left_out_and_the_others_are_counted() -> None:
    sweep = registry_of(3000)
    shown = rows(sweep)
    assert sum(row.flagged for row in shown) == len(shown) == 75
    assert left_out(sweep) == "not listed: 225 more to look at, 2,700 no trigger found"
    few = posture([unscanned("a", str(n)) for n in range(43)])
    assert (len(rows(few)), left_out(few)) == (40, "not listed: 3 more to look at")
    assert "promoted and 40 more without a scan that holds" in as_text(sweep, FOLDER)


def test_a_waived_version_is_listed_but_not_marked() -> None:
    waived = flagged("a", "1", waived=1, passed=True, exit_code=0)
    (row,) = rows(posture([waived, standing("a", "2")]))
    assert (row.cells[1], row.flagged) == ("backdoored, waived", False)
    assert "Do not deploy" not in as_text(posture([waived]), FOLDER)


def test_nothing_hostile_reaches_the_terminal() -> None:
    text = as_text(POSTURES["hostile"](), FOLDER)
    assert not {c for c in text if not c.isprintable() and c != "\n"} - set("\u200d")
    assert max(len(cell) for row in rows(POSTURES["hostile"]()) for cell in row.cells) < 80


@pytest.mark.parametrize("name", sorted(POSTURES))
def test_a_pipe_gets_plain_lines_and_a_terminal_a_table(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = POSTURES[name]()
    show_posture(sweep, FOLDER)
    assert capsys.readouterr().out == as_text(sweep, FOLDER) + "\n"

    stream = io.StringIO()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(
        summary, "Console", lambda **options: Console(file=stream, width=160, force_terminal=True, **options)
    )
    show_posture(sweep, FOLDER)
    drawn = stream.getvalue()
    assert "out/index.html" in drawn
    assert f"exits with code {sweep.exit_code}" in drawn.replace("\n", " ")
    assert "\x1b]0;x" not in drawn
    assert "\x1b[2J" not in drawn
