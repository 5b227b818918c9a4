"""A model has to answer the same to the same images: whatever was asked before, and whatever is asked with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from smoothscan.errors import NonFiniteError, UnstableModelError
from tests.stores import example_batch

from .hosts import remote, save_odd_models

IMAGES = torch.from_numpy(example_batch(20)) * torch.linspace(0.2, 1, 60).view(20, 3, 1, 1)
PICKLED = ("Random", "Counts", "Tires", "Mixes", "Training", "Overflows", "Fine")


@pytest.fixture(scope="module")
def pickled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of pickled models whose answers do not last."""
    return save_odd_models(tmp_path_factory.mktemp("unsteady"), only=PICKLED)


@pytest.mark.parametrize("name", ["Random", "Counts", "Mixes"])
def test_answers_that_do_not_last_are_inconclusive(pickled: dict[str, Path], tmp_path: Path, name: str) -> None:
    with remote(pickled[name], tmp_path / "host", allow_model_code=True) as classifier:
        classifier.batch_size = 7  # so that images have other neighbours when fewer are asked about
        with pytest.raises(UnstableModelError, match="the same 20 images again, ") as caught:
            classifier.settle("float32", IMAGES)
    assert caught.value.exit_code == 4
    assert "evaluation mode" in caught.value.hint


def test_answers_that_change_during_the_scan_are_inconclusive(pickled: dict[str, Path], tmp_path: Path) -> None:
    with remote(pickled["Tires"], tmp_path / "host", allow_model_code=True) as classifier:
        classifier.settle("float32", IMAGES)
        classifier.verify()
        for _ in range(8):
            classifier.predict(IMAGES)
        with pytest.raises(UnstableModelError, match="at the end of the scan"):
            classifier.verify()


@pytest.mark.parametrize("name", ["Training", "Fine"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_other_models_are_steady_and_the_question_is_cheap(
    pickled: dict[str, Path], tmp_path: Path, name: str, precision: Any
) -> None:
    with remote(pickled[name], tmp_path / "host", allow_model_code=True) as classifier:
        classifier.batch_size = 7
        classifier.settle(precision, IMAGES)
        asked = 3 if precision == "float32" else 4
        assert classifier.meter.passes == pytest.approx(asked * len(IMAGES) / 3)
        classifier.verify()
        assert classifier.meter.passes == pytest.approx((asked + 1) * len(IMAGES) / 3)


def test_a_single_image_is_enough_to_ask_about(pickled: dict[str, Path], tmp_path: Path) -> None:
    with remote(pickled["Fine"], tmp_path / "host", allow_model_code=True) as classifier:
        classifier.settle("float32", IMAGES[:1])
        classifier.verify()


def test_half_precision_that_overflows_is_named(pickled: dict[str, Path], tmp_path: Path) -> None:
    with (
        remote(pickled["Overflows"], tmp_path / "host", allow_model_code=True) as classifier,
        pytest.raises(NonFiniteError, match=r"computes in float16, whose largest number is 65,504") as caught,
    ):
        classifier.settle("float32", IMAGES)
    assert "bfloat16 and float32" in caught.value.hint


# --- exported models -------------------------------------------------------------------------------------------------


class Exported(nn.Module):
    """A classifier with something in it that its answers cannot last with."""

    def __init__(self, flaw: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head, self.flaw = nn.Conv2d(3, 8, 3), nn.Linear(8, 5), flaw
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)
        self.register_buffer("asked", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(x)
        if self.flaw == "batch":
            h = self.norm(h)
        if self.flaw == "statistics":
            h = h - h.mean((0, 2, 3), keepdim=True)
        if self.flaw == "random":
            h = h + 0.1 * torch.randn_like(h)
        if self.flaw == "state":
            self.asked += 0.1
            h = h + self.asked
        return self.head(torch.tanh(h).mean((2, 3)))


@pytest.fixture(scope="module")
def save(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Saves an exported model with a flaw."""
    import mlflow.pytorch

    def saved(flaw: str) -> Path:
        folder = tmp_path_factory.mktemp(flaw) / "model"
        model = Exported(flaw).eval()
        mlflow.pytorch.save_model(model, folder, input_example=example_batch(2), pip_requirements=["torch"])
        assert (folder / "data" / "model.pt2").exists()
        return folder

    return saved


@pytest.mark.parametrize("flaw", ["random", "state", "statistics"])
def test_exported_answers_that_do_not_last_are_inconclusive(save: Any, tmp_path: Path, flaw: str) -> None:
    with remote(save(flaw), tmp_path / "host") as classifier:
        classifier.batch_size = 7
        with pytest.raises(UnstableModelError, match="answers differently when it is asked about the same"):
            classifier.settle("float32", IMAGES)


def test_normalisation_by_each_batch_has_words_of_its_own(save: Any, tmp_path: Path) -> None:
    with (
        pytest.raises(UnstableModelError, match="by the statistics of each batch") as caught,
        remote(save("batch"), tmp_path / "host"),
    ):
        pass
    assert "GroupNorm" in caught.value.hint
