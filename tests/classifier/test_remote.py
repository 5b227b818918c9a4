"""The classifier in its own process answers like the same model in this one, and is contained when it does not."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from smoothscan.activations import activation_bytes
from smoothscan.classifier.interface import Classifier
from smoothscan.classifier.local import LocalClassifier
from smoothscan.errors import ModelHostError, ModelLoadError, NonFiniteError, ScanTimeoutError
from smoothscan.sandbox.process import innermost
from smoothscan.sandbox.protections import protections
from tests.stores import example_batch

from .hosts import ended, remote, running, save_odd_models

IMAGES = torch.from_numpy(example_batch(9))


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of odd pickled models."""
    return save_odd_models(tmp_path_factory.mktemp("odd"))


@pytest.fixture(scope="module")
def local(registry: Any) -> Classifier:
    """The tiny model of the registry in this process."""
    module = torch.load(registry.model_folder("tiny-pickle") / "data" / "model.pth", weights_only=False)
    return LocalClassifier(module.eval(), IMAGES)


def mlflow_module(folder: Path) -> torch.nn.Module:
    """An exported model in this process."""
    module = torch.export.load(folder / "data" / "model.pt2").module()
    return module.requires_grad_(False)


def answers(classifier: Classifier, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and the gradient of some function of them."""
    leaf = images.clone().requires_grad_(True)
    logits = classifier(leaf)
    logits.log_softmax(1).square().sum().backward()
    assert leaf.grad is not None
    return logits.detach(), leaf.grad


# --- it answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [("tiny-pt2", {}), ("tiny-static", {}), ("tiny-pickle", {"allow_model_code": True})],
)
def test_answers_and_gradients_are_those_of_the_model(
    registry: Any, local: Classifier, tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    with remote(registry.model_folder(name), tmp_path / "host", **options) as classifier:
        assert classifier.n_classes == 10
        assert classifier.input_shape == (3, 32, 32)
        expected = answers(local, IMAGES)
        for answer, right in zip(answers(classifier, IMAGES), expected, strict=True):
            torch.testing.assert_close(answer, right, rtol=1e-4, atol=1e-6)
        assert classifier.meter.passes == pytest.approx(len(IMAGES))

        # more images than one exchange holds, with a rest
        classifier.batch_size = 4
        for answer, right in zip(answers(classifier, IMAGES), expected, strict=True):
            torch.testing.assert_close(answer, right, rtol=1e-4, atol=1e-6)
        assert classifier.meter.passes == pytest.approx(len(IMAGES) * (1 + 4 / 3)), "the graph of a part is not kept"

        # a gradient that is asked for after another question is that of its own images
        leaf = IMAGES.clone().requires_grad_(True)
        classifier.batch_size = len(IMAGES)
        logits = classifier(leaf)
        classifier.predict(IMAGES.flip(0))
        assert classifier.meter.host_seconds > 0
        assert classifier.meter.total_seconds >= classifier.meter.host_seconds
        logits.log_softmax(1).square().sum().backward()
        torch.testing.assert_close(leaf.grad, expected[1], rtol=1e-4, atol=1e-6)


def test_the_batch_size_follows_the_model_and_the_memory_alone(
    registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smoothscan.classifier.asked.MAX_BATCH", 10**6)
    module = mlflow_module(registry.model_folder("tiny-pt2"))
    used = activation_bytes(module, IMAGES[:1])
    with remote(registry.model_folder("tiny-pt2"), tmp_path / "host", memory_bytes=2**26) as classifier:
        assert classifier.batch_size == 2**26 // used


@pytest.mark.parametrize(("name", "precision"), [("Fine", "bfloat16"), ("Coarse", "float32")])
def test_bfloat16_is_taken_only_where_it_keeps_the_predictions(
    odd: dict[str, Path], tmp_path: Path, name: str, precision: str
) -> None:
    images = torch.full((6, 3, 32, 32), 0.2)
    for position in range(6):
        images[position, position % 3] = 0.8
    with remote(odd[name], tmp_path / "host", allow_model_code=True) as classifier:
        classifier.native_bfloat16 = False
        classifier.settle("auto", images)
        assert classifier.precision == "float32", "it would be slower here"
        classifier.native_bfloat16 = True
        classifier.settle("auto", images)
        assert classifier.precision == precision
        assert classifier.outputs == "logits"
        classifier.precision = "float32"
        classifier.settle("float32", images)
        assert classifier.precision == "float32"
        classifier.settle("bfloat16", images)
        assert classifier.precision == "bfloat16", "the user's word counts"


# --- what the model can see ------------------------------------------------------------------------------------------


def test_no_secret_reaches_the_model(odd: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_TOKEN", "ARBITRARY", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "https://me:s3cret@host")
    with remote(odd["Environment"], tmp_path / "host", allow_model_code=True) as classifier:
        *secrets, path, leaked = classifier(IMAGES[:1])[0].tolist()
    assert path == 1.0, "the model does look"
    assert secrets == [0.0, 0.0, 0.0]
    assert leaked == 0.0


def test_the_host_refuses_a_pickle_by_itself(registry: Any, tmp_path: Path) -> None:
    with (
        pytest.raises(ModelLoadError, match="MLFLOW_ALLOW_PICKLE_DESERIALIZATION"),
        remote(registry.model_folder("tiny-pickle"), tmp_path / "host"),
    ):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="shared memory is sealed on Linux")
def test_the_shared_memory_cannot_be_resized(registry: Any, tmp_path: Path) -> None:
    with remote(registry.model_folder("tiny-pt2"), tmp_path / "host") as classifier:
        fd = classifier._host.memory_fd
        size = os.fstat(fd).st_size
        for other in (0, size - 4096, size + 4096):
            with pytest.raises(PermissionError):
                os.ftruncate(fd, other)
        assert os.fstat(fd).st_size == size


# --- what the model can do -------------------------------------------------------------------------------------------


def test_a_model_that_is_never_done_is_ended_with_its_children(odd: dict[str, Path], tmp_path: Path) -> None:
    with remote(odd["Sleeps"], tmp_path / "host", allow_model_code=True) as classifier:
        process = psutil.Process(classifier._host.process.pid)
        started = time.monotonic()
        classifier._deadline = started + 3
        with pytest.raises(ScanTimeoutError) as caught:
            classifier.predict(IMAGES)
        assert 3 <= time.monotonic() - started < 20
        assert "--time-limit" in caught.value.hint
        family = [process, *process.children(recursive=True)]
        sleepers = [child for child in family if child.name() == "sleep"]
        assert len(sleepers) == (0 if protections().processes else 2)
    assert ended(family)


def test_a_model_that_ends_its_process_is_told_within_seconds(odd: dict[str, Path], tmp_path: Path) -> None:
    with (
        pytest.raises(ModelHostError, match=r"ended with code 3; it printed last: giving up$"),
        remote(odd["Exits"], tmp_path / "host", allow_model_code=True, seconds=60),
    ):
        pass


def test_a_process_that_is_killed_is_told(registry: Any, tmp_path: Path) -> None:
    with remote(registry.model_folder("tiny-pt2"), tmp_path / "host") as classifier:
        inner = innermost(classifier._host.process)
        assert inner is not None
        inner.kill()
        with pytest.raises(ModelHostError, match="was killed by SIGKILL") as caught:
            classifier.predict(IMAGES)
    assert "--memory" in caught.value.hint


def test_a_model_that_prints_a_lot_blocks_nothing(odd: dict[str, Path], tmp_path: Path) -> None:
    with remote(odd["Prints"], tmp_path / "host", allow_model_code=True, seconds=60) as classifier:
        assert classifier.predict(IMAGES).shape == (9,)
        assert classifier._host.log.stat().st_size > 2 * 2**20
        assert len(classifier._host.last_words()) <= 2000


def test_answers_that_are_no_numbers_are_inconclusive(odd: dict[str, Path], tmp_path: Path) -> None:
    with remote(odd["NaN"], tmp_path / "host", allow_model_code=True) as classifier:
        assert classifier(torch.full((2, 3, 32, 32), 0.5)).isfinite().all()
        with pytest.raises(NonFiniteError):
            classifier(torch.full((2, 3, 32, 32), 0.95))


def test_an_empty_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model" / "data").mkdir(parents=True)
    (tmp_path / "model" / "MLmodel").write_text("flavors: {pytorch: {model_data: data}}")
    (tmp_path / "model" / "data" / "model.pt2").touch()
    with pytest.raises(ModelLoadError, match="does not load"), remote(tmp_path / "model", tmp_path / "host"):
        pass


def test_leaving_ends_a_host_that_was_never_asked(tmp_path: Path) -> None:
    started = time.monotonic()
    with running(tmp_path / "host", tmp_path) as host:
        pass
    assert host.process.poll() is not None
    assert time.monotonic() - started < 5, "not even its imports are waited for"
