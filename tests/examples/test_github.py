from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.examples import github
from tests.examples.github import Run
from tests.examples.workbench import ALL_FORMATS, EXAMPLES, ROOT, Workbench
from tests.sinks import samples

ACTION = ROOT / ".github" / "actions" / "smoothscan" / "action.yml"
INSTALL = ROOT / ".github" / "actions" / "install" / "action.yml"
URI = "models:/traffic-signs@candidate"
OPTIONS = ["check", "--images", "clean", "--output-dir", "smoothscan-report", "--format", ALL_FORMATS]
PUBLISHING = {"pages": "write", "id-token": "write"}
USER = {"MLFLOW_TRACKING_USERNAME": "robot", "MLFLOW_TRACKING_PASSWORD": "secret"}


def act(bench: Workbench, **inputs: str) -> Run:
    """Use the action as a step of a job does; `model_uri` stands for `model-uri`."""
    given = {"model-uri": URI, "images": "clean"} | {name.replace("_", "-"): text for name, text in inputs.items()}
    run = Run(bench, {})
    run.run([{"id": "gate", "uses": "$/.github/actions/smoothscan", "with": given}])
    return run


def uploads(run: Run) -> dict[str, dict[str, str]]:
    """What was uploaded, by the action that did it."""
    return {uses: given for uses, given in run.used if "upload" in uses}


def summary(bench: Workbench) -> str:
    return (bench.folder / "GITHUB_STEP_SUMMARY").read_text()


@pytest.mark.parametrize("code", [0, 1, 3, 4, 5, 130])
def test_the_action_publishes_everything_and_then_fails_with_the_code_of_the_scan(bench: Workbench, code: int) -> None:
    bench.ends_with(code)
    run = act(bench, package="none", upload_sarif="true")
    assert run.code == code
    assert bench.scans == [[*OPTIONS, "--", URI]]
    assert summary(bench) == "summary.md of the scan\n"
    assert run.steps["gate"] == {
        "verdict": "backdoored",
        "score": str(samples.backdoored().result.score),
        "exit-code": str(code),
        "result": "smoothscan-report/result.json",
        "report": "smoothscan-report/report.html",
    }
    sarif = {"sarif_file": "smoothscan-report/smoothscan.sarif"}  # which says what its category is
    artifact = {"name": "smoothscan", "path": "smoothscan-report", "if-no-files-found": "ignore"}
    assert uploads(run) == {"github/codeql-action/upload-sarif@v4": sarif, "actions/upload-artifact@v4": artifact}
    assert ("::error" in bench.said) == (code != 0)


def test_results_are_kept_and_the_reason_is_said_although_code_scanning_is_not_allowed(bench: Workbench) -> None:
    bench.ends_with(1)
    run = Run(bench, {}, broken="github/codeql-action")
    given = {"model-uri": URI, "images": "clean", "package": "none", "upload-sarif": True}
    assert run.run([{"id": "gate", "uses": "$/.github/actions/smoothscan", "with": given}]) == 1
    assert "actions/upload-artifact@v4" in uploads(run)
    assert "the model is flagged" in bench.said


def test_a_scan_that_wrote_nothing_is_told_from_one_that_found_nothing(bench: Workbench) -> None:
    bench.found(None)
    bench.ends_with(3)
    run = act(bench, package="none", upload_sarif="true")
    assert run.code == 3
    assert {name for name, text in run.steps["gate"].items() if text} == {"exit-code"}
    assert "exit code 3" in summary(bench)
    assert list(uploads(run)) == ["actions/upload-artifact@v4"]


def test_a_scan_without_a_verdict_has_empty_outputs(bench: Workbench) -> None:
    bench.found(samples.base("failed").model_dump_json())
    bench.ends_with(3)
    outputs = act(bench, package="none").steps["gate"]
    assert (outputs["verdict"], outputs["score"]) == ("", "")
    assert outputs["result"] == "smoothscan-report/result.json"


def test_every_input_reaches_the_command_line(bench: Workbench) -> None:
    for name in ("waivers.toml", "before.json"):
        (bench.work / name).touch()
    run = act(
        bench,
        package="none",
        fail_on="backdoored",
        profile="quick",
        waivers="waivers.toml",
        baseline="before.json",
        set_alias="champion",
        tracking_uri="http://mlflow.example",
        arguments="--input-size=32x32\n\n--labels=before.json\n",
        output_dir="out folder",
        artifact="",
    )
    (scan,) = bench.scans
    assert scan == [
        *["check", "--images", "clean", "--output-dir", "out folder", "--format", ALL_FORMATS],
        *["--fail-on", "backdoored", "--profile", "quick", "--waivers", "waivers.toml", "--baseline", "before.json"],
        *["--set-alias", "champion", "--tracking-uri", "http://mlflow.example"],
        *["--input-size=32x32", "--labels=before.json", "--", URI],
    ]
    assert uploads(run) == {}, "nothing is uploaded unless it is asked for"
    assert run.steps["gate"]["report"] == "out folder/report.html"


@pytest.mark.parametrize("uri", ["--allow-model-code", "$(touch x)`touch x`'; touch x #\" && touch x", "a\nb"])
def test_an_input_is_one_argument_and_no_option(bench: Workbench, uri: str) -> None:
    act(bench, package="none", model_uri=uri)
    assert bench.scans == [[*OPTIONS, "--", uri]]
    assert not (bench.work / "x").exists()


HOSTILE = (
    "\n::error::forged\n##[group]forged\n::stop-commands::x\n::x::\n  ::set-output name=a::forged\n::warning::forged"
)


def commands(said: str) -> list[str]:
    """The lines that a runner obeys, those that stop and resume this apart."""
    found, token = [], ""
    for line in said.splitlines():
        if token:
            token = "" if line.strip() == f"::{token}::" else token
        elif line.strip().startswith("::stop-commands::"):
            token = line.strip().removeprefix("::stop-commands::")
        elif line.strip().startswith("::") or "##[" in line:
            found.append(line)
    assert not token, "commands are obeyed again"
    return found


@pytest.mark.parametrize("code", [0, 1, 3])
def test_what_a_scan_says_is_no_command_to_the_runner(bench: Workbench, code: int) -> None:
    bench.ends_with(code)
    bench.environment["SAID_BY_THE_SCAN"] = HOSTILE
    script = next(step for step in github.load(ACTION)["runs"]["steps"] if step.get("id") == "scan")
    said = []
    for _ in range(2):
        files = {name: str(bench.folder / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        environment = dict.fromkeys(script["env"], "") | {"MODEL_URI": URI, "IMAGES": "a", "OUTPUT_DIR": "b"}
        assert bench.run(script["run"], "bash", "-eo", "pipefail", **environment, **files) == 0
        (bench.work / "b" / "result.json").unlink()
        assert (bench.folder / "GITHUB_OUTPUT").read_text().splitlines()[-1] == f"exit-code={code}"
        assert "::error::forged" in bench.said
        assert commands(bench.said) == []
        said.append(bench.said)
    assert said[0] != said[1], "nobody knows the word beforehand"


@pytest.mark.parametrize("code", [0, 3])
def test_what_a_sweep_says_is_no_command_to_the_runner(bench: Workbench, code: int) -> None:
    bench.ends_with(code)
    bench.environment["SAID_BY_THE_SCAN"] = HOSTILE
    (script,) = [
        step["run"]
        for step in github.load(ROOT / ".github" / "workflows" / "sweep.yml")["jobs"]["sweep"]["steps"]
        if step.get("name") == "Sweep"
    ]
    assert bench.run(script, "bash", "-e", IMAGES="a", FILTER="", NAME="", SHARD="0/1") == code
    assert "::error::forged" in bench.said
    assert commands(bench.said) == []


@pytest.mark.parametrize("folder", ["a\nexit-code=0", "a\rb"])
def test_an_output_folder_is_one_line(bench: Workbench, folder: str) -> None:
    run = act(bench, package="none", output_dir=folder)
    assert (run.code, run.steps["gate"]["exit-code"], bench.scans) == (2, "2", [])


def test_no_output_is_taken_for_the_exit_code(bench: Workbench) -> None:
    bench.found('{"verdict": "clean\\nexit-code=0", "score": null}')
    bench.ends_with(1)
    run = act(bench, package="none")
    assert (run.code, run.steps["gate"]["exit-code"]) == (1, "1")


@pytest.mark.parametrize("name", ["model_uri", "images", "output_dir"])
def test_an_empty_input_is_refused(bench: Workbench, name: str) -> None:
    run = act(bench, package="none", **{name: ""})
    assert (run.code, run.steps["gate"]["exit-code"], bench.scans) == (2, "2", [])


def test_results_of_another_scan_are_not_taken_for_this_one(bench: Workbench) -> None:
    (bench.work / "smoothscan-report").mkdir()
    (bench.work / "smoothscan-report" / "result.json").write_text(samples.clean().result.model_dump_json())
    run = act(bench, package="none")
    assert (run.code, run.steps["gate"]["verdict"], bench.scans) == (2, "", [])


@pytest.mark.parametrize(
    ("package", "installed"), [("", f"{ROOT}[postgresql]"), ("smoothscan==1.2", "smoothscan==1.2")]
)
def test_smoothscan_comes_from_the_version_of_the_action(tmp_path: Path, package: str, installed: str) -> None:
    bench = Workbench(tmp_path, installed=False)
    run = act(bench, package=package)
    assert run.code == 0
    assert bench.scans == [[*OPTIONS, "--", URI]], "the command is on the PATH of what follows"
    assert ("actions/setup-python@v5", {"python-version": "3.11", "update-environment": "false"}) in run.used
    (pip,) = [call for call in bench.calls if call[1:3] == ["-m", "pip"]]
    flag, constraints, what = pip[4:]
    assert (flag, Path(constraints).resolve()) == ("-c", ROOT / "constraints.txt")
    path, bracket, extras = what.partition("[")
    assert (f"{Path(path).resolve()}{bracket}{extras}" if not package else what) == installed


def test_the_install_needs_no_python_of_githubs(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, installed=False)
    run = act(bench, python_version="")
    assert (run.code, len(bench.scans)) == (0, 1)
    assert not any("setup-python" in uses for uses, _ in run.used)


def test_the_gate_of_a_pull_request(bench: Workbench) -> None:
    bench.ends_with(1)
    job = github.load(EXAMPLES / "github-gate.yml")["jobs"]["scan"]
    run = Run(bench, {}, {"vars": {"MLFLOW_TRACKING_URI": "http://mlflow.example"}, "secrets": USER})
    assert run.run(job["steps"]) == 1
    (scan,) = bench.scans
    assert scan[:3] == ["check", "--images", "clean-images"]
    assert scan[-4:] == ["--tracking-uri", "http://mlflow.example", "--", URI]
    assert len(uploads(run)) == 2


def caller() -> dict[str, dict[str, str]]:
    """The contexts of a workflow that calls one of ours."""
    secrets = {**USER, "SMOOTHSCAN_LEDGER": "postgresql://ledger"}
    about = {"repository": "acme/signs", "ref": "refs/heads/main", "event_name": "schedule"}
    return {"vars": {"MLFLOW_TRACKING_URI": "http://mlflow.example"}, "secrets": secrets, "github": about}


@pytest.mark.parametrize("code", [0, 1])
def test_a_promotion_calls_the_gate(bench: Workbench, code: int) -> None:
    bench.ends_with(code)
    run = github.call(bench, EXAMPLES / "github-promote.yml", "gate", {**caller(), "inputs": {"version": 7}})
    assert run.code == code
    (scan,) = bench.scans
    assert scan[-2:] == ["--", "models:/traffic-signs/7"]
    assert scan[scan.index("--set-alias") + 1] == "champion"
    assert scan[scan.index("--fail-on") + 1] == "suspicious"
    job = github.load(ROOT / ".github" / "workflows" / "gate.yml")["jobs"]["scan"]
    assert {name: run.fill(text) for name, text in job["outputs"].items()} == {"verdict": "backdoored"}


@pytest.mark.parametrize("shard", [0, 1])
def test_a_night_calls_the_sweep(bench: Workbench, shard: int) -> None:
    bench.ends_with(1)
    run = github.call(bench, EXAMPLES / "github-nightly.yml", "sweep", caller(), shard)
    assert run.code == 1, "the job fails with the worst code"
    sweep = ["sweep", "--images", "clean-images", "--output-dir", "smoothscan-sweep", "--shard", f"{shard}/2"]
    assert (bench.scans, bench.ledgers) == ([sweep], ["postgresql://ledger"])
    assert summary(bench).splitlines()[2:4] == ["| clean | 3 |", "| backdoored | 1 |"]
    assert "still to be scanned" in summary(bench)
    artifact = {"name": f"smoothscan-sweep-{shard}", "path": "smoothscan-sweep/", "if-no-files-found": "ignore"}
    assert uploads(run) == {"actions/upload-artifact@v4": artifact}


def test_a_sweep_of_one_job_takes_a_filter_a_pattern_and_no_ledger(bench: Workbench) -> None:
    workflow = github.load(ROOT / ".github" / "workflows" / "sweep.yml")
    given = {"images": "clean", "tracking-uri": "", "filter": "tags.team = 'signs'", "name": "signs-*"}
    contexts = {"secrets": dict.fromkeys(workflow["on"]["workflow_call"]["secrets"], "")}
    contexts["strategy"] = {"job-index": "0", "job-total": "1"}
    run = Run(bench, github.bind(workflow["on"]["workflow_call"]["inputs"], given), contexts)
    (bench.folder / "products" / "sweep" / "sweep.json").unlink()
    assert run.run(workflow["jobs"]["sweep"]["steps"]) == 0
    assert bench.scans[0][5:] == ["--shard", "0/1", "--filter", "tags.team = 'signs'", "--name", "signs-*"]
    assert "ended before" in summary(bench)


def test_our_own_ci_tests_the_wheel_that_it_built_and_nothing_of_the_checkout(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, installed=False)
    for name in ("dist/smoothscan-1.0.whl", "tests/test_it.py", "pyproject.toml", "smoothscan/__init__.py"):
        (bench.work / name).parent.mkdir(exist_ok=True)
        (bench.work / name).touch()
    (bench.folder / "temp").mkdir()
    run = Run(bench, {}, {"matrix": {"python": "3.13"}})
    assert run.run(github.load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["tests"]["steps"]) == 0, bench.said
    called = [[Path(name).name, *arguments] for name, *arguments in bench.calls]
    assert called == [
        ["python", "-m", "venv", str(bench.folder / "temp" / "venv")],
        ["python", "-m", "pip", "install", "-c", "constraints.txt", "dist/smoothscan-1.0.whl[dev]"],
        ["python", "-m", "pytest"],
        ["smoothscan", "demo"],
    ]
    assert {path.name for path in (bench.folder / "temp" / "tests-only").iterdir()} == {"tests", "pyproject.toml"}


CI = {
    "lint": [
        ["python", "-m", "pip", "install", "-c", "constraints.txt", "-e", ".[dev]"],
        ["make", "lint", "types", "layers"],
    ],
    "wheel": [["python", "-m", "pip", "install", "build"], ["python", "-m", "build"]],
    "architectures": [["make", "architectures"]],
    "checkout": [["run"]],
}
"""What the jobs of our own CI start; that of the tests has a test of its own."""


def test_every_job_of_our_own_ci_is_run_here() -> None:
    assert github.load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"].keys() == {*CI, "tests"}


@pytest.mark.parametrize("job", CI)
def test_our_own_ci_starts_what_there_is(bench: Workbench, job: str) -> None:
    bench.stand_in("make", "run")
    (bench.work / ".ci").mkdir()
    (bench.work / ".ci" / "run").symlink_to(bench.programs / "run")
    run = Run(bench, {})
    steps = github.load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"][job]["steps"]
    assert run.run(steps) == 0, bench.said
    assert [[Path(name).name, *rest] for name, *rest in bench.calls] == CI[job]


def test_what_our_workflows_make_is_in_the_makefile_and_ci_can_be_run() -> None:
    workflows = (ROOT / ".github" / "workflows").glob("*.yml")
    lines = [line for file in workflows for script in github.scripts(github.load(file)) for line in script.splitlines()]
    made = {target for line in lines if line.split()[:1] == ["make"] for target in line.split()[1:]}
    assert made >= {"lint", "types", "layers", "docs", "architectures"}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert made <= targets
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_documents_are_built_as_make_does_and_published_from_main_alone(bench: Workbench) -> None:
    bench.stand_in("make")
    jobs = github.load(ROOT / ".github" / "workflows" / "docs.yml")["jobs"]
    run = Run(bench, {})
    assert run.run(jobs["build"]["steps"]) == 0, bench.said
    assert [[Path(name).name, *rest] for name, *rest in bench.calls] == [
        ["python", "-m", "pip", "install", "-c", "constraints.txt", "-e", ".[docs]"],
        ["make", "docs"],
    ]
    assert uploads(run) == {"actions/upload-pages-artifact@v3": {"path": "site/"}}
    assert jobs["publish"]["permissions"] == PUBLISHING
    assert "github.event_name != 'pull_request'" in jobs["publish"]["if"]
    assert "github.ref == 'refs/heads/main'" in jobs["publish"]["if"]
    assert jobs["publish"]["needs"] == "build"
    assert not any("run" in step or "checkout" in step["uses"] for step in jobs["publish"]["steps"])


def test_no_script_holds_an_expression_and_rights_are_few() -> None:
    files = [*(ROOT / ".github").rglob("*.yml"), *EXAMPLES.glob("github-*.yml")]
    assert {ACTION, INSTALL} < set(files)
    for file in files:
        data = github.load(file)
        assert not any("${{" in script for script in github.scripts(data)), f"{file}: whoever sets it runs code"
        for job in data.get("jobs", {}).values():
            rights = {"contents": "read", "security-events": "write"}
            if (file.name, job.get("name")) == ("docs.yml", "Publish"):
                rights = PUBLISHING  # it runs nothing of ours
            assert job.get("permissions", data["permissions"]).items() <= rights.items(), file
            assert "uses" in job or job["timeout-minutes"] <= 350, file
