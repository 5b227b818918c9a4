from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from smoothscan import cache
from smoothscan.cache import entry
from smoothscan.exhibits import ClassExhibit, Exhibits, HeldOutExample
from smoothscan.result import ModelInfo, ScanResult
from smoothscan.sinks.mlflow_registry import VALID_FOR

RESULT = ScanResult(status="completed", verdict="clean", score=0.25, model=ModelInfo(uri="models:/a/1"))


def picture(value: float) -> np.ndarray:
    return np.full((3, 4, 4), value, np.float32)


def shown(index: int, *, trigger: bool) -> ClassExhibit:
    return ClassExhibit(
        index=index,
        perturbation=picture(0.1 * index),
        picture=picture(0.5) if trigger else None,
        description="a patch",
        synthesis_image=picture(0.3),
        synthesis_name="ü.png",
        synthesis_prediction=2,
        perturbed_prediction=index,
        made_from=("ü.png", "v.png"),
        examples=(HeldOutExample("b.png", picture(0.2), picture(0.9), 4, index),),
    )


EXHIBITS = Exhibits({0: shown(0, trigger=False), 3: shown(3, trigger=True)}, {(1, 3): shown(3, trigger=True)})


def plain(exhibits: Exhibits) -> object:
    def words(one: ClassExhibit) -> object:
        flat = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in vars(one).items()}
        flat["examples"] = [
            {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in vars(each).items()}
            for each in one.examples
        ]
        return flat

    return [{key: words(one) for key, one in part.items()} for part in (exhibits.classes, exhibits.pairs)]


def test_a_result_comes_back_with_its_pictures_and_the_way_to_it_is_gone(tmp_path: Path) -> None:
    with entry(tmp_path / "scans", tmp_path, "model", "config") as kept:
        assert kept.recall() is None
        kept.rounds.mkdir()
        kept.keep(RESULT, EXHIBITS)
        assert not kept.rounds.exists()
    with entry(tmp_path / "scans", tmp_path, "model", "config") as kept:
        found = kept.recall()
    assert found is not None
    assert found[0] == RESULT
    assert plain(found[1]) == plain(EXHIBITS)
    assert list(found[1].classes) == [0, 3]


def test_another_model_configuration_or_program_is_another_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with entry(tmp_path / "scans", tmp_path, "model", "config") as kept:
        kept.keep(RESULT, EXHIBITS)
    for digests in (("other", "config"), ("model", "other")):
        with entry(tmp_path / "scans", tmp_path, *digests) as kept:
            assert kept.recall() is None
    monkeypatch.setattr(cache, "_program", lambda: "a later version")
    with entry(tmp_path / "scans", tmp_path, "model", "config") as kept:
        assert kept.recall() is None


@pytest.mark.parametrize(
    "damage", [lambda data: data[:100], lambda data: b"", lambda data: data.replace(b"clean", b"maybe")]
)
def test_a_result_that_is_not_whole_is_no_result(tmp_path: Path, damage: object) -> None:
    with entry(tmp_path / "scans", tmp_path, "model") as kept:
        kept.keep(RESULT, EXHIBITS)
        (file,) = kept.folder.glob("*.safetensors")
        file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
        assert kept.recall() is None


def test_an_old_result_is_no_result(tmp_path: Path) -> None:
    with entry(tmp_path / "scans", tmp_path, "model") as kept:
        kept.keep(RESULT, EXHIBITS)
        (file,) = kept.folder.glob("*.safetensors")
        for days, there in ((VALID_FOR.days - 1, True), (VALID_FOR.days + 1, False)):
            os.utime(file, (time.time() - days * 86_400,) * 2)
            assert (kept.recall() is not None) == there


def test_while_another_process_does_the_same_scan_nothing_is_shared(tmp_path: Path) -> None:
    with entry(tmp_path / "scans", tmp_path / "a", "model") as kept:
        code = (
            "import sys; from pathlib import Path; from smoothscan.cache import entry\n"
            "root, place = map(Path, sys.argv[1:]); place.mkdir()\n"
            "with entry(root, place, 'model') as kept: print(kept.lasting, kept.folder.parent == place)\n"
        )
        arguments = [sys.executable, "-c", code, str(tmp_path / "scans"), str(tmp_path / "b")]
        done = subprocess.run(arguments, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["False", "True"]
        assert kept.lasting
    done = subprocess.run([*arguments[:-1], str(tmp_path / "c")], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


@pytest.mark.parametrize("root", [None, Path("file") / "scans"])
def test_without_a_folder_that_can_be_written_to_nothing_lasts(tmp_path: Path, root: Path | None) -> None:
    (tmp_path / "file").touch()
    with entry(root and tmp_path / root, tmp_path, "model") as kept:
        assert not kept.lasting
        assert kept.folder.parent == tmp_path
        kept.keep(RESULT, EXHIBITS)


def test_the_oldest_go_but_not_those_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "scans"
    folders = []
    for age, name in ((300, "in use"), (200, "old"), (100, "newer")):
        with entry(root, tmp_path, name) as kept:
            kept.rounds.mkdir()
            (kept.rounds / "x").write_bytes(bytes(1000))
            for path in kept.folder.rglob("*"):
                os.utime(path, (time.time() - age,) * 2)
            folders.append(kept.folder)
    monkeypatch.setattr(cache, "MOST_BYTES", 2500)
    held = cache.locked(folders[0])
    assert held is not None
    with held, entry(root, tmp_path, "present") as kept:
        assert [folder.exists() for folder in folders] == [True, False, True]
        assert kept.folder.exists()
