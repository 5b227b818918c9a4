"""A scan that is stopped goes on from there; one that was done is not done again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .program import ENVIRONMENT, Digits, Run, command

PIECES = 8
"""Pieces of a scan that are there when it is stopped."""


def read(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def found(result: dict[str, Any]) -> dict[str, Any]:
    """What a scan found: its result without times, memory and where it was written to."""
    kept = {key: value for key, value in result.items() if key not in ("started_at", "finished_at", "write_back")}
    kept["cost"] = {"model_passes": result["cost"]["model_passes"]}
    varying = ("output_dir", "cache", "cache_dir", "time_budget")
    kept["config"] = {key: value for key, value in result["config"].items() if key not in varying}
    return kept


@pytest.fixture
def stopped(work: Path, digits: Digits) -> Callable[[signal.Signals], subprocess.CompletedProcess[str]]:
    """Stops a scan in the middle of its search."""

    def stop(number: signal.Signals) -> subprocess.CompletedProcess[str]:
        words = command("check", *digits.arguments, "--no-write-back", "--output-dir", "out", "--cache-dir", "kept")
        process = subprocess.Popen(
            words, cwd=work, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while len(list((work / "kept").rglob("rounds/*/*.safetensors"))) < PIECES:
            assert process.poll() is None, "the scan ended before it could be stopped"
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert not (work / "out" / "result.json").exists()
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    return stop


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_stopped_scan_goes_on_to_the_same_result(
    smoothscan: Run,
    work: Path,
    digits: Digits,
    stopped: Callable[[signal.Signals], subprocess.CompletedProcess[str]],
    number: signal.Signals,
) -> None:
    first = stopped(number)
    if number == signal.SIGINT:
        assert first.returncode == 130
        assert first.stderr.splitlines()[-1] == (
            "stopped; what was found is kept, and the same command goes on from there"
        )
    pieces = set((work / "kept").rglob("rounds/*/*.safetensors"))
    times = {path: path.stat().st_mtime_ns for path in pieces}

    # once more, cut short by a time budget, so that the pieces can be looked at
    again = [*digits.arguments, "--no-write-back", "--cache-dir", "kept"]
    cut = smoothscan("check", *again, "--output-dir", "cut", "--time-budget", "1s")
    assert cut.returncode == 4, cut.stderr
    assert "] resume: this scan was stopped before" in cut.stderr
    assert {path: path.stat().st_mtime_ns for path in pieces} == times, "nothing was done twice"

    done = smoothscan("check", *again, "--output-dir", "out")
    plain = smoothscan("check", *digits.arguments, "--no-write-back", "--no-cache", "--output-dir", "plain")
    assert done.returncode == plain.returncode, done.stderr
    assert "] resume: this scan was stopped before" in done.stderr
    assert found(read(work / "out")) == found(read(work / "plain"))
    for name in ("perturbations", "perturbations/class_0003.safetensors"):
        assert (work / "out" / name).exists()
    same = [(work / name / "perturbations/class_0003.safetensors").read_bytes() for name in ("out", "plain")]
    assert same[0] == same[1]


def test_the_same_scan_again_is_read_and_not_done(smoothscan: Run, work: Path, digits: Digits) -> None:
    options = [*digits.arguments, "--profile", "quick", "--cache-dir", "kept"]
    first = smoothscan("check", *options, "--output-dir", "first")
    again = smoothscan("check", *options, "--output-dir", "again", "--redact-images")
    assert again.returncode == first.returncode
    assert "] recall: the same scan was done " in again.stderr
    assert "] invert" not in again.stderr
    before, after = read(work / "first"), read(work / "again")
    assert (before["recalled"], after["recalled"]) == (False, True)
    assert after["cost"] == before["cost"]
    assert after["finished_at"] == before["finished_at"]
    assert found({**after, "recalled": False})["classes"] == found(before)["classes"]
    assert "--no-cache" in again.stdout, "the result says that it is not new"
    assert after["write_back"]["tagged"], "the registry is told all the same"
    assert {path.name for path in (work / "first/perturbations").iterdir()} == {
        path.name for path in (work / "again/perturbations").iterdir()
    }
    assert "data:image" in (work / "again/report.html").read_text()

    for changed in (["--seed", "1"], ["--no-cache"]):
        third = smoothscan("check", *options, "--output-dir", "third", *changed, "--no-write-back")
        assert "] invert" in third.stderr
        assert not read(work / "third")["recalled"]


def test_redacted_scans_keep_no_images(smoothscan: Run, work: Path, digits: Digits) -> None:
    options = [*digits.arguments, "--profile", "quick", "--cache-dir", "kept", "--no-write-back", "--redact-images"]
    smoothscan("check", *options)
    assert not list((work / "kept").rglob("scan.safetensors"))


def test_a_time_budget_is_kept_and_says_what_is_missing(smoothscan: Run, work: Path, digits: Digits) -> None:
    began = time.monotonic()
    done = smoothscan("check", *digits.arguments, "--no-write-back", "--output-dir", "out", "--time-budget", "1s")
    result = read(work / "out")
    assert done.returncode == 4, done.stderr
    assert (result["status"], result["verdict"]) == ("completed", "inconclusive")
    assert result["error"]["type"] == "TimeBudgetError"
    assert "goes on from there" in result["error"]["hint"]
    assert result["coverage"]["classes_examined"] == 0
    assert time.monotonic() - began < 60


def test_scans_are_kept_in_the_users_folder_of_caches(smoothscan: Run, digits: Digits) -> None:
    smoothscan("check", *digits.arguments, "--profile", "quick", "--no-write-back")
    (folder,) = (Path(os.environ["XDG_CACHE_HOME"]) / "smoothscan" / "scans").iterdir()
    assert (folder / "scan.safetensors").exists()
    assert folder.stat().st_mode & 0o077 == 0, "nobody else may look at the images"


def test_a_full_disk_is_one_message_and_what_is_there_stays(smoothscan: Run, work: Path, digits: Digits) -> None:
    code = (
        "import pathlib, sys\n"
        "opened, count = pathlib.Path.open, []\n"
        "def full(path, *mode, **more):\n"
        "    if 'rounds' in path.parts:\n"
        "        count.append(path)\n"
        "        if len(count) > 3: raise OSError(28, 'No space left on device')\n"
        "    return opened(path, *mode, **more)\n"
        "pathlib.Path.open = full\n"
        "from smoothscan.cli.main import main\n"
        f"sys.argv = ['smoothscan', 'check', *{digits.arguments!r}, '--no-write-back', '--cache-dir', 'kept', '-q']\n"
        "main()\n"
    )
    done = subprocess.run(
        [command()[0], "-c", code], cwd=work, env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 3, done.stderr
    result = read(work / "smoothscan-report")
    assert "No space left on device" in result["error"]["message"]
    assert "--cache-dir" in result["error"]["hint"]
    assert len(list((work / "kept").rglob("*.safetensors"))) == 3
    more = smoothscan("check", *digits.arguments, "--no-write-back", "--cache-dir", "kept")
    assert more.returncode in (0, 1)
    assert "] resume" in more.stderr
