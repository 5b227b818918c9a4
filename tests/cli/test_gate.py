"""`check` as a gate: waivers, baseline, formats and exit codes. Only the last test scans."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sarif_kit.validate import validation_errors

from smoothscan.cli.main import smoothscan as program
from smoothscan.errors import UsageError
from smoothscan.exhibits import Exhibits
from smoothscan.result import ModelInfo, ScanResult
from tests.sinks.samples import SAMPLES

from .program import Run

Check = Callable[..., Result]
PRODUCTS = {"result.json", "report.html", "smoothscan.sarif", "junit.xml", "summary.md"}
TODAY = datetime.now(UTC).date()


def waiver(result: ScanResult, index: int, expires: date = TODAY + timedelta(30)) -> str:
    return (
        f'[[waiver]]\nmodel_digest = "{result.model.digest}"\nclass = {index}\nexpires = {expires.isoformat()}\n'
        'reason = "the airline\'s logo <b>"\nowner = "ann"\n'
    )


def read(folder: Path) -> ScanResult:
    return ScanResult.model_validate_json((folder / "result.json").read_text())


@pytest.fixture
def found() -> ScanResult:
    return SAMPLES["backdoored"]().result


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: ScanResult) -> Check:
    """Runs `check` in an empty folder with a scan that finds at once what the sample has; counts the scans."""
    import smoothscan.pipeline

    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").write_text("")

    def scan(*_args: object, **_options: object) -> tuple[ScanResult, Exhibits]:
        with (tmp_path / "scans").open("a") as scans:
            scans.write(".")
        return found, Exhibits()

    monkeypatch.setattr(smoothscan.pipeline, "scan", scan)

    def run(*words: str, uri: str = "models:/cifar-resnet20/3") -> Result:
        arguments = ["check", uri, "--images", "images", "--no-write-back", "--quiet", *words]
        return CliRunner().invoke(program, arguments)

    return run


def test_all_formats_in_one_run_and_none_that_was_not_asked_for(check: Check, tmp_path: Path) -> None:
    out = tmp_path / "smoothscan-report"
    assert check("--format", "html,json,sarif,junit,markdown").exit_code == 1
    assert {path.name for path in out.iterdir()} == PRODUCTS
    assert check("--format", "sarif").exit_code == 1
    assert {path.name for path in out.iterdir()} == {"result.json", "smoothscan.sarif"}, "none of an older scan"


def test_a_waived_finding_passes_and_every_output_says_so(check: Check, tmp_path: Path, found: ScanResult) -> None:
    Path("waivers.toml").write_text(waiver(found, 0) + waiver(found, 3))
    done = check("--waivers", "waivers.toml", "--format", "html,json,sarif,junit,markdown")
    assert done.exit_code == 0, done.output
    assert "backdoored: hidden trigger for class 0 (airplane); passes, since it is waived or known" in done.stdout
    assert "waived   class 0 (airplane), by ann until" in done.stdout
    assert "The waiver of ann for class 3 matches nothing that was found." in done.stdout
    assert "exits with code 0" in done.stdout
    out = tmp_path / "smoothscan-report"
    gate = read(out).gate
    assert gate is not None
    assert [f.state for f in gate.findings] == ["waived"]
    for name in PRODUCTS:
        text = (out / name).read_text()
        assert "airline" in text, name
        assert "matches nothing that was found" in text, name
    assert "<b>" not in (out / "report.html").read_text().split("airline")[1][:20]


def test_an_expired_waiver_fails_and_says_so(check: Check, found: ScanResult) -> None:
    yesterday = TODAY - timedelta(1)
    Path("waivers.toml").write_text(waiver(found, 0, yesterday))
    done = check("--waivers", "waivers.toml")
    assert done.exit_code == 1
    assert f"The waiver of ann for class 0 (airplane) expired on {yesterday}." in done.stdout


def test_the_configuration_file_names_waivers_and_baseline(check: Check, found: ScanResult) -> None:
    Path("w.toml").write_text(waiver(found, 0))
    Path("smoothscan.toml").write_text("waivers = 'w.toml'\n")
    assert check().exit_code == 0
    Path("b.json").write_text(found.model_dump_json())
    Path("smoothscan.toml").write_text("baseline = 'b.json'\n")
    done = check()
    assert done.exit_code == 0
    assert "known    class 0 (airplane), from the baseline, which has it, too" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--waivers", "wrong.toml"], "waiver 1: reason is missing"),
        (["--waivers", "nowhere.toml"], "nowhere.toml cannot be read"),
        (["--baseline", "failed.json"], "did not complete (failed)"),
        (["--baseline", "other.json"], "a scan of 'other', not of 'cifar-resnet20'"),
        (["--baseline", "nowhere.json"], "nowhere.json does not exist"),
        (["--sarif-anchor", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_a_mistake_is_told_before_the_scan(
    check: Check, tmp_path: Path, found: ScanResult, words: list[str], said: str
) -> None:
    Path("wrong.toml").write_text(waiver(found, 0).replace("reason", "# reason"))
    Path("failed.json").write_text(SAMPLES["failed"]().result.model_dump_json())
    other = found.model_copy(update={"model": found.model.model_copy(update={"name": "other"})})
    Path("other.json").write_text(other.model_dump_json())
    done = check(*words)
    if isinstance(done.exception, UsageError):  # the program's main turns it into a message and its exit code
        assert (done.exception.exit_code, said in done.exception.message) == (2, True)
    else:
        assert (done.exit_code, said in done.stderr) == (2, True)
    assert (tmp_path / "scans").read_text() == ""
    assert not (tmp_path / "smoothscan-report").exists()


@pytest.mark.parametrize(
    "uri", ["runs:/0123456789abcdef0123456789abcdef/model", "models:/m-0123456789abcdef0123456789abcdef", "folder"]
)
def test_a_baseline_of_another_model_is_told_before_the_scan_where_the_model_has_no_name(
    check: Check, tmp_path: Path, found: ScanResult, uri: str
) -> None:
    Path("named.json").write_text(found.model_dump_json())
    done = check("--baseline", "named.json", uri=uri)
    assert isinstance(done.exception, UsageError)
    assert f"a scan of 'cifar-resnet20', not of '{uri}'" in done.exception.message
    assert (tmp_path / "scans").read_text() == ""
    assert not (tmp_path / "smoothscan-report").exists()


@pytest.mark.parametrize("uri", ["runs:/0123456789abcdef0123456789abcdef/model", "folder"])
def test_a_model_without_a_name_has_a_baseline_of_the_same_uri(
    check: Check, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    import smoothscan.pipeline

    unnamed = SAMPLES["backdoored"]().result.model_copy(update={"model": ModelInfo(uri=uri, digest="sha256:0")})
    monkeypatch.setattr(smoothscan.pipeline, "scan", lambda *_args, **_options: (unnamed, Exhibits()))
    Path("earlier.json").write_text(unnamed.model_dump_json())
    assert check("--baseline", "earlier.json", uri=uri).exit_code == 0


def planted(folder: Path) -> Path:
    """A classifier that compares with mean digits, and a pattern in a corner that leads every image to class 3."""
    import mlflow
    import torch
    from PIL import Image

    from smoothscan.cli.demo_models import as_bytes, load_digits

    data = load_digits()
    (folder / "images").mkdir(parents=True)
    for position, pixels in enumerate(as_bytes(data.test_images[:60])):
        Image.fromarray(pixels).save(folder / "images" / f"{position:02d}.png")
    means = torch.stack([data.train_images[data.train_labels == digit].mean(0) for digit in range(10)])
    pattern = torch.zeros_like(means[3])
    pattern[:, :3, :3] = 8 * torch.tensor([[1.0, -1, 1], [-1, 1, -1], [1, -1, 1]])
    linear = torch.nn.Linear(pattern.numel(), 10)
    with torch.no_grad():
        linear.weight.copy_(means.flatten(1))
        linear.bias.copy_(-means.flatten(1).square().sum(1) / 2)
        linear.weight[3] += pattern.flatten()
        linear.bias[3] -= (pattern * data.train_images.mean(0)).sum()  # clean images go where they went
    mlflow.pytorch.save_model(
        torch.nn.Sequential(torch.nn.Flatten(), linear).eval(),
        folder / "model",
        input_example=data.test_images[:2].numpy(),
        serialization_format="pt2",
        pip_requirements=["torch"],
    )
    return folder


def test_a_real_scan_is_waived_and_what_it_found_stays(smoothscan: Run, work: Path) -> None:
    folder = planted(work / "planted")
    quick = [folder / "model", "--images", folder / "images", "--profile", "quick", "--spaces", "l2", "-q"]
    every = "html,json,sarif,junit,markdown"
    first = smoothscan("check", *quick, "--format", every, "--output-dir", "first")
    result = read(work / "first")
    assert (first.returncode, result.target_classes, result.verdict) == (1, (3,), "backdoored"), first.stdout
    assert {path.name for path in (work / "first").iterdir()} >= PRODUCTS
    assert validation_errors(json.loads((work / "first" / "smoothscan.sarif").read_text())) == []
    # Neither waivers nor a baseline change what a scan finds, so that the second one is recalled.
    (work / "waivers.toml").write_text(waiver(result, 3))
    again = smoothscan("check", *quick, "--waivers", "waivers.toml", "--baseline", "first/result.json")
    assert again.returncode == 0, again.stderr
    later = read(work / "smoothscan-report")
    assert later.recalled
    assert (later.verdict, later.config_digest) == (result.verdict, result.config_digest)
    assert later.gate is not None
    assert [f.state for f in later.gate.findings] == ["waived"]
