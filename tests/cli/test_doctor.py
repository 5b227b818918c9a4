"""`smoothscan doctor` says what holds, by trying."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from smoothscan.cli import health as module
from smoothscan.cli.health import EXTRAS, Found, configuration, extra, look, place
from smoothscan.errors import RegistryError
from smoothscan.sandbox.protections import protections
from smoothscan.sources import inventory

from .program import Digits, Run

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not protections().hold, reason="no sandbox holds here")
def test_a_machine_whose_sandbox_holds(smoothscan: Run, digits: Digits) -> None:
    done = smoothscan("doctor", "--strict", "--tracking-uri", digits.tracking_uri)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCEEDED" not in done.stdout
    assert done.stdout.count("stopped") == 12
    assert done.stdout.splitlines()[-1].startswith("The sandbox holds")


def test_a_machine_without_protections(smoothscan: Run) -> None:
    done = smoothscan("doctor", protected=False)
    assert done.returncode == 1, done.stderr
    for part in ("NOT held here: no network", "SUCCEEDED", "--allow-model-code", "bubblewrap", "libseccomp2"):
        assert part in done.stdout
    assert "Traceback" not in done.stderr


def health(**options: Any) -> dict[str, Found]:
    """What is found beside the sandbox, by topic."""
    values = {"config_file": None, "tracking_uri": None, "registry_uri": None, **options}
    return {each.topic: each for each in look(**values)}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and no MLflow that is set."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_machine_that_is_ready(here: Path, digits: Digits) -> None:
    found = health(tracking_uri=digits.tracking_uri)
    assert {each.state for each in found.values()} == {"ok"}
    assert "torch" in found["versions"].message
    assert "answers, and holds models" in found["registry"].message
    assert "no smoothscan.toml here" in found["configuration"].message
    assert "free" in found["output folder"].message
    assert list(here.iterdir()) == [], "nothing is left behind"


def test_a_registry_that_is_not_there_is_a_problem_where_it_was_named(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{here}/nowhere.db"
    named = health(tracking_uri=uri)["registry"]
    assert (named.state, "no MLflow database" in named.message) == ("problem", True)
    assert "--tracking-uri" in named.hint
    (here / "smoothscan.toml").write_text(f'tracking_uri = "{uri}"\n')
    assert health()["registry"].state == "problem"
    assert not (here / "nowhere.db").exists()
    monkeypatch.setattr(inventory, "client_of", lambda *_: (_ for _ in ()).throw(RegistryError("gone", "look")))
    (here / "smoothscan.toml").unlink()
    assert health()["registry"].state == "warning"


@pytest.mark.parametrize(
    ("text", "state", "message", "hint"),
    [
        ("profile = 'quick'\n", "ok", "smoothscan.toml is valid", ""),
        ("imags = 'x'\n", "problem", "unknown key: imags", "did you mean images?"),
        ("images = 'x'\nsynthesis_images = 3\nprofile = 'paper'\n", "problem", "makes its perturbations", "--help"),
        ("= 1", "problem", "cannot be read", "Mend"),
    ],
)
def test_the_configuration_file_is_read(text: str, state: str, message: str, hint: str, here: Path) -> None:
    (here / "smoothscan.toml").write_text(text)
    found, _ = configuration(None)
    assert found.state == state
    assert message in found.message
    assert hint in found.hint


def test_folders_that_cannot_be_written_to_and_disks_that_are_full(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = here / "file"
    file.touch()
    problem = place("cache", file / "below", "pass another")
    assert problem.state == "problem"
    assert "Not a directory" in problem.message
    assert "pass another" in problem.hint
    assert place("cache", here / "a" / "b", "x").state == "ok"
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    little = place("cache", here, "pass another")
    assert (little.state, "1 MiB free" in little.message) == ("warning", True)


def test_an_extra_that_is_missing_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "onnx2fx" else object())
    found = extra("onnx")
    assert "not installed" in found.message
    assert "pip install 'smoothscan[onnx]'" in found.hint
    assert "installed (ray" in extra("ray").message


@pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="needs the checkout")
def test_every_extra_is_known() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    users = {name for name in extras if name not in ("dev", "docs")}
    assert users == set(EXTRAS)
    for name in users:
        needed = {re.split(r"[<>=;\[]", requirement)[0].strip() for requirement in extras[name]}
        assert needed == {each.replace("_", "-") for each in EXTRAS[name][0]}


def test_everything_for_programs(smoothscan: Run) -> None:
    done = smoothscan("doctor", "--json", protected=False)
    assert done.returncode == 1, done.stderr
    data = json.loads(done.stdout)
    assert {each["state"] for each in data["checks"]} <= {"ok", "warning", "problem"}
    assert {"versions", "device", "registry", "cache"} <= {each["topic"] for each in data["checks"]}
    assert data["sandbox"]["holds"] is False
    assert all(set(each) == {"attempt", "stopped_by"} for each in data["sandbox"]["attempts"])
