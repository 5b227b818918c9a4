"""`calibrate` as users start it, and what becomes of models that cannot be in a calibration."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from smoothscan.cli.calibrate import calibrate
from smoothscan.errors import ConfigError, OutputError, SmoothscanError
from smoothscan.exhibits import Exhibits
from smoothscan.result import ErrorInfo, ModelInfo, ScanResult
from smoothscan.sources.calibration_file import read_calibration
from tests.planted import TARGET, PlantedNet, images, write_images
from tests.stores import log_model

from .program import ENVIRONMENT, Run, unprotected

# --- in earnest ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Calibrated:
    """A calibration that was stopped, and then brought to its end by the same command."""

    file: Path
    images: Path
    tracking_uri: str
    stopped: subprocess.CompletedProcess[str]
    models_when_stopped: int
    done: subprocess.CompletedProcess[str]

    @property
    def options(self) -> list[object]:
        return ["--images", self.images, "--tracking-uri", self.tracking_uri, "--threads", 1]


@pytest.fixture(scope="module")
def calibrated(registry: Any, tmp_path_factory: pytest.TempPathFactory) -> Calibrated:
    """Two clean models and one that is refused; the first run is stopped while it scans the second."""
    work = tmp_path_factory.mktemp("calibrated")
    folder = write_images(work / "images", images(42))
    for name, net in (
        ("calm", PlantedNet(backdoored=False)),
        ("quiet", PlantedNet(backdoored=False, scale=25.0)),
        ("loud", PlantedNet(backdoored=True)),
    ):
        log_model(registry, name, net, images(2).numpy())
    log_model(registry, "unsafe", PlantedNet(backdoored=False), images(2).numpy(), kind="pickle")
    uris = [f"models:/{name}/1" for name in ("calm", "quiet", "unsafe")]
    options = ["--images", folder, "--tracking-uri", registry.tracking_uri, "--threads", 1, "--output", "clean.json"]
    words = unprotected("calibrate", "--clean", uris[0], "--clean", *uris[1:], *options)
    process = subprocess.Popen(
        words, cwd=work, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    seen = ""
    while "model 2 of 3: models:/quiet/1" not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    process.send_signal(signal.SIGINT)
    out, rest = process.communicate(timeout=60)
    stopped = subprocess.CompletedProcess(words, process.returncode, out, seen + rest)
    so_far = len(read_calibration(work / "clean.json").models)
    done = subprocess.run(words, cwd=work, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    return Calibrated(work / "clean.json", folder, registry.tracking_uri, stopped, so_far, done)


def test_a_stopped_calibration_keeps_what_is_finished(calibrated: Calibrated) -> None:
    assert calibrated.stopped.returncode == 130
    assert calibrated.models_when_stopped == 1
    last = calibrated.stopped.stderr.splitlines()[-1]
    assert last == "stopped; the models scanned so far (1) are in clean.json, and the same command goes on from there"
    assert calibrated.stopped.stdout == ""


def test_the_same_command_goes_on_and_one_model_that_fails_does_not_spoil_the_others(calibrated: Calibrated) -> None:
    done = calibrated.done
    assert done.returncode == 3, done.stderr
    assert "models:/calm/1 has been scanned: it is in clean.json" in done.stderr
    assert done.stderr.count("] probe") == 1, "only the second model was searched"
    models = read_calibration(calibrated.file).models
    assert [model.uri for model in models] == ["models:/calm/1", "models:/quiet/1"]
    for model in models:
        assert any(
            line.startswith(f"{model.uri} ") and f"{model.anomaly:.3f}" in line for line in done.stdout.splitlines()
        )
    assert done.stdout.splitlines()[-1] == "2 clean models allow no p-value below 0.33; 99 would allow 0.01."
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert "models:/unsafe/1 is not in the calibration: refused" in error
    assert "Traceback" not in done.stderr


def test_nothing_is_written_but_the_file(calibrated: Calibrated, registry: Any) -> None:
    assert {path.name for path in calibrated.file.parent.iterdir()} == {"clean.json", "images"}
    for name in ("calm", "quiet", "unsafe"):
        tags = registry.client().get_model_version(name, "1").tags
        assert not [key for key in tags if key.startswith("smoothscan.")]


def test_a_backdoored_model_is_judged_against_the_clean_ones(
    smoothscan: Run, work: Path, calibrated: Calibrated
) -> None:
    options = [*calibrated.options, "--calibration", calibrated.file, "--no-write-back", "-q"]
    done = smoothscan("check", "models:/loud/1", *options)
    result = ScanResult.model_validate(json.loads((work / "smoothscan-report" / "result.json").read_text()))
    assert (done.returncode, result.target_classes) == (1, (TARGET,)), done.stderr
    assert result.calibration is not None
    assert (result.calibration.n_models, result.calibration.p_value) == (2, 1 / 3)
    assert result.anomaly is not None
    assert result.anomaly > result.calibration.highest_anomaly
    line = "0.33 against the calibration's 2 clean models (0.33 is the smallest possible)"
    assert f"p-value  {line}" in done.stdout
    assert line in (work / "smoothscan-report" / "report.html").read_text().replace("&#39;", "'")


def test_a_calibration_that_does_not_fit_is_found_out_before_the_model_is_looked_for(
    smoothscan: Run, work: Path, calibrated: Calibrated
) -> None:
    done = smoothscan(
        "check", "models:/nobody/1", *calibrated.options, "--calibration", calibrated.file, "--sigma", 0.3
    )
    assert done.returncode == 2, done.stderr
    assert "sigma is the profile's there and 0.3 here" in done.stderr
    assert "Hint: " in done.stderr
    assert "download" not in done.stderr
    assert not (work / "smoothscan-report").exists()


# --- with scans that are over at once --------------------------------------------------------------------------------

Calibrate = Callable[..., Result]


def scan_of(uri: str, **changes: Any) -> ScanResult:
    values: dict[str, Any] = {
        "status": "completed",
        "verdict": "clean",
        "anomaly": 0.25,
        "model": ModelInfo(uri=uri, resolved_uri=uri, digest=f"sha256:{uri}"),
    }
    return ScanResult(**{**values, **changes})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calibrate:
    """Runs the command in a folder of its own; models that have no result of their own in `results` are clean."""
    import smoothscan.pipeline

    monkeypatch.chdir(tmp_path)

    def calibrate_with(*words: str, results: dict[str, ScanResult] | None = None) -> Result:
        def scan(config: Any, *_args: Any, **_kwargs: Any) -> tuple[ScanResult, Exhibits]:
            return (results or {}).get(config.uri, scan_of(config.uri)), Exhibits()

        monkeypatch.setattr(smoothscan.pipeline, "scan", scan)
        arguments = ["--images", "images", "--output", "clean.json", "-q", *words]
        done = CliRunner().invoke(calibrate, arguments)
        if isinstance(done.exception, SmoothscanError):
            raise done.exception
        return done

    return calibrate_with


def kept() -> list[str]:
    return [model.uri for model in read_calibration(Path("clean.json")).models]


def test_a_model_that_looks_backdoored_is_included_with_a_warning(run: Calibrate) -> None:
    found = scan_of("models:/b/1", verdict="backdoored", target_classes=(4,), anomaly=1.5)
    done = run("--clean", "models:/a/1", "models:/b/1", results={"models:/b/1": found})
    assert done.exit_code == 0
    assert kept() == ["models:/a/1", "models:/b/1"]
    assert done.stderr.startswith("Warning: models:/b/1 looks backdoored by itself (class 4)")
    assert done.stdout.split()[3:5] == ["models:/b/1", "1.500"], "the most anomalous first"


ERROR = ErrorInfo(type="X", message="It broke.", hint="Mend it.")


@pytest.mark.parametrize(
    ("others", "code"),
    [
        ([{"verdict": "inconclusive", "anomaly": None, "reasons": ("It broke.",)}], 4),
        ([{"status": "unsupported", "verdict": None, "anomaly": None, "error": ERROR}], 5),
        ([{"status": "timed_out", "verdict": None, "anomaly": None, "error": ERROR}], 3),
        (
            [
                {"verdict": "inconclusive", "anomaly": None, "reasons": ("It broke.",)},
                {"status": "unsupported", "verdict": None, "anomaly": None, "error": ERROR},
                {"status": "failed", "verdict": None, "anomaly": None, "error": ERROR},
            ],
            3,
        ),
        (
            [
                {"status": "unsupported", "verdict": None, "anomaly": None, "error": ERROR},
                {"verdict": "inconclusive", "anomaly": None, "reasons": ("It broke.",)},
            ],
            4,
        ),
    ],
)
def test_a_model_that_says_nothing_is_left_out_and_the_worst_of_them_is_the_exit_code(
    run: Calibrate, others: list[dict[str, Any]], code: int
) -> None:
    results = {f"models:/bad/{i}": scan_of(f"models:/bad/{i}", **other) for i, other in enumerate(others)}
    done = run("--clean", *results, "models:/a/1", results=results)
    assert done.exit_code == code
    assert kept() == ["models:/a/1"]
    errors = done.stderr.splitlines()
    assert [line.split()[1] for line in errors] == list(results)
    assert all(line.startswith("Error: ") and "It broke." in line for line in errors)


def test_no_model_makes_no_file(run: Calibrate) -> None:
    failed = scan_of("models:/a/1", status="failed", verdict=None, anomaly=None, error=ERROR)
    done = run("--clean", "models:/a/1", results={"models:/a/1": failed})
    assert (done.exit_code, done.stdout) == (3, "")
    assert not Path("clean.json").exists()


def test_the_same_model_under_two_names_counts_once(run: Calibrate) -> None:
    alias = scan_of("models:/a/1")
    done = run("--clean", "models:/a/1", "models:/a@best", "models:/a/1", results={"models:/a@best": alias})
    assert done.exit_code == 0
    assert kept() == ["models:/a/1"]


def test_a_later_command_adds_models_to_the_file(run: Calibrate) -> None:
    run("--clean", "models:/a/1")
    assert run("--clean", "models:/b/1").exit_code == 0
    assert kept() == ["models:/a/1", "models:/b/1"]


def test_a_file_with_other_settings_is_left_alone(run: Calibrate) -> None:
    run("--clean", "models:/a/1")
    before = Path("clean.json").read_bytes()
    with pytest.raises(ConfigError, match="synthesis_images is 1 there and 3 here") as caught:
        run("--clean", "models:/b/1", "--synthesis-images", "3")
    assert "--output" in caught.value.hint
    assert Path("clean.json").read_bytes() == before


def test_a_file_that_is_something_else_is_not_overwritten(run: Calibrate) -> None:
    Path("clean.json").write_text('{"my": "notes"}')
    with pytest.raises(ConfigError, match=r"clean\.json is no calibration: it has no schema_version") as caught:
        run("--clean", "models:/a/1")
    assert "--output" in caught.value.hint
    assert Path("clean.json").read_text() == '{"my": "notes"}'


def test_options_come_from_the_configuration_file_too_and_those_of_check_do_no_harm(run: Calibrate) -> None:
    Path("smoothscan.toml").write_text('synthesis_images = 3\ncalibration = "clean.json"\nlabels = ["cat", "dog"]\n')
    assert run("--clean", "models:/a/1").exit_code == 0
    assert read_calibration(Path("clean.json")).settings["synthesis_images"] == "3"


def test_that_the_models_are_clean_has_to_be_said(run: Calibrate) -> None:
    done = run("models:/a/1")
    assert done.exit_code == click.UsageError.exit_code
    assert "--clean" in done.stderr
    assert not Path("clean.json").exists()


def test_a_place_that_cannot_be_written_is_found_out_first(run: Calibrate) -> None:
    Path("file").write_text("in the way")
    with pytest.raises(OutputError) as caught:
        run("--clean", "models:/a/1", "--output", "file/clean.json")
    assert caught.value.hint == "Pass another --output."
    assert Path("file").read_text() == "in the way"
    Path("folder").mkdir()
    done = run("--clean", "models:/a/1", "--output", "folder")
    assert done.exit_code == 2
    assert "--output" in done.stderr
