"""Every example file is known here, linted by a linter of its kind, and named in a page of the documentation."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from tests.examples import github, test_containers, test_gitlab
from tests.examples.workbench import EXAMPLES, ROOT

EXERCISED = {
    ".github/actions/install/action.yml": "examples/test_github.py",
    ".github/actions/smoothscan/action.yml": "examples/test_github.py",
    ".github/workflows/ci.yml": "examples/test_github.py",
    ".github/workflows/docs.yml": "examples/test_github.py",
    ".github/workflows/gate.yml": "examples/test_github.py",
    ".github/workflows/sweep.yml": "examples/test_github.py",
    ".github/zizmor.yml": "examples/test_lint.py",
    ".pre-commit-hooks.yaml": "examples/test_pre_commit.py",
    "docs/examples/Dockerfile": "examples/test_containers.py",
    "docs/examples/airflow_dag.py": "examples/test_orchestrators.py",
    "docs/examples/github-gate.yml": "examples/test_github.py",
    "docs/examples/github-nightly.yml": "examples/test_github.py",
    "docs/examples/github-promote.yml": "examples/test_github.py",
    "docs/examples/gitlab-ci.yml": "examples/test_gitlab.py",
    "docs/examples/kubernetes-cronjob.yaml": "examples/test_containers.py",
    "docs/examples/pre-commit-config.yaml": "examples/test_pre_commit.py",
    "docs/examples/prefect_flow.py": "examples/test_orchestrators.py",
}
"""Which test runs what is in a file."""

PAGE = ROOT / "docs" / "ci.md"
_BLOCK = re.compile(r"(?:<!-- from (\S+) -->\n)?```\w*\n(.*?)```", re.DOTALL)


def lint(*command: object, text: str | None = None, about: str = "") -> None:
    """Run a linter; fail with what it says."""
    done = subprocess.run([*map(str, command)], cwd=ROOT, input=text, capture_output=True, text=True)
    assert done.returncode == 0, about + done.stdout + done.stderr


def program(name: str) -> Path:
    return Path(sys.executable).with_name(name)


def names(kind: str) -> list[str]:
    """The files under a folder, or whose path fits a pattern."""
    return [name for name in EXERCISED if re.search(kind, name)]


def test_every_example_is_run_by_a_test() -> None:
    files = [path for folder in (ROOT / ".github", EXAMPLES) for path in folder.rglob("*") if path.is_file()]
    found = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    assert found | {".pre-commit-hooks.yaml"} == EXERCISED.keys()
    for name, test in EXERCISED.items():
        text = (ROOT / "tests" / test).read_text()
        parts = {Path(name).name, Path(name).parent.name} if Path(name).name == "action.yml" else {Path(name).name}
        assert all(f'"{part}"' in text or f"/{part}" in text for part in parts), f"{test} does not touch {name}"


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ("vendor.github-workflows", r"workflows/|examples/github-"),
        ("vendor.github-actions", r"actions/"),
        ("vendor.gitlab-ci", r"gitlab"),
    ],
)
def test_pipelines_fit_the_schema_of_their_vendor(schema: str, kind: str) -> None:
    lint(sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *names(kind))


def test_workflows_and_actions_are_safe() -> None:
    offline = ["--offline", "--no-progress", "--strict-collection", "--config", ".github/zizmor.yml"]
    lint(program("zizmor"), *offline, *names(r"workflows/|actions/|examples/github-|hooks"))


def test_the_dockerfile_is_sound() -> None:
    lint(program("hadolint"), EXAMPLES / "Dockerfile")


def test_the_manifest_and_the_configuration_of_pre_commit_are_valid() -> None:
    lint(sys.executable, "-m", "pre_commit", "validate-manifest", ".pre-commit-hooks.yaml")
    lint(sys.executable, "-m", "pre_commit", "validate-config", EXAMPLES / "pre-commit-config.yaml")


def test_kubernetes_knows_every_field() -> None:
    import kubernetes_validate

    documents = list(yaml.safe_load_all((EXAMPLES / "kubernetes-cronjob.yaml").read_text()))
    for document in documents:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    assert [document["kind"] for document in documents] == ["PersistentVolumeClaim", "CronJob"]


def scripts() -> dict[str, tuple[str, str]]:
    """Every script of the examples with its shell, by where it stands."""
    found = {}
    for name in names(r"workflows/|actions/|examples/github-"):
        for number, script in enumerate(github.scripts(github.load(ROOT / name))):
            found[f"{name} {number}"] = ("bash", script)
    for job in ("smoothscan-gate", "smoothscan-sweep"):
        found[f"gitlab-ci.yml {job}"] = ("sh", "\n".join(test_gitlab.job(job)["script"]))
    for number, (kind, rest) in enumerate(test_containers.instructions()):
        if kind == "RUN":
            found[f"Dockerfile {number}"] = ("sh", re.sub(r"^(--\S+\s+)+", "", rest))
    return found


def test_shellcheck_has_nothing_to_say() -> None:
    for name, (shell, script) in scripts().items():
        # Every one of them is run with -e. What a script does not set comes from its environment.
        lint(program("shellcheck"), "--shell", shell, "--exclude", "SC2154", "-", text=f"set -e\n{script}", about=name)


def test_the_page_names_every_example_and_quotes_them_word_by_word() -> None:
    page = PAGE.read_text()
    for name in names("examples/"):
        assert f"]({Path(name).relative_to('docs')})" in page, name
    for target in re.findall(r"\]\(((?!http)[^)]+)\)", page):
        assert (PAGE.parent / target).exists(), target
    blocks = _BLOCK.findall(page)
    assert len(blocks) > 5
    for source, block in blocks:
        text = (ROOT / source).read_text()
        indented = ["".join(" " * n + line for line in dedent(block).splitlines(True)) for n in range(20)]
        quoted = any(candidate.rstrip() in text for candidate in indented)
        assert quoted or dedent(block).strip() in text, f"not in {source}:\n{block}"


def test_a_command_of_the_page_names_files_that_exist() -> None:
    for _, block in _BLOCK.findall(PAGE.read_text()):
        if block.startswith("docker"):
            words = shlex.split(block)
            assert (ROOT / words[words.index("-f") + 1]).is_file()
            return
    pytest.fail("the page does not say how to build the image")
