from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import yaml

from tests.examples.workbench import EXAMPLES, ROOT, Workbench, with_path


def hook() -> dict[str, Any]:
    (declared,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    return dict(declared)


def example() -> dict[str, Any]:
    (repository,) = yaml.safe_load((EXAMPLES / "pre-commit-config.yaml").read_text())["repos"]
    (used,) = repository["hooks"]
    return dict(used)


def push(bench: Workbench, path: str, settings: dict[str, Any]) -> int:
    """Let pre-commit run the hook in a repository where one file has changed; return its exit code."""
    # As in the manifest, but for the installation, which would take the network and minutes.
    local = {**hook(), **settings, "language": "system", "additional_dependencies": []}
    (bench.work / ".pre-commit-config.yaml").write_text(
        yaml.safe_dump({"repos": [{"repo": "local", "hooks": [local]}]})
    )
    file = bench.work / path
    file.parent.mkdir(parents=True)
    file.touch()
    environment = {**with_path(bench), **bench.environment, "PRE_COMMIT_HOME": str(bench.folder / "cache")}
    environment["PATH"] = with_path(bench)["PATH"]
    subprocess.run(["git", "init", "-q"], cwd=bench.work, env=environment, check=True)
    command = [sys.executable, "-m", "pre_commit", "run", "--hook-stage", "pre-push", "--files", path]
    done = subprocess.run(command, cwd=bench.work, env=environment, capture_output=True, text=True)
    assert hook()["name"] in done.stdout, done.stdout + done.stderr
    return done.returncode


@pytest.mark.parametrize(
    ("path", "code", "scans"),
    [
        ("models/traffic-signs/data/model.pt2", 0, 1),
        ("models/traffic-signs/MLmodel", 1, 1),
        ("clean-images/1.png", 3, 1),
        ("src/train.py", 1, 0),
    ],
)
def test_a_push_is_held_back_when_the_scan_does_not_pass(bench: Workbench, path: str, code: int, scans: int) -> None:
    bench.ends_with(code)
    assert (push(bench, path, example()) == 0) == (code == 0 or not scans)
    scan = ["check", "models/traffic-signs", "--images", "clean-images", "--profile", "quick"]
    assert bench.scans == [scan] * scans


@pytest.mark.parametrize(("path", "scans"), [("any/model.safetensors", 1), ("any/model.txt", 0)])
def test_by_itself_the_hook_looks_at_files_of_models(bench: Workbench, path: str, scans: int) -> None:
    push(bench, path, {"args": ["any", "--images", "clean"]})
    assert len(bench.scans) == scans


def test_the_example_pins_what_the_constraints_pin() -> None:
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    (torch,) = example()["additional_dependencies"]
    assert torch.startswith("torch==")
    assert torch in pinned
