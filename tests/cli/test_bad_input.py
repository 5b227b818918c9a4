"""Bad input of every kind, given to the program as users start it: exit code, message, and what is left behind."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from smoothscan.result import ScanResult
from tests.planted import TARGET, PlantedNet, Probabilities, images, write_images
from tests.stores import draw_images, example_batch, free_port, log_model, logging_to

from .program import Run

Check = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Folders:
    """Images to scan with."""

    drawn: Path
    """Twelve, 32x32."""
    planted: Path
    """Sixty-two of the planted classes, 16x16."""


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    root = tmp_path_factory.mktemp("bad-input")
    return Folders(draw_images(root / "drawn"), write_images(root / "planted", images()))


class Constant(nn.Module):
    """Answers the same for every image."""

    def __init__(self, answer: list[float]) -> None:
        super().__init__()
        self.answer = nn.Parameter(torch.tensor(answer))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((1, 2, 3))[:, None] * self.answer


@pytest.fixture(scope="session")
def store(registry: Any) -> Any:
    """The registry of tiny models, and models that cannot be judged beside them."""
    import mlflow
    from sklearn.linear_model import LogisticRegression

    batch = example_batch(2)
    log_model(registry, "answers-nan", Constant([float("nan"), 1.0, 2.0]), batch)
    log_model(registry, "one-class", Constant([1.0]), batch)
    log_model(registry, "tabular", nn.Linear(8, 3), np.ones((2, 8), np.float32))
    log_model(registry, "unclear", nn.Flatten(), np.random.default_rng(0).normal(0, 3, batch.shape).astype(np.float32))
    log_model(registry, "trained", nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3072, 4)).train(), batch)
    log_model(registry, "planted", PlantedNet(backdoored=True), images(2).numpy())
    log_model(registry, "softmax", Probabilities(backdoored=True), images(2).numpy())
    with logging_to(registry.tracking_uri, registry.folder):
        experiment = registry.client().get_experiment_by_name("training").experiment_id
        with mlflow.start_run(experiment_id=experiment):
            table = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
            mlflow.sklearn.log_model(
                table, name="model", registered_model_name="of-sklearn", pip_requirements=["scikit-learn"]
            )
    return registry


@pytest.fixture
def check(smoothscan: Run, store: Any, folders: Folders) -> Check:
    """Scans a model of the store with the drawn images; leaves the registry alone."""

    def run(
        uri: str, *options: object, images: Path = folders.drawn, protected: bool = True
    ) -> subprocess.CompletedProcess[str]:
        where = () if "--tracking-uri" in options else ("--tracking-uri", store.tracking_uri)
        always = ("--no-write-back", "--threads", "1")
        return smoothscan("check", uri, "--images", images, *where, *always, *options, protected=protected)

    return run


def told(done: subprocess.CompletedProcess[str]) -> str:
    """Everything that the program printed; never a traceback, and nothing but the outcome on standard output."""
    text = done.stdout + done.stderr
    assert "Traceback" not in text
    assert "bug in smoothscan" not in text
    assert done.stdout == "" or done.stdout.startswith("model  ")
    return text


def ended(
    done: subprocess.CompletedProcess[str], work: Path, code: int, status: str, error: str, *parts: str
) -> ScanResult:
    """A scan that ended without a verdict of its own, and says so in its result."""
    text = told(done)
    assert done.returncode == code, text
    written = (work / "smoothscan-report" / "result.json").read_text()
    assert "Traceback" not in written
    result = ScanResult.model_validate(json.loads(written))
    assert (result.status, result.verdict) == (status, "inconclusive" if code == 4 else None)
    assert result.exit_code() == code
    assert result.error is not None
    assert result.error.type == error
    for part in parts:
        assert part in result.error.message + " " + result.error.hint
    for said in (result.error.message, result.error.hint):
        assert " ".join(said.split()) in " ".join(text.split()), "the terminal says what the file says"
    assert result.classes == ()
    assert (work / "smoothscan-report" / "report.html").exists()
    return result


def misused(done: subprocess.CompletedProcess[str], work: Path, *parts: str) -> None:
    """A command that cannot be carried out; nothing is left behind."""
    text = told(done)
    assert done.returncode == 2, text
    assert done.stdout == ""
    assert "Hint: " in done.stderr
    for part in parts:
        assert part in done.stderr
    assert not (work / "smoothscan-report").exists()


# --- 3: the model could not be examined ------------------------------------------------------------------------------


def test_an_unknown_model(check: Check, work: Path) -> None:
    done = check("models:/nobody/1")
    ended(done, work, 3, "failed", "ModelNotFoundError", "no registered model 'nobody'", "--tracking-uri")


def test_no_version(check: Check, work: Path) -> None:
    done = check("models:/tiny-pt2")
    ended(done, work, 3, "failed", "ModelNotFoundError", "names no version", "models:/tiny-pt2/1", "@champion")


def test_an_unknown_alias(check: Check, work: Path) -> None:
    done = check("models:/tiny-pt2@loser")
    ended(done, work, 3, "failed", "ModelNotFoundError", "no alias 'loser'", "models:/tiny-pt2@champion")


def test_an_unreachable_server(check: Check, work: Path) -> None:
    server = f"http://me:s3cret@127.0.0.1:{free_port()}"
    done = check("models:/tiny-pt2/1", "--tracking-uri", server)
    ended(done, work, 3, "failed", "RegistryError", "did not answer (connection refused)", "--tracking-uri")
    assert "s3cret" not in done.stdout + done.stderr


def test_a_pickled_model_without_permission_and_without_a_sandbox(check: Check, work: Path) -> None:
    done = check("models:/tiny-pickle/1", protected=False)
    result = ended(done, work, 3, "refused", "RefusedError", "tiny_net", "smoothscan doctor", "--allow-model-code")
    assert result.safety.needs_model_code
    assert not result.safety.model_code_executed


# --- 2: the command is wrong -----------------------------------------------------------------------------------------


def test_an_empty_image_folder(check: Check, work: Path) -> None:
    (work / "empty").mkdir()
    misused(check("models:/tiny-pt2/1", images=work / "empty"), work, "has no image files", ".png")


def test_images_of_another_size_that_must_not_be_resized(check: Check, work: Path, folders: Folders) -> None:
    done = check("models:/tiny-pt2/1", "--resize", "none", images=folders.planted)
    misused(done, work, "000.png has 16x16 pixels", "the model takes 32x32", "--resize crop")


def test_an_output_folder_that_cannot_be_written(check: Check, work: Path) -> None:
    (work / "file").write_text("in the way")
    misused(check("models:/tiny-pt2/1", "--output-dir", "file/below"), work, "file", "--output-dir")
    assert (work / "file").read_text() == "in the way"


# --- 4: the scan ran, but cannot say ---------------------------------------------------------------------------------


def test_a_model_that_answers_nan(check: Check, work: Path) -> None:
    ended(check("models:/answers-nan/1"), work, 4, "completed", "NonFiniteError", "NaN", "value range")


def test_too_few_usable_images(check: Check, work: Path) -> None:
    result = ended(
        check("models:/tiny-pt2/1"), work, 4, "completed", "TooFewImagesError", "12 usable images are too few"
    )
    assert result.coverage.images == 12


def test_an_input_that_cannot_be_told(check: Check, work: Path) -> None:
    done = check("models:/unclear/1")
    ended(done, work, 4, "completed", "InputSpecError", "value range", "--value-range", "--mean", "--std")


def test_a_model_that_was_exported_in_training_mode(check: Check, work: Path) -> None:
    ended(check("models:/trained/1"), work, 4, "completed", "InconclusiveError", "training mode", "model.eval()")


# --- 5: no model that the scanner understands ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("one-class", "a single output"),
        ("of-sklearn", "no PyTorch model; its flavors are: 'python_function', 'sklearn'"),
        ("tabular", "images need four axes"),
    ],
)
def test_what_is_no_image_classifier(check: Check, work: Path, name: str, said: str) -> None:
    result = ended(check(f"models:/{name}/1"), work, 5, "unsupported", "UnsupportedModelError", said)
    assert result.model.resolved_uri == f"models:/{name}/1"
    assert result.model.digest is not None


# --- what works all the same -----------------------------------------------------------------------------------------


def test_a_corrupt_image_is_named_and_skipped_and_a_model_that_answers_probabilities_is_judged(
    check: Check, work: Path
) -> None:
    folder = write_images(work / "images", images())
    whole = (folder / "005.png").read_bytes()
    (folder / "005.png").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("no image, and no attempt at one")
    Image.new("RGB", (16, 16)).save(folder / "099.png")
    done = check("models:/softmax/1", images=folder)
    text = told(done)
    result = ScanResult.model_validate(json.loads((work / "smoothscan-report" / "result.json").read_text()))
    assert done.returncode == result.exit_code() == 1, text
    assert result.target_classes == (TARGET,)
    assert result.input_spec is not None
    assert result.input_spec.outputs == "probabilities"
    assert result.coverage.images == 62
    assert len(result.coverage.images_skipped) == 1
    assert result.coverage.images_skipped[0].startswith("005.png: ")
    assert "005.png: " in done.stdout


def test_no_permission_to_tag_leaves_the_verdict(
    smoothscan: Run, work: Path, server: Any, guarded: Callable[[str], str], folders: Folders
) -> None:
    log_model(server, "planted", PlantedNet(backdoored=True), images(2).numpy())
    uri = guarded("model-versions/set-tag")
    done = smoothscan("check", "models:/planted/1", "--images", folders.planted, "--tracking-uri", uri, "--threads", 1)
    told(done)
    result = ScanResult.model_validate(json.loads((work / "smoothscan-report" / "result.json").read_text()))
    assert done.returncode == 1
    assert (result.verdict, result.target_classes) == ("backdoored", (TARGET,))
    assert (result.write_back.status, result.write_back.tagged) == ("failed", False)
    assert "Warning: the result stands, but was not written back" in done.stderr
    assert "403" in done.stderr
    assert "backdoored" in done.stdout
    assert "smoothscan.verdict" not in server.client().get_model_version("planted", "1").tags
    assert server.client().get_run(result.write_back.run_id).info.status == "FINISHED"
