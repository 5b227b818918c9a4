"""`report`: a result of an earlier scan, shown again. Nothing is scanned."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smoothscan.cli.main import smoothscan as program
from smoothscan.errors import UsageError
from smoothscan.exhibits import Exhibits
from smoothscan.gate import judge
from smoothscan.result import Gate, ScanResult
from smoothscan.sinks.advice import exit_code
from smoothscan.sinks.html import render
from smoothscan.sinks.json_file import JsonSink
from smoothscan.sinks.perturbations import PerturbationSink
from tests.sinks.samples import SAMPLES, Sample

from .program import Run

FILES = {
    "html": "report.html",
    "sarif": "smoothscan.sarif",
    "junit": "junit.xml",
    "markdown": "summary.md",
}


def saved(sample: Sample, folder: Path, *, redact: bool = False) -> Path:
    """What `check` leaves behind."""
    folder.mkdir(exist_ok=True)
    JsonSink().write(sample.result, Exhibits(), folder)
    PerturbationSink(redact_images=redact).write(sample.result, sample.exhibits, folder)
    return folder / "result.json"


def report(*words: object) -> Result:
    return CliRunner().invoke(program, ["report", *map(str, words)])


def refused(result: Result) -> UsageError:
    assert isinstance(result.exception, UsageError), result.output
    assert result.output == "", "nothing was shown before the error"
    return result.exception


@pytest.mark.parametrize("name", SAMPLES)
def test_every_result_is_shown_and_written_again(name: str, tmp_path: Path) -> None:
    sample = SAMPLES[name]()
    path = saved(sample, tmp_path / "scan")
    done = report(path, "--output-dir", tmp_path / "out", "--format", "html,sarif,junit,markdown")
    assert done.exit_code == exit_code(judge(sample.result)), done.output
    assert f"report   {tmp_path / 'out' / 'report.html'}" in done.stdout
    assert {each.name for each in (tmp_path / "out").iterdir()} == set(FILES.values())


def test_the_page_shows_the_triggers_that_are_saved_beside_the_result(tmp_path: Path) -> None:
    sample = SAMPLES["backdoored"]()
    report(saved(sample, tmp_path), "--format", "html")
    page = (tmp_path / "report.html").read_text()
    without_examples = {i: replace(one, examples=()) for i, one in sample.exhibits.classes.items()}
    shown = render(judge(sample.result), Exhibits(without_examples), redact_images=False, command="")
    pictures = [part.partition('"')[0] for part in shown.split('src="data:image/png;base64,')[1:]]
    assert len(pictures) == 4, "the trigger, where it sits, the image, and both together"
    assert all(picture in page for picture in pictures)
    assert "smoothscan check models:/cifar-resnet20/3 --images clean-images" in page


def test_of_a_scan_without_images_the_page_shows_the_trigger_alone(tmp_path: Path) -> None:
    for name in ("backdoored", "patch"):
        report(saved(SAMPLES[name](), tmp_path / name, redact=True), "--format", "html")
        page = (tmp_path / name / "report.html").read_text()
        assert page.count('src="data:image/png;base64,') == 1
        assert "Images are redacted" in page


@pytest.mark.parametrize("spoil", ["remove", "cut", "swap", "other model"])
def test_without_whole_perturbations_of_this_very_scan_there_are_no_pictures(spoil: str, tmp_path: Path) -> None:
    path = saved(SAMPLES["backdoored"](), tmp_path)
    file = tmp_path / "perturbations" / "class_0000.safetensors"
    if spoil == "remove":
        file.unlink()
    elif spoil == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    elif spoil == "swap":
        file.write_bytes(file.read_bytes().replace(b'"class":"0"', b'"class":"1"'))
    else:
        data = json.loads(path.read_text())
        data["model"]["digest"] = "sha256:" + 64 * "0"
        path.write_text(json.dumps(data))
    done = report(path, "--format", "html")
    assert done.exit_code == 1, done.output
    assert "data:image/png" not in (tmp_path / "report.html").read_text()


def test_without_formats_nothing_is_written(tmp_path: Path) -> None:
    path = saved(SAMPLES["clean"](), tmp_path / "scan")
    before = sorted(tmp_path.rglob("*"))
    done = report(path)
    assert done.exit_code == 0
    assert f"report   {path}" in done.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_alone_gets_the_page(tmp_path: Path) -> None:
    report(saved(SAMPLES["clean"](), tmp_path / "scan"), "--output-dir", tmp_path / "out")
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["report.html"]


def test_a_result_is_not_written_over(tmp_path: Path) -> None:
    path = saved(SAMPLES["clean"](), tmp_path)
    before = path.read_bytes()
    assert "write over" in refused(report(path, "--format", "json")).message
    assert path.read_bytes() == before


def test_the_page_of_the_scan_itself_is_not_written_over(tmp_path: Path) -> None:
    """It shows held-out images, which a page that is made later cannot."""
    path = saved(SAMPLES["clean"](), tmp_path)
    page = tmp_path / "report.html"
    page.write_text("the page of the scan")
    for words in (["--format", "html"], ["--format", "html,sarif"], ["--output-dir", tmp_path]):
        error = refused(report(path, *words))
        assert "report.html" in error.message
        assert "--output-dir" in error.hint
    assert {each.name for each in tmp_path.iterdir()} == {"result.json", "report.html", "perturbations"}
    assert page.read_text() == "the page of the scan"
    assert report(path, "--format", "sarif").exit_code == 0, "what holds no images is made again"
    assert report(path, "--output-dir", tmp_path / "out").exit_code == 0


def test_the_stored_gate_stands_until_it_is_asked_anew(tmp_path: Path) -> None:
    sample = SAMPLES["suspicious"]()
    passed = Gate(passed=True, exit_code=0, fail_on="backdoored")
    path = saved(replace(sample, result=sample.result.model_copy(update={"gate": passed})), tmp_path)
    assert report(path).exit_code == 0
    assert report(path, "--fail-on", "backdoored").exit_code == 0
    assert report(path, "--fail-on", "suspicious").exit_code == 1
    waivers = tmp_path / "waivers.toml"
    day = datetime.now(UTC).date() + timedelta(1)
    waivers.write_text(
        f'[[waiver]]\nmodel_digest = "{sample.result.model.digest}"\nclass = 2\nexpires = {day}\n'
        'reason = "known"\nowner = "ann"\n'
    )
    waived = report(path, "--fail-on", "suspicious", "--waivers", waivers)
    assert (waived.exit_code, "waived   class 2 (bird), by ann" in waived.stdout) == (0, True)
    known = report(path, "--fail-on", "suspicious", "--baseline", path)
    assert (known.exit_code, "known    class 2 (bird)" in known.stdout) == (0, True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data.clear(), "no schema_version"),
        (lambda data: data.update(schema_version="2.0"), "has the schema version 2.0; this smoothscan reads 1.0"),
        (lambda data: data.update(status="done"), "is no result of a scan: status:"),
        (lambda data: data.update(score=float("nan")), "is no result of a scan: score:"),
        (lambda data: data["classes"][0].update(epsilon="small"), "is no result of a scan: classes.0.epsilon:"),
        (lambda data: data.update(gate={"passed": True, "exit_code": 77, "fail_on": "suspicious"}), "gate.exit_code"),
    ],
)
def test_a_broken_result_is_one_clear_error(spoil: Callable[[Any], None], message: str, tmp_path: Path) -> None:
    path = saved(SAMPLES["backdoored"](), tmp_path)
    data = json.loads(path.read_text())
    spoil(data)
    path.write_text(json.dumps(data))
    error = refused(report(path))
    assert message in error.message
    assert "\n" not in error.message


def test_the_process_exits_with_2_where_there_is_no_result(smoothscan: Run, work: Path) -> None:
    (work / "page.html").write_text("<html>")
    for name, said in (("nowhere.json", "does not exist"), ("page.html", "holds no JSON"), (".", "Is a directory")):
        done = smoothscan("report", name)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def leaves(data: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of everything in a piece of JSON."""
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [place, *(below for key, value in inside for below in leaves(value, (*place, key)))]


WHOLE = {name: json.loads(SAMPLES[name]().result.model_dump_json()) for name in ("backdoored", "pairs", "gated")}
PLACES = {name: [place for place in leaves(data) if place] for name, data in WHOLE.items()}
VALUES = st.sampled_from(
    [None, True, -1, 0, 7, 10**400, -1e300, 1e300, 1e-320, 0.5, "", "x" * 10_000, "\x1b[31m\u202e<script>", [], {}, [0]]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_in_the_file_it_is_shown_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    name = data.draw(st.sampled_from(sorted(WHOLE)))
    place, value = data.draw(st.sampled_from(PLACES[name])), data.draw(VALUES)
    changed = copy.deepcopy(WHOLE[name])
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path = tmp_path / "result.json"
    path.write_text(json.dumps(changed))
    done = report(path, "--output-dir", tmp_path / "out", "--format", "html,sarif,junit,markdown")
    if isinstance(done.exception, UsageError):
        assert done.output == ""
    else:
        assert isinstance(done.exception, SystemExit | None), (place, value, done.exception)
        assert done.exit_code in range(6)
        assert not set("\x1b\u202e") & set(done.output)
        ScanResult.model_validate_json(path.read_text())
