"""What a stopped training goes on from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from smoothscan.errors import ConfigError, OutputError
from smoothscan.training.settings import Settings
from smoothscan.training.state import Progress, check_settings, hidden_folder, keep, recall

SETTINGS = Settings(8, 8, 3, 100, 0, "sha256:1")
PROGRESS = Progress(7, 1.5, [(2, 0.1), (4, 1 / 3)], 0.25)


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    assert recall(tmp_path) is None
    check_settings(tmp_path, SETTINGS)
    state = {"weights.a": torch.arange(6.0).reshape(2, 3).T, "average.a": torch.ones(1)}
    keep(tmp_path, SETTINGS, PROGRESS, state)
    check_settings(tmp_path, SETTINGS)
    found = recall(tmp_path)
    assert found is not None
    assert (found[0].done, found[0].seconds, found[0].pending) == (7, 1.5, 0.25)
    assert [tuple(entry) for entry in found[0].losses] == PROGRESS.losses
    assert all(torch.equal(found[1][name], state[name]) for name in state)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"steps": 200}, "steps 100"),
        ({"height": 16, "seed": 3}, "height 8, seed 0"),
        ({"files": "sha256:2"}, "other image files"),
        ({"version": "0.0.1"}, "version"),
    ],
)
def test_other_settings_are_refused_and_lose_nothing(tmp_path: Path, other: dict[str, object], told: str) -> None:
    keep(tmp_path, replace(SETTINGS, **other), PROGRESS, {"a": torch.ones(1)})
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match=f"unfinished training of other settings; asked for now: {told}") as error:
        check_settings(tmp_path, SETTINGS)
    assert "--output" in error.value.hint
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_broken_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "state.safetensors").write_bytes(b"broken")
    with pytest.raises(ConfigError, match="cannot be read"):
        check_settings(tmp_path, SETTINGS)


def test_a_full_disk_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(tmp_path, SETTINGS, PROGRESS, {"a": torch.ones(1)})
    before = (tmp_path / "state.safetensors").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device") as error:
        keep(tmp_path, SETTINGS, Progress(8), {"a": torch.zeros(1)})
    assert "goes on from what is kept" in error.value.hint
    assert (tmp_path / "state.safetensors").read_bytes() == before


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(OutputError, match="holds something else"), hidden_folder(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        hidden_folder(tmp_path / "out"),
        pytest.raises(OutputError, match="Another process trains in"),
        hidden_folder(tmp_path / "out"),
    ):
        pass
    with hidden_folder(tmp_path / "out") as hidden:
        assert hidden.is_dir()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Cannot write") as error, hidden_folder(tmp_path / "file" / "out"):
        pass
    assert "--output." in error.value.hint
