"""What a training leaves behind."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from smoothscan.errors import OutputError
from smoothscan.events import Silent
from smoothscan.smoothing.diffusion import load_denoiser
from smoothscan.sources.denoisers import read_pipeline
from smoothscan.training.measure import PICTURED, errors, picture
from smoothscan.training.result import Trained, finish, finished
from smoothscan.training.settings import Settings
from smoothscan.training.state import HIDDEN, Progress
from smoothscan.training.trainer import Trainer

from .conftest import Ready

Finish = Callable[[], Trained]


@pytest.fixture
def trainer(ready: Ready) -> Trainer:
    settings, images = ready(steps=2)
    trainer = Trainer(settings, images, 1, torch.device("cpu"))
    for _ in range(settings.steps):
        trainer.step()
    return trainer


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "out" / HIDDEN).mkdir(parents=True)
    return tmp_path / "out"


@pytest.fixture
def end(trainer: Trainer, output: Path) -> Finish:
    return lambda: finish(trainer, Progress(2, 1.0, [(2, 1.0)]), output, output / HIDDEN, Silent())


def test_the_weights_that_are_kept_are_the_moving_average(trainer: Trainer, end: Finish, output: Path) -> None:
    trained = end()
    denoiser = load_denoiser(read_pipeline(output, "out"), 3)
    for kept, average in zip(denoiser.unet.parameters(), trainer.average.shadow_params, strict=True):
        assert torch.equal(kept, average)
    assert json.loads((output / "training.json").read_text()) == json.loads(json.dumps(trained.record))
    assert not (output / HIDDEN).exists()
    assert trained.images == "72 images of 8x8 RGB"


def test_an_end_that_was_stopped_while_it_moved_things_can_be_repeated(
    end: Finish, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_path, moved = Path.replace, []

    def stop(path: Path, target: Path) -> Path:
        if target.parent == output and len(moved) == 3:
            raise KeyboardInterrupt
        moved.append(target)
        return replace_path(path, target)

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        end()
    assert not (output / "model_index.json").exists(), "an unfinished folder does not look finished"
    monkeypatch.undo()
    end()
    read_pipeline(output, "out")


def test_a_finished_folder_is_taken_only_where_that_is_asked_for(trainer: Trainer, end: Finish, output: Path) -> None:
    settings = trainer.settings
    assert finished(output, settings, take=True) is None
    trained = end()
    (output / HIDDEN).mkdir()
    again = finished(output, settings, take=True)
    assert again is not None
    assert again.errors == trained.errors
    assert not (output / HIDDEN).exists()
    with pytest.raises(OutputError, match="its training is finished"):
        finished(output, settings, take=False)
    with pytest.raises(OutputError, match="asked for now: steps 3"):
        finished(output, replace(settings, steps=3), take=True)


@pytest.mark.parametrize("text", [None, "{", "[]", '{"settings": 1}'])
def test_a_model_of_others_is_left_alone(output: Path, text: str | None) -> None:
    shutil.rmtree(output / HIDDEN)
    (output / "model_index.json").write_text("{}")
    if text is not None:
        (output / "training.json").write_text(text)
    with pytest.raises(OutputError, match="was not trained here"):
        finished(output, Settings(8, 8, 3, 1, 0, "x"), take=True)


def test_the_picture_shows_the_held_out_images(trainer: Trainer, end: Finish, output: Path) -> None:
    end()
    denoiser = load_denoiser(read_pipeline(output, "out"), 3)
    with Image.open(io.BytesIO(picture(denoiser, trainer.images, trainer.settings))) as sheet:
        assert sheet.size[0] == 3 * len(PICTURED) * (64 + 4) + 4
        first = trainer.images.pixels[trainer.images.held_out[0]]
        assert sheet.getpixel((4 + 32, 16 + 32)) == tuple(first[:, 4, 4].tolist())
    assert errors(denoiser, trainer.images, trainer.settings) == errors(denoiser, trainer.images, trainer.settings)
