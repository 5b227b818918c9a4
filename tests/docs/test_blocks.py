"""Every code block of the documents is run, or read by what reads such files; nothing is left out without a reason."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import click
import commands
import configuration
import pytest
import yaml

from smoothscan.cli.settings import choices
from smoothscan.cli.sweep import sweep
from smoothscan.cli.sweep_table import with_table
from smoothscan.sources.waivers import read_waivers

from . import shell
from .blocks import ROOT, Block, blocks, blocks_of

ACTION = ROOT / ".github" / "actions" / "smoothscan" / "action.yml"

ELSEWHERE = {
    ("docs/evaluator.md", "python"): "tests/plugins/test_evaluator.py",
    ("docs/python.md", "python"): "tests/test_python_docs.py",
    ("docs/serve.md", "python"): "tests/serve/test_mlflow.py",
    ("docs/tutorial.md", "python"): "tests/docs/test_tutorial.py",
    ("docs/tutorial.md", "sh"): "tests/docs/test_tutorial.py",
    ("docs/tutorial.md", "text"): "tests/docs/test_tutorial.py",
}
"""Blocks that a test of their own runs: it needs a server, or models that were trained."""

DRAWINGS = {("docs/architecture.md", ""): "a drawing of the flow of a scan"}
"""Blocks that are no code at all."""

SHOWN = "shown: "
"""How the comment begins that stands above a block of text and says why it is compared with nothing."""


def _id(block: Block) -> str:
    return f"{block.page}-{block.line}"


def _generated() -> list[Block]:
    """The commands and files in the pages that are made of the code; their texts are the code's own words."""
    made = {"reference/cli.md": commands.page(), "reference/configuration.md": configuration.page()}
    found = [block for page, text in made.items() for block in blocks_of(page, text)]
    return [block for block in found if block.language in ("sh", "toml")]


def _own(block: Block) -> bool:
    return (block.page, block.language) not in ELSEWHERE.keys() | DRAWINGS.keys()


ALL = [*(block for block in blocks() if _own(block)), *_generated()]


@pytest.mark.parametrize("block", ALL, ids=_id)
def test_a_block_works(block: Block, tmp_path: Path) -> None:
    assert block.language in RUNNERS, f"{block}: say the language of the block, or write a runner for it"
    RUNNERS[block.language](block, tmp_path)


def of_shell(block: Block, folder: Path) -> None:
    bench = shell.prepared(folder)
    called = len(re.findall(r"^\s*smoothscan |[&|;(]\s*smoothscan ", block.text, re.MULTILINE))
    assert len(shell.run(bench, block.text)) == called, f"{block}: not every call of smoothscan was made"


def of_toml(block: Block, folder: Path) -> None:
    table = tomllib.loads(block.text)
    file = folder / "smoothscan.toml"
    file.write_text(block.text)
    if "waiver" in table:
        assert read_waivers(file)
        return
    names = [each["name"] for each in table.get("model", [])]
    for labels in (each["labels"] for each in [table, *table.get("model", [])] if "labels" in each):
        (folder / labels).write_text("stop\nyield\n")
    with chdir(folder):
        read = choices({})
        for name in [*names, "other"]:
            read.of(f"models:/{name.replace('*', 'x')}/1")
        with_table(sweep.make_context("sweep", []), read, sweep)


def of_yaml(block: Block, folder: Path) -> None:
    data = yaml.safe_load(block.text)
    if block.mark.startswith("from "):
        text = (ROOT / block.mark.removeprefix("from ")).read_text()
        lines = [line.strip() for line in block.text.strip().splitlines()]
        assert "\n".join(lines) in "\n".join(line.strip() for line in text.splitlines()), f"{block} is quoted wrongly"
        return
    inputs = yaml.safe_load(ACTION.read_text())["inputs"]
    needed = {name for name, about in inputs.items() if about.get("required")}
    for step in data:
        assert "/.github/actions/smoothscan@" in step["uses"]
        assert needed <= step["with"].keys() <= inputs.keys(), block


def of_json(block: Block, folder: Path) -> None:
    """A document, or lines of documents, as `--progress json` writes them."""
    try:
        json.loads(block.text)
    except ValueError:
        for line in block.text.splitlines():
            json.loads(line)


def of_python(block: Block, folder: Path) -> None:
    pytest.fail(f"{block}: name in ELSEWHERE the test that runs it with the models that it needs")


def of_text(block: Block, folder: Path) -> None:
    assert len(block.mark.removeprefix(SHOWN)) > 8, f"{block}: a comment above has to say why it is not compared"
    assert block.mark.startswith(SHOWN), block


RUNNERS: dict[str, Callable[[Block, Path], Any]] = {
    "json": of_json,
    "python": of_python,
    "sh": of_shell,
    "text": of_text,
    "toml": of_toml,
    "yaml": of_yaml,
}


def test_blocks_that_others_run_are_there_and_run() -> None:
    present = {(block.page, block.language) for block in blocks()}
    assert ELSEWHERE.keys() <= present
    assert DRAWINGS.keys() <= present
    for (page, _), test in ELSEWHERE.items():
        assert f'"{Path(page).name}"' in (ROOT / test).read_text(), f"{test} does not read {page}"


def test_what_does_not_work_is_noticed(tmp_path: Path) -> None:
    def check(language: str, text: str, number: int) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        RUNNERS[language](Block("a.md", 1, language, text, ""), folder)

    wrong = [
        ("sh", "smoothscan check models:/m/1 --image clean-images/\n", click.UsageError),
        ("sh", "smoothscan chek models:/m/1\n", click.UsageError),
        ("sh", "smoothscan denoiser trian\n", click.UsageError),
        ("sh", "smoothscan check models:/m/1 --images clean-images/ --mean 0.5\n", Exception),
        ("sh", "no-such-program\n", AssertionError),
        ("sh", "if true; then\n", AssertionError),
        ("toml", "imges = 'x'\n", Exception),
        ("toml", "images = 'x'\n[sweep]\nworker = 1\n", Exception),
        ("toml", "[[waiver]]\nclass = 1\n", Exception),
        ("yaml", "- uses: o/r/.github/actions/smoothscan@1\n  with: {model: m}\n", AssertionError),
        ("yaml", "- uses: [\n", yaml.YAMLError),
        ("json", "{", ValueError),
        ("text", "anything\n", AssertionError),
    ]
    for number, (language, text, error) in enumerate(wrong):
        with pytest.raises(error):
            check(language, text, number)


def test_a_block_is_found_wherever_it_stands() -> None:
    text = "- a list\n\n    ```sh\n    ls\n    ```\n\n<!-- shown: x -->\n```text\nout\n```\n\n    indented\n"
    found = [(block.language, block.text, block.mark) for block in blocks_of("a.md", text)]
    assert found == [("sh", "ls\n", ""), ("text", "out\n", "shown: x"), ("", "indented\n", "")]
