"""The package from outside: its facade, what importing it costs, and what is in the wheel."""

from __future__ import annotations

import configparser
import importlib.util
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import smoothscan

ROOT = Path(__file__).parents[1]

needs_checkout = pytest.mark.skipif(not (ROOT / "smoothscan").is_dir(), reason="needs the checkout, not only the wheel")


def test_the_facade_is_sorted_and_complete() -> None:
    exported = smoothscan.__all__
    assert list(exported) == sorted(exported)
    for name in exported:
        assert getattr(smoothscan, name) is not None, name
    assert set(exported) <= set(dir(smoothscan))


def test_importing_the_package_loads_nothing_heavy(tmp_path: Path) -> None:
    code = "import json, sys, smoothscan; print(json.dumps(sorted({n.partition('.')[0] for n in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert {"torch", "mlflow"} & set(json.loads(done.stdout)) == set()


def test_the_package_starts_as_a_module_and_as_a_program(tmp_path: Path) -> None:
    expected = f"smoothscan {smoothscan.__version__}\n"
    program = Path(sys.executable).with_name("smoothscan")
    for start in ([sys.executable, "-m", "smoothscan"], [str(program)]):
        done = subprocess.run([*start, "--version"], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, expected), start


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of the checkout."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("needs hatchling, to build without a download")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


@needs_checkout
def test_the_wheel_holds_code_templates_types_and_schema(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    about = f"smoothscan-{smoothscan.__version__}.dist-info"
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "smoothscan").rglob("*.py")} <= names
    templates = {f"smoothscan/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "templates").rglob("*.*")}
    assert templates, "there are templates to ship"
    assert templates | {"smoothscan/py.typed", "smoothscan/result.schema.json", "smoothscan/sweep.schema.json"} <= names
    plugins = {path.relative_to(ROOT / "plugins").as_posix() for path in (ROOT / "plugins").rglob("*.py")}
    assert "mlflow_smoothscan/evaluator.py" in plugins
    assert plugins <= names
    packages = ("smoothscan/", "mlflow_smoothscan/", f"{about}/")
    assert [name for name in names if not name.startswith(packages)] == []
    assert not any("__pycache__" in name for name in names)
    entry_points = configparser.ConfigParser()
    entry_points.read_string(wheel.read(f"{about}/entry_points.txt").decode())
    assert entry_points["console_scripts"]["smoothscan"] == "smoothscan.cli.main:main"
    assert entry_points["mlflow.model_evaluator"]["smoothscan"] == "mlflow_smoothscan:SmoothscanEvaluator"
    assert "License-Expression: Apache-2.0" in wheel.read(f"{about}/METADATA").decode()


@needs_checkout
def test_the_wheel_finds_its_templates_in_itself(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = "import smoothscan, smoothscan.sinks.page as p; print(smoothscan.__file__); print(p.template_folder())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(Path(line).is_relative_to(tmp_path) for line in done.stdout.splitlines()), done.stdout


@needs_checkout
def test_ci_runs_the_test_command_of_the_readme() -> None:
    done = subprocess.run([str(ROOT / ".ci" / "run"), "--print"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in (ROOT / "README.md").read_text()
    assert "make check" in done.stdout
    assert "'.[dev]'" in done.stdout


@needs_checkout
def test_the_changelog_knows_this_version_and_python_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    versions = [
        c.rpartition(" ")[2] for c in project["classifiers"] if c.startswith("Programming Language :: Python :: 3.")
    ]
    assert versions
    assert f"python: {json.dumps(versions)}" in workflow, "CI tests every version that the package claims"
    assert project["requires-python"] == f">={versions[0]}"
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert "## Unreleased" in changelog or f"## {smoothscan.__version__}" in changelog
