"""`smoothscan sweep` and `serve` as users start them, with real scans."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from smoothscan.cli.settings import choices
from smoothscan.errors import ConfigError
from smoothscan.posture import Posture

from .program import ENVIRONMENT, Digits, Run, command

QUICK = ("--profile", "quick", "--spaces", "l2", "--value-range", "0,1", "--workers", "1")


def client_of(digits: Digits) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(digits.tracking_uri)


@pytest.fixture
def swept(digits: Digits) -> tuple[str, ...]:
    """Arguments of a sweep over a model of its own, which has two versions with the files of the digits."""
    client = client_of(digits)
    name = f"swept-{time.monotonic_ns()}"
    source = client.get_model_version_download_uri("digits", "1")
    client.create_registered_model(name)
    for _ in range(2):
        client.create_model_version(name, source=source)
    client.set_registered_model_alias(name, "champion", "2")
    return ("--name", name, "--tracking-uri", digits.tracking_uri, "--images", str(digits.images), *QUICK)


def posture(folder: Path) -> Posture:
    return Posture.model_validate_json((folder / "sweep.json").read_text())


def test_a_sweep_that_is_killed_goes_on_where_it_was(
    digits: Digits, swept: tuple[str, ...], smoothscan: Run, work: Path
) -> None:
    sweep = ("sweep", *swept, "--ledger", "ledger.db", "--output-dir", "out")
    name = swept[1]
    planned = smoothscan(*sweep, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "2 of 2 versions due: 2 never scanned" in planned.stdout
    assert planned.stdout.index(f"models:/{name}/2") < planned.stdout.index(f"models:/{name}/1"), "promoted first"
    assert not (work / "out").exists()

    first = subprocess.Popen(command(*sweep), cwd=work, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    assert first.stderr is not None
    for line in first.stderr:
        if "1/2" in line:
            break
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    done = smoothscan(*sweep)
    found = posture(work / "out")
    assert done.returncode == found.exit_code == 0, done.stderr
    assert {each.uri: (each.action, each.verdict, each.passed) for each in found.models} == {
        f"models:/{name}/1": ("scanned", "clean", True),
        f"models:/{name}/2": ("kept", "clean", True),
    }
    assert found.complete
    assert "no trigger found" in done.stdout
    assert "safe" not in done.stdout.replace("not proof that a model is safe", "")
    page = (work / "out" / "index.html").read_text()
    assert f'href="./{name}/1/report.html"' in page
    client = client_of(digits)
    experiment = client.get_experiment_by_name("smoothscan")
    scans = Counter(
        run.data.tags["smoothscan.model_version"]
        for run in client.search_runs([experiment.experiment_id], f"tags.`smoothscan.model_name` = '{name}'")
    )
    assert scans == {"1": 1, "2": 1}, "one run for each scan"
    summary = client.get_run(found.run_id)
    assert summary.info.status == "FINISHED"
    again = smoothscan(*sweep, "--quiet")
    assert (again.returncode, again.stderr) == (0, "")
    kept = posture(work / "out")
    assert {(each.action, each.before, each.change) for each in kept.models} == {("kept", "clean", None)}
    assert [past.versions for past in kept.history] == [2], "the sweep that was killed had not finished"


def test_a_registry_that_is_not_there_and_a_folder_in_use_are_told(
    smoothscan: Run, work: Path, digits: Digits, swept: tuple[str, ...]
) -> None:
    from smoothscan.fleet.folders import sweep_folder

    lost = smoothscan("sweep", "--images", digits.images, "--tracking-uri", "http://127.0.0.1:9", "--ledger", "l.db")
    assert lost.returncode == 3
    assert "did not answer" in lost.stderr
    with sweep_folder(work / "out"):
        busy = smoothscan("sweep", *swept, "--output-dir", "out", "--ledger", "l.db")
    assert busy.returncode == 2
    assert "Another sweep is writing to" in busy.stderr
    wrong = smoothscan("sweep", *swept[2:], "--filter", "nonsense", "--output-dir", "out", "--ledger", "l.db")
    assert wrong.returncode == 2
    assert "no search expression" in wrong.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[model]]\nseed = 1", "has no name"),
        ("[model]\nname = 'a'", "no list of tables"),
        ("sweep = 1", "sweep is not a table"),
        ("[[model]]\nname = 'a'\nsede = 1", "did you mean seed"),
    ],
)
def test_wrong_tables_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("smoothscan.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        choices({})
    assert said in f"{caught.value.message} {caught.value.hint}"


def test_the_section_of_the_sweep_is_read(digits: Digits, swept: tuple[str, ...], smoothscan: Run, work: Path) -> None:
    arguments = (*swept[2:6], "--dry-run")
    (work / "smoothscan.toml").write_text(f"[sweep]\nname = {json.dumps(swept[1])}\nledger = 'there.db'\n")
    done = smoothscan("sweep", *arguments)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 versions due" in done.stdout
    assert (work / "there.db").exists()
    (work / "smoothscan.toml").write_text("[sweep]\nworkesr = 1\n")
    wrong = smoothscan("sweep", *arguments)
    assert wrong.returncode == 2
    assert "sweep.workesr" in wrong.stderr
    assert "did you mean workers?" in wrong.stderr
