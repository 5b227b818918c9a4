"""Who reads the output may go away before its end; that changes no verdict and no exit code."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from smoothscan.exhibits import Exhibits
from smoothscan.gate import judge
from smoothscan.sinks.advice import exit_code
from smoothscan.sinks.json_file import JsonSink
from tests.sinks.samples import SAMPLES

from .program import ENVIRONMENT, Digits, command


def unread(words: list[str], folder: Path, *, log: bool = True) -> tuple[int, str]:
    """Run a command whose output nobody reads; return its exit code and what it said on standard error.

    Args:
        words: the command.
        folder: where it runs.
        log: whether somebody reads standard error.
    """
    reader, writer = os.pipe()
    os.close(reader)  # as `| true` does, but at once
    done = subprocess.run(
        words,
        cwd=folder,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE if log else writer,
        text=True,
        timeout=120,
    )
    os.close(writer)
    return done.returncode, done.stderr or ""


@pytest.mark.parametrize("name", ["clean", "backdoored", "failed"])
def test_a_result_that_nobody_reads_to_its_end_keeps_its_exit_code(name: str, tmp_path: Path) -> None:
    result = SAMPLES[name]().result
    JsonSink().write(result, Exhibits(), tmp_path)
    words = ["report", tmp_path / "result.json", "--explain"]
    expected = exit_code(judge(result))
    code, said = unread(command(*words), tmp_path)
    assert (code, "Traceback" in said, "Exception" in said) == (expected, False, False)
    unbuffered = [sys.executable, "-u", *command(*words)[1:]]
    assert unread(unbuffered, tmp_path)[0] == expected
    assert unread(command(*words), tmp_path, log=False)[0] == expected


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")
def test_a_full_disk_is_no_bug(tmp_path: Path) -> None:
    JsonSink().write(SAMPLES["clean"]().result, Exhibits(), tmp_path)
    with Path("/dev/full").open("wb") as full:
        words = command("report", tmp_path / "result.json")
        done = subprocess.run(words, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 3, "who reads the output has not got it"
    assert "could not be written: No space left on device" in done.stderr
    assert "bug" not in done.stderr
    assert "Exception" not in done.stderr


def test_a_result_keeps_its_exit_code_where_there_is_no_output_at_all(tmp_path: Path) -> None:
    result = SAMPLES["clean"]().result
    JsonSink().write(result, Exhibits(), tmp_path)
    line = f"{shlex.join(command('report', tmp_path / 'result.json', '--explain'))} >&-"
    done = subprocess.run(["sh", "-c", line], env=ENVIRONMENT, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (exit_code(judge(result)), "")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["check", "--help"]])
def test_help_that_nobody_reads_to_its_end_is_no_error(words: list[str], tmp_path: Path) -> None:
    assert unread(command(*words), tmp_path) == (0, "")


def test_a_wrong_command_stays_one_where_nobody_reads_the_error(tmp_path: Path) -> None:
    assert unread(command("chekc"), tmp_path, log=False)[0] == 2


def test_a_scan_whose_output_nobody_reads_ends_as_it_would(tmp_path: Path, digits: Digits) -> None:
    options = ["--profile", "quick", "--no-write-back", "--progress", "json"]
    code, said = unread(command("check", *digits.arguments, *options), tmp_path)
    result = json.loads((tmp_path / "smoothscan-report" / "result.json").read_text())
    assert result["status"] == "completed"
    assert code == result["gate"]["exit_code"]
    last = json.loads(said.splitlines()[-1])
    assert (last["event"], last["exit_code"]) == ("end", code)


def test_without_buffers_everything_is_written_at_once(tmp_path: Path) -> None:
    words = [sys.executable, "-u", *command("--version")[1:]]
    done = subprocess.run(words, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.startswith("smoothscan ")) == (0, True)
