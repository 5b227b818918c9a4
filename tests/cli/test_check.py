from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from smoothscan.exhibits import Exhibits
from smoothscan.result import ScanResult
from smoothscan.sinks.json_file import JsonSink
from tests.sinks.samples import SAMPLES

from .program import ENVIRONMENT, Digits, Run, command


def read(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return data


def tags(digits: Digits) -> dict[str, str]:
    from mlflow import MlflowClient

    return dict(MlflowClient(digits.tracking_uri).get_model_version("digits", "1").tags)


# --- a scan that works -----------------------------------------------------------------------------------------------


def test_a_scan_writes_its_results_and_says_them(smoothscan: Run, work: Path, digits: Digits) -> None:
    from mlflow import MlflowClient

    out = work / "smoothscan-report"
    out.mkdir()
    (out / "private.txt").write_text("not for the server")
    done = smoothscan("check", *digits.arguments)
    result = ScanResult.model_validate(read(out))
    assert done.returncode == result.exit_code(), done.stderr
    assert result.status == "completed"
    assert result.verdict in ("clean", "suspicious", "backdoored")
    products = {"result.json", "report.html", "perturbations"}
    assert {path.name for path in out.iterdir()} == {*products, "private.txt"}
    assert list((out / "perturbations").glob("*.safetensors"))
    assert f"verdict  {result.verdict}" in done.stdout
    assert "smoothscan-report/report.html" in done.stdout
    assert re.search(r"^\[\d\d:\d\d:\d\d\] invert", done.stderr, re.MULTILINE)
    assert "\x1b" not in done.stdout + done.stderr
    # What became of the write-back stands in the tags, in result.json and in the report.
    assert result.write_back.status == "done"
    assert tags(digits)["smoothscan.verdict"] == result.verdict
    assert tags(digits)["smoothscan.run_id"] == result.write_back.run_id
    assert result.write_back.run_id is not None
    assert result.write_back.run_id in (out / "report.html").read_text()
    items = MlflowClient(digits.tracking_uri).list_artifacts(result.write_back.run_id)
    assert {item.path for item in items} == products
    assert "smoothscan check models:/digits/1 --images" in (out / "report.html").read_text()


def test_a_configuration_file_is_stated_and_may_leave_the_registry_alone(
    smoothscan: Run, work: Path, digits: Digits
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(digits.tracking_uri)
    experiment = client.get_experiment_by_name("smoothscan").experiment_id
    before = (tags(digits), len(client.search_runs([experiment])))
    (work / "smoothscan.toml").write_text("write_back = false\nformat = 'json'\n[input]\nvalue_range = [0, 1]\n")
    out = work / "out"
    (out / "perturbations").mkdir(parents=True)
    for stale in ("report.html", "perturbations/class_0099.png", "keep.txt"):
        (out / stale).write_text("old")
    done = smoothscan("check", *digits.arguments, "--output-dir", "out")
    assert (tags(digits), len(client.search_runs([experiment]))) == before
    assert "configuration file smoothscan.toml" in done.stderr
    result = read(out)
    assert result["write_back"]["status"] == "off"
    assert result["input_spec"]["sources"]["value_range"] == "configuration file smoothscan.toml"
    assert "configuration file" not in result["input_spec"]["sources"]["height"]
    assert (out / "keep.txt").read_text() == "old"
    assert not (out / "report.html").exists(), "a report of an older scan beside a new result misleads"
    assert not (out / "perturbations" / "class_0099.png").exists()


def test_a_failed_write_back_is_told_apart_and_changes_nothing(work: Path, digits: Digits) -> None:
    code = (
        "import sys\n"
        "import smoothscan.sinks.mlflow_registry as sink\n"
        "from smoothscan.result import WriteBack\n"
        "sink.write_back = lambda *a, **k: WriteBack(status='failed', message='permission denied')\n"
        "from smoothscan.cli.main import main\n"
        f"sys.argv = ['smoothscan', 'check', *{digits.arguments!r}, '--quiet']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=work, env=ENVIRONMENT, capture_output=True, text=True)
    result = ScanResult.model_validate(read(work / "smoothscan-report"))
    assert result.status == "completed"
    assert done.returncode == result.exit_code()
    assert done.stderr == "Warning: the result stands, but was not written back to the registry: permission denied\n"
    assert result.write_back.message == "permission denied"


def test_a_terminal_gets_a_live_display_and_a_table(work: Path, digits: Digits) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("check", *digits.arguments, "--no-write-back"),
        cwd=work,
        env={**ENVIRONMENT, "TERM": "xterm-256color"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    chunks = []
    with contextlib.suppress(OSError):  # raised once the other side is closed
        while chunk := os.read(ours, 65536):
            chunks.append(chunk)
    os.close(ours)
    assert process.wait(30) in (0, 1)
    text = b"".join(chunks).decode()
    assert "most suspect so far" in text
    assert "Kind of trigger: " in text
    assert "budget for" in text
    assert re.search(r"\x1b\[[\d;]*3[1-5]m", text), "a coloured verdict"


# --- stopped ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code", "stage"),
    [(signal.SIGINT, 130, "invert"), (signal.SIGTERM, 143, "invert"), (signal.SIGINT, 130, "load")],
)
def test_stopped_leaves_neither_files_nor_processes(
    work: Path, digits: Digits, number: signal.Signals, code: int, stage: str
) -> None:
    arguments = command("check", *digits.arguments, "--profile", "paper", "--output-dir", "out")
    process = subprocess.Popen(
        arguments, cwd=work, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    seen = ""
    while f"] {stage}" not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    time.sleep(0.5)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children, "the model's process"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert err.splitlines()[-1] == "stopped; nothing was written"
    assert "Traceback" not in err
    assert out == ""
    assert not (work / "out").exists()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


# --- bad input -------------------------------------------------------------------------------------------------------


def images_option(folder: Path) -> list[str]:
    return ["--images", str(folder)]


def assert_usage_error(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 2, done.stderr
    for part in parts:
        assert part in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "Hint:" in done.stderr or "Try 'smoothscan" in done.stderr


def test_an_empty_image_folder(smoothscan: Run, work: Path, registry: Any) -> None:
    (work / "empty").mkdir()
    done = smoothscan("check", "models:/tiny-pt2/1", *images_option(work / "empty"), "-q", "--output-dir", "out")
    assert_usage_error(done, "empty")
    assert not (work / "out").exists(), "nothing was scanned, so nothing is left"


def test_an_image_folder_that_is_not_there(smoothscan: Run, work: Path) -> None:
    assert_usage_error(smoothscan("check", "models:/x/1", *images_option(work / "nowhere")), "nowhere")


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/smoothscan"])
def test_an_output_folder_that_cannot_be_written(smoothscan: Run, work: Path, image_folder: Path, place: str) -> None:
    (work / "file").write_text("in the way")
    done = smoothscan("check", "models:/x/1", *images_option(image_folder), "--output-dir", place)
    assert_usage_error(done, place.rsplit("/", 1)[0], "--output-dir")
    assert "download" not in done.stderr, "found out before the scan, not after it"
    assert (work / "file").read_text() == "in the way"


def test_results_do_not_go_among_the_images(smoothscan: Run, image_folder: Path) -> None:
    done = smoothscan("check", "models:/x/1", *images_option(image_folder), "--output-dir", image_folder / "out")
    assert_usage_error(done, "folder of images")
    assert not (image_folder / "out").exists()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--profile", "fast"], "standard"),
        (["--seed", "many"], "--seed"),
        (["--seed", "-1"], "--seed"),
        (["--sigma", "-0.1"], "--sigma"),
        (["--input-size", "big"], "224x224"),
        (["--value-range", "1"], "0,255"),
        (["--mean", "0.5,0.5,0.5"], "mean and std go together"),
        (["--format", "pdf"], "html, json"),
        (["--memory", "lots"], "512MB"),
        (["--time-limit", "soon"], "30m"),
        (["--labels", "nowhere.txt"], "nowhere.txt"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_a_wrong_option_value(smoothscan: Run, image_folder: Path, option: list[str], said: str) -> None:
    assert_usage_error(smoothscan("check", "models:/x/1", *images_option(image_folder), *option), said)


def test_an_unknown_key_in_the_configuration(smoothscan: Run, work: Path, image_folder: Path) -> None:
    (work / "smoothscan.toml").write_text("fail_no = 'backdoored'\n")
    done = smoothscan("check", "models:/x/1", *images_option(image_folder))
    assert_usage_error(done, "unknown key: fail_no", "did you mean fail_on?")


def test_an_unknown_model_is_a_failed_scan_with_a_result(
    smoothscan: Run, work: Path, image_folder: Path, registry: Any
) -> None:
    uri = registry.tracking_uri
    (work / "smoothscan-report").mkdir()
    JsonSink().write(SAMPLES["clean"]().result, Exhibits(), work / "smoothscan-report")
    done = smoothscan("check", "models:/nobody/1", *images_option(image_folder), "--tracking-uri", uri)
    assert done.returncode == 3, done.stderr
    assert "] write: " in done.stderr
    assert "write back" not in done.stderr, "there is nothing that could be written to"
    assert "replaced the results of models:/" in done.stdout
    assert "failed: the model was not examined" in done.stdout
    result = read(work / "smoothscan-report")
    assert (result["status"], result["verdict"], result["error"]["type"]) == ("failed", None, "ModelNotFoundError")
    assert (work / "smoothscan-report" / "report.html").exists()


def test_without_a_sandbox_a_pickled_model_is_refused_and_tagged_as_such(
    smoothscan: Run, work: Path, image_folder: Path, registry: Any
) -> None:
    uri = registry.tracking_uri
    options = [*images_option(image_folder), "--tracking-uri", uri, "-q"]
    done = smoothscan("check", "models:/tiny-pickle/1", *options, protected=False)
    assert done.returncode == 3
    assert "--allow-model-code" in done.stdout
    assert read(work / "smoothscan-report")["status"] == "refused"
    assert registry.client().get_model_version("tiny-pickle", "1").tags["smoothscan.verdict"] == "refused"
