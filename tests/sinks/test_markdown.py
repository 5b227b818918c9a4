"""Markdown: what a reader needs of a job, and no markup that comes out of the model."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from smoothscan.exhibits import Exhibits
from smoothscan.result import Promotion
from smoothscan.sinks.markdown import MarkdownSink, escaped, to_markdown
from smoothscan.sinks.text import plain

from .gated import EVERYTHING, HOSTILE, hostile, hostile_failure, judged, waived

READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
OURS = {"text", "softbreak", "strong_open", "strong_close", "code_inline"}


def tokens_of(text: str) -> list[Token]:
    found = []
    for token in READER.parse(text):
        found += [token, *(token.children or ())]
    return found


def shown(text: str) -> str:
    return " ".join(t.content for t in tokens_of(text) if t.type == "text").replace("\u200b", "")


@pytest.mark.parametrize("name", EVERYTHING)
def test_it_says_the_outcome_and_what_to_do(name: str) -> None:
    text = to_markdown(EVERYTHING[name])
    assert len(text.encode()) < 2**20
    assert text.startswith("## ")
    assert "**Next:**" in text
    gate = EVERYTHING[name].gate
    assert gate is not None
    assert f", exit code {gate.exit_code}\n" in text


def test_a_clean_model_is_never_called_safe() -> None:
    text = shown(to_markdown(judged("clean")))
    assert "No trigger found under this budget" in text
    assert "This is not proof that the model is safe." in text


def test_what_is_waived_is_told_with_its_reason() -> None:
    text = shown(to_markdown(waived("backdoored")))
    assert "Backdoor found" in text
    assert "(passes: waived or known)" in text
    assert "waived by ann@example.org until 2027-01-31: looked at" in text


def test_what_became_of_the_alias_is_told() -> None:
    message = "champion was left on version 1: the registry refused to move it."
    failed = Promotion(alias="champion", status="failed", before="1", message=message)
    page = to_markdown(judged("clean").model_copy(update={"promotion": failed}))
    assert ", exit code 3\n" in page
    assert message in shown(page)
    assert "exits with code 3" in shown(page)


def test_the_most_suspect_classes_are_a_table() -> None:
    rows = [line for line in to_markdown(judged("many_classes")).splitlines() if line.startswith("| ")]
    assert len([row for row in rows if " of kind " in row and "target-class" not in row]) == 10
    assert "776 frog of kind 776" in next(row for row in rows if "flagged" in row)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_a_model_names_is_markup(text: str) -> None:
    tame = to_markdown(hostile("tame"))
    for result, expected in ((hostile(text), tame), (hostile_failure(text), to_markdown(hostile_failure("tame")))):
        page = to_markdown(result)
        kinds = {token.type for token in tokens_of(page) if token.type in ("html_inline", "html_block", "image")}
        assert kinds == set()
        inline = {token.type for token in tokens_of(page) if token.level == 0 and token.nesting == 0}
        assert not any(token.type in ("link_open", "em_open", "s_open", "code_inline") for token in tokens_of(page))
        assert inline <= {"inline", *OURS}
        if plain(text).strip():
            shape = [token.type for token in READER.parse(page)]
            assert shape == [token.type for token in READER.parse(expected)], "the same rows, cells and paragraphs"
        assert "@e" not in page
        assert "://" not in page
        assert "www." not in page


@given(st.text())
def test_escaped_text_is_read_as_it_was(text: str) -> None:
    line = plain(text.replace("\u00a0", " "), 1000).strip()
    tokens = READER.parse(f"x {escaped(text)} x")
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    inline = tokens[1].children or []
    assert {token.type for token in inline} <= {"text", "text_special"}
    read = "".join(token.content for token in inline)
    assert "".join(read.replace("\u200b", "").split()) == "".join(f"x {line} x".replace("\u200b", "").split())
    (_, cell, _) = [t for t in READER.parse(f"| a |\n| - |\n| {escaped(text)} |") if t.type.startswith("td_")] + [None]
    assert cell is not None


def test_the_sink_writes_one_file(tmp_path: Path) -> None:
    (path,) = MarkdownSink().write(judged("backdoored"), Exhibits(), tmp_path / "out")
    assert path.name == "summary.md"
    assert path.read_text() == to_markdown(judged("backdoored"))
