"""The tutorial, done step by step as its reader does it, the demo first. This is the test of the demo as well."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import python_api

from smoothscan.cli import demo_models

from .blocks import ROOT, Block, blocks_of

PAGE = ROOT / "docs" / "tutorial.md"

pytestmark = pytest.mark.timeout(900)  # the whole tutorial is one fixture
PROGRAM = f'#!/bin/sh\nexec "{sys.executable}" -m smoothscan "$@"\n'
PYTHON = f'#!/bin/sh\n[ "$2" = pip ] || exec "{sys.executable}" "$@"\n'  # what would install something does nothing


@dataclass(frozen=True)
class Step:
    """A block that was run."""

    block: Block
    said: str
    """What it wrote on standard output."""
    log: str
    """And on standard error."""
    code: int
    expected: Sequence[str]
    """Lines that the page shows below it."""


class Reader:
    """Types the blocks of a page into a shell, in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "programs"
        self.programs.mkdir()
        for name, text in (("smoothscan", PROGRAM), ("python", PYTHON)):
            (self.programs / name).write_text(text)
            (self.programs / name).chmod(0o755)
        self.work = folder / "work"
        self.work.mkdir()
        self.state = folder / "state"
        self.state.write_text(f"cd '{self.work}'\n")

    def run(self, block: Block) -> tuple[str, str, int]:
        """Run a block; the current folder and exported variables stay for the next one."""
        script = block.text if block.language == "sh" else f"python - <<'END'\n{block.text}END\n"
        keep = f'code=$?; {{ export -p; echo "cd \'$PWD\'"; }} > "{self.state}"; exit $code'
        environment = {**os.environ, "PATH": f"{self.programs}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-c", f'. "{self.state}"\n{script}\n{keep}'],
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            stdin=subprocess.DEVNULL,
        )
        return done.stdout, done.stderr, done.returncode


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(tmp_path_factory.mktemp("tutorial"))


@pytest.fixture(scope="module")
def steps(reader: Reader) -> list[Step]:
    """The tutorial from its beginning to its end, and then the example of the Python reference."""
    blocks = [*blocks_of("docs/tutorial.md", PAGE.read_text()), *blocks_of("python", python_api.HEAD)]
    found = []
    for number, block in enumerate(blocks):
        if block.language == "text":
            assert block.mark.startswith("output"), block
            continue
        below = blocks[number + 1] if number + 1 < len(blocks) else None
        expected = below.text.splitlines() if below is not None and below.language == "text" else []
        found.append(Step(block, *reader.run(block), expected))
    return found


@pytest.mark.slow
def test_the_demo_tells_the_two_models_apart(steps: list[Step], reader: Reader) -> None:
    demo = next(step for step in steps if "smoothscan demo" in step.block.text)
    assert demo.code == 0, demo.log + demo.said
    folder = reader.work / "smoothscan-demo"
    results = {n: json.loads((folder / n / "result.json").read_text()) for n in ("digits-clean", "digits-backdoored")}
    assert results["digits-clean"]["verdict"] == "clean"
    assert results["digits-backdoored"]["target_classes"] == [demo_models.TARGET]
    assert {path.name for path in reader.work.iterdir()} == {"smoothscan-demo"}, "everything is in the folder it names"
    assert len(list((folder / "images").glob("*.png"))) == 100
    for name in results:
        assert str(folder / name / "report.html") in demo.said
    assert f"mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db" in demo.said
    for stage in ("digits", "train", "register", "download", "invert", "write back"):
        assert f"] {stage}" in demo.log
    assert "INFO" not in demo.log
    assert "Warning" not in demo.log


def masked(line: str) -> str:
    """Return a line without its numbers and the widths of its columns: seeds repeat on one machine, not across them."""
    return re.sub(r"\s+", " ", re.sub(r"\d+\.\d+|\d+(?= %)", "#", line)).strip()


def agrees(expected: Sequence[str], said: str) -> bool:
    """Whether an output has the expected lines, in their order; `...` stands for any lines, none too."""
    lines = [masked(line) for line in said.splitlines()]
    at, free = 0, False
    for line in expected:
        if line == "...":
            free = True
            continue
        here = lines[at:] if free else lines[at : at + 1]
        if masked(line) not in here:
            return False
        at += here.index(masked(line)) + 1
        free = False
    return True


@pytest.mark.slow
def test_every_step_works_and_prints_what_the_page_shows(steps: list[Step]) -> None:
    assert len(steps) >= 6
    assert sum(bool(step.expected) for step in steps) >= 5
    for step in steps:
        assert step.code == 0, f"{step.block}: {step.log}"
        assert agrees(step.expected, step.said), f"{step.block}: the page shows {step.expected}, it said:\n{step.said}"


@pytest.mark.slow
def test_the_example_of_the_python_reference_works(steps: list[Step]) -> None:
    example = steps[-1]
    assert example.block.page == "python"
    assert example.said.startswith("clean 0."), example.log


def test_an_output_agrees_up_to_numbers_and_what_is_left_out() -> None:
    said = "model  m\nscore   0.25\nmore\nalias moved\n"
    assert agrees(["model m", "score 0.31", "...", "alias moved"], said)
    assert agrees(["...", "alias moved", "..."], said)
    assert not agrees(["model m", "alias moved"], said)
    assert not agrees(["...", "alias stays"], said)
    assert not agrees(["alias moved", "...", "model m"], said)
    assert not agrees(["model 7"], "model 8\n"), "whole numbers are classes and versions"
