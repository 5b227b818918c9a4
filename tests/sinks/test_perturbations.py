from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from safetensors import safe_open
from safetensors.numpy import load_file

from smoothscan.exhibits import Exhibits
from smoothscan.sinks.perturbations import PerturbationSink
from smoothscan.sinks.pictures import amplification, amplified, data_uri, png

from .samples import Sample, backdoored, clean, exhibit, frequency, grey, many_classes, pairs, patch, warp


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "perturbations").iterdir())


def test_writes_delta_and_image(backdoored_sample: Sample, tmp_path: Path) -> None:
    result, exhibits = backdoored_sample.result, backdoored_sample.exhibits
    written = PerturbationSink(redact_images=False).write(result, exhibits, tmp_path)
    assert [path.name for path in written] == names(tmp_path)[::-1] == ["class_0000.safetensors", "class_0000.png"]
    tensors = load_file(written[0])
    assert tensors["delta"].dtype == np.float32
    np.testing.assert_array_equal(tensors["delta"], exhibits.classes[0].perturbation)
    np.testing.assert_array_equal(tensors["image"], exhibits.classes[0].synthesis_image)
    with safe_open(written[0], "numpy") as stream:
        assert stream.metadata() == {
            "class": "0",
            "label": "airplane",
            "space": "l2",
            "description": exhibits.classes[0].description,
            "epsilon": str(result.classes[0].epsilon),
            "sigma": "0.12",
            "model_digest": result.model.digest,
            "source_image": "test_0000.png",
            "made_from": "[]",
            "clean_prediction": "3",
            "predicted": "0",
        }


def test_redaction_keeps_delta_only(backdoored_sample: Sample, tmp_path: Path) -> None:
    written = PerturbationSink(redact_images=True).write(backdoored_sample.result, backdoored_sample.exhibits, tmp_path)
    assert set(load_file(written[0])) == {"delta"}


@pytest.mark.parametrize("make", [patch, warp])
def test_outside_l2_the_trigger_is_a_picture_of_its_own(make: Callable[[], Sample], tmp_path: Path) -> None:
    sample = make()
    one = sample.exhibits.classes[4]
    assert one.picture is not None
    path, picture = PerturbationSink(redact_images=False).write(sample.result, sample.exhibits, tmp_path)
    tensors = load_file(path)
    np.testing.assert_array_equal(tensors["delta"], one.perturbation)
    np.testing.assert_array_equal(tensors["picture"], one.picture)
    np.testing.assert_array_equal(tensors["parameters"], one.parameters)
    np.testing.assert_array_equal(tensors["image"], one.synthesis_image)
    with safe_open(path, "numpy") as stream:
        metadata = stream.metadata()
    assert (metadata["space"], metadata["description"]) == (sample.result.space, one.description)
    shown = np.asarray(Pillow.open(picture)).transpose(2, 0, 1)[:, ::4, ::4] / 255
    np.testing.assert_allclose(shown, one.picture, atol=0.002)


def test_a_flagged_pair_has_files_of_its_own(tmp_path: Path) -> None:
    sample = pairs()
    PerturbationSink(redact_images=False).write(sample.result, sample.exhibits, tmp_path)
    assert {"pair_0009_0004.png", "pair_0009_0004.safetensors"} < set(names(tmp_path))
    with safe_open(tmp_path / "perturbations" / "pair_0009_0004.safetensors", "numpy") as stream:
        metadata = stream.metadata()
    assert (metadata["source"], metadata["class"], metadata["space"], metadata["epsilon"]) == ("9", "4", "patch", "9.0")
    PerturbationSink(redact_images=False).write(clean().result, clean().exhibits, tmp_path)
    assert not any(name.startswith("pair") for name in names(tmp_path))


@pytest.mark.parametrize("make", [patch, warp, frequency])
def test_redaction_leaves_out_a_delta_that_shows_the_image(make: Callable[[], Sample], tmp_path: Path) -> None:
    sample = make()
    one = sample.exhibits.classes[4]
    path, *pictures = PerturbationSink(redact_images=True).write(sample.result, sample.exhibits, tmp_path)
    assert set(load_file(path)) == {"picture", "parameters"}
    assert len(pictures) == 1
    with safe_open(path, "numpy") as stream:
        assert stream.metadata()["description"] == one.description


def test_a_later_scan_leaves_nothing_of_an_earlier_one(backdoored_sample: Sample, tmp_path: Path) -> None:
    sink = PerturbationSink(redact_images=False)
    other = Exhibits({3: exhibit(3, 1.0, False), 12345: exhibit(12345, 1.0, False)})
    sink.write(backdoored_sample.result, other, tmp_path)
    (tmp_path / "perturbations" / "class_notes.png").write_bytes(b"mine")
    sink.write(backdoored_sample.result, backdoored_sample.exhibits, tmp_path)
    assert names(tmp_path) == ["class_0000.png", "class_0000.safetensors", "class_notes.png"]
    sink.write(backdoored_sample.result, Exhibits(), tmp_path)
    assert names(tmp_path) == ["class_notes.png"]


def test_nothing_to_write_makes_no_folder(backdoored_sample: Sample, tmp_path: Path) -> None:
    assert PerturbationSink(redact_images=False).write(backdoored_sample.result, Exhibits(), tmp_path / "out") == ()
    assert not (tmp_path / "out").exists()


def test_files_are_the_same_in_every_process(backdoored_sample: Sample, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); from samples import backdoored\n"
        "from smoothscan.sinks.perturbations import PerturbationSink\n"
        "s = backdoored(); PerturbationSink(False).write(s.result, s.exhibits, Path(sys.argv[2]))\n"
    )
    for seed in ("1", "2", "3"):
        here = str(Path(__file__).parent)
        subprocess.run([sys.executable, "-c", code, here, str(tmp_path / seed)], check=True)
    made = [tmp_path / seed / "perturbations" / "class_0000.safetensors" for seed in ("1", "2", "3")]
    assert len({path.read_bytes() for path in made}) == 1


def test_hostile_label_in_the_metadata(backdoored_sample: Sample, tmp_path: Path) -> None:
    hostile = backdoored_sample.result.classes[0].model_copy(update={"label": '\x1b[2J"},{"x":\udcff'})
    result = backdoored_sample.result.model_copy(update={"classes": (hostile,)})
    (path, _) = PerturbationSink(redact_images=False).write(result, backdoored_sample.exhibits, tmp_path)
    with safe_open(path, "numpy") as stream:
        assert stream.metadata()["label"] == '"},{"x":'


@pytest.mark.parametrize(("make", "side"), [(backdoored, 128), (grey, 140), (many_classes, 224)])
def test_picture_is_large_enough_to_see(make: object, side: int, tmp_path: Path) -> None:
    sample = make()  # type: ignore[operator]
    (_, path) = PerturbationSink(redact_images=False).write(sample.result, sample.exhibits, tmp_path)
    picture = Pillow.open(path)
    assert picture.size == (side, side)
    assert picture.mode == ("L" if make is grey else "RGB")


def test_amplified_to_the_full_range_around_mid_grey() -> None:
    delta = np.zeros((3, 4, 4), np.float32)
    delta[0, 0, 0], delta[1, 1, 1] = 0.1, -0.05
    assert amplification(delta) == pytest.approx(5.0)
    pixels = np.asarray(Pillow.open(io.BytesIO(png(amplified(delta)))))
    assert pixels[0, 0, 0] == 255
    assert pixels[1, 1, 1] == 64
    assert pixels[3, 3, 0] == 128
    assert amplification(np.zeros_like(delta)) == 1.0
    assert np.all(amplified(np.zeros_like(delta)) == 0.5)


def test_enlarged_without_smoothing() -> None:
    checks = np.indices((2, 3)).sum(axis=0)[None].astype(np.float32) % 2
    picture = np.asarray(Pillow.open(io.BytesIO(png(checks, at_least=10))))
    assert picture.shape == (8, 12)
    assert set(np.unique(picture)) == {0, 255}


def test_pictures_of_odd_arrays() -> None:
    assert data_uri(np.full((3, 2, 2), np.nan, np.float32), 100).startswith("data:image/png;base64,")
    assert data_uri(np.zeros((4, 300, 200), np.float32), 100).startswith("data:image/jpeg;base64,")


def test_half_precision_is_written_as_float32(backdoored_sample: Sample, tmp_path: Path) -> None:
    one = backdoored_sample.exhibits.classes[0]
    half = replace(one, perturbation=one.perturbation.astype(np.float16)[:, ::-1])
    (path, _) = PerturbationSink(redact_images=True).write(backdoored_sample.result, Exhibits({0: half}), tmp_path)
    assert load_file(path)["delta"].dtype == np.float32
    np.testing.assert_array_equal(load_file(path)["delta"], half.perturbation)
