from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.examples.workbench import EXAMPLES, ROOT, Workbench

_VARIABLE = re.compile(r"\$\((\w+)\)")


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile: name and rest, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (EXAMPLES / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def stages() -> list[list[tuple[str, str]]]:
    """The same, by stage."""
    found: list[list[tuple[str, str]]] = []
    for name, rest in instructions():
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest))
    return found


def copied(stage: list[tuple[str, str]]) -> list[tuple[Path, str]]:
    """What a stage copies from the checkout, and where to."""
    copies = [rest.split() for name, rest in stage if name == "COPY"]
    return [(ROOT / source, target) for *sources, target in copies for source in sources]


def test_the_image_pins_python_and_does_not_run_as_root() -> None:
    build, final = stages()
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert {re.match(r"python:(\d+\.\d+)-slim-", base)[1] for base in bases} == {requires.removeprefix(">=")}  # type: ignore[index]
    users = [rest for name, rest in final if name == "USER"]
    assert [int(part) > 0 for part in users[-1].split(":")] == [True, True], "numbers, which Kubernetes checks"
    after = final[final.index(("USER", users[-1])) :]
    assert "RUN" not in [name for name, _ in after]
    assert ("ENTRYPOINT", '["smoothscan"]') in final
    assert all(source.exists() for stage in (build, final) for source, _ in copied(stage))


def test_what_the_image_copies_is_enough_to_build_the_wheel(tmp_path: Path) -> None:
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("needs hatchling, to build without a download")
    build, _ = stages()
    source = tmp_path / "source"
    source.mkdir()
    for path, target in copied(build):
        if path.is_dir():
            shutil.copytree(path, source / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source / target)
    (run,) = [rest for name, rest in build if name == "RUN"]
    program, *words = run.replace("/wheels", str(tmp_path / "wheels")).split()
    assert program == "python"
    done = subprocess.run(
        [sys.executable, *words, "--no-build-isolation", "--quiet"], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (tmp_path / "wheels").glob("smoothscan-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"smoothscan/cli/check.py", "smoothscan/templates/report.html.j2"} <= set(names)


def test_the_scripts_of_the_image_install_the_wheel_as_the_constraints_say(bench: Workbench) -> None:
    # Nothing but stand-ins is on the PATH: the scripts would change this machine.
    bench.stand_in("apt-get", "rm", "useradd")
    bench.environment["PATH"] = str(bench.programs)
    (bench.folder / "wheels").mkdir()
    wheel = bench.folder / "wheels" / "smoothscan-1.0-py3-none-any.whl"
    wheel.touch()
    _, final = stages()
    arguments = dict(rest.split("=") for name, rest in final if name == "ARG")
    for name, rest in final:
        if name == "RUN":
            script = re.sub(r"^(--\S+\s+)+", "", rest).replace(" /wheels/", f" {bench.folder}/wheels/")
            assert bench.run(script, "/bin/sh", "-e", **arguments) == 0, bench.said
    assert ["apt-get", "install", "--yes", "--no-install-recommends", "bubblewrap"] in bench.calls
    assert ["useradd", "--uid", "10001", "--create-home", "smoothscan"] in bench.calls
    (pip,) = [call for call in bench.calls if call[1:3] == ["-m", "pip"]]
    assert pip[-3:] == ["-c", "/tmp/constraints.txt", f"{wheel}[serve,postgresql]"]
    assert (ROOT / "constraints.txt", "/tmp/") in copied(final)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(arguments["EXTRAS"].split(",")) <= extras.keys()


def cronjob() -> dict[str, Any]:
    documents = yaml.safe_load_all((EXAMPLES / "kubernetes-cronjob.yaml").read_text())
    (found,) = [document for document in documents if document["kind"] == "CronJob"]
    return dict(found["spec"])


def test_each_pod_sweeps_a_shard_of_its_own(bench: Workbench) -> None:
    job = cronjob()["jobTemplate"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    assert "command" not in container, "the image's entrypoint is smoothscan"
    assert job["completionMode"] == "Indexed"
    for index in range(job["completions"]):
        values = {"JOB_COMPLETION_INDEX": str(index)}
        words = [_VARIABLE.sub(lambda found, values=values: values[found[1]], word) for word in container["args"]]  # type: ignore[misc]
        subprocess.run([bench.programs / "smoothscan", *words], cwd=bench.work, env=bench.environment, check=True)
    total = job["completions"]
    assert [scan[3] for scan in bench.scans] == [f"--shard={index}/{total}" for index in range(total)]
    assert len({scan[2] for scan in bench.scans}) == total, "no pod writes over another's results"
    secrets = {entry["name"] for entry in container["env"] if "secretKeyRef" in entry.get("valueFrom", {})}
    assert secrets == {
        "MLFLOW_TRACKING_URI",
        "MLFLOW_TRACKING_USERNAME",
        "MLFLOW_TRACKING_PASSWORD",
        "SMOOTHSCAN_LEDGER",
    }


def test_pods_are_confined_and_only_failures_are_tried_again() -> None:
    spec = cronjob()
    job = spec["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    (user,) = [rest for name, rest in instructions() if name == "USER"]
    context = pod["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == user
    assert context["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    expected = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert container["securityContext"] == expected
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
    written = [word.partition("=")[2] for word in container["args"] if word.startswith("--output-dir=")]
    assert written[0].startswith(mounts["results"] + "/"), "the root file system can not be written"
    assert {entry["name"]: entry.get("value") for entry in container["env"]}["HOME"] == mounts["scratch"]
    final = job["podFailurePolicy"]["rules"][-1]
    assert (final["action"], final["onExitCodes"]["values"]) == ("FailIndex", [1, 2, 4, 5])
    assert final["onExitCodes"]["containerName"] == container["name"]
    assert job["backoffLimitPerIndex"] > 0
    assert spec["concurrencyPolicy"] == "Forbid"
