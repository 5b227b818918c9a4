"""Image processors and timm's config.json, read as data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smoothscan.config import InputConfig
from smoothscan.errors import InputSpecError
from smoothscan.events import Silent
from smoothscan.result import InputSpec, ModelInfo
from smoothscan.sources import fetch
from smoothscan.sources.input_spec import input_spec, label_names
from smoothscan.sources.interface import Artifact
from smoothscan.stored import Stored
from tests.modelhost.flavors import save_vit

VIT = {
    "size": {"height": 224, "width": 160},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.5, 0.4, 0.3],
}


def transformers(folder: Path, processor: Any, **config: Any) -> Artifact:
    for name, values in (
        ("model/config.json", config),
        ("components/image_processor/preprocessor_config.json", processor),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(values))
    # what MLflow infers from an example is about the pipeline, which takes pictures of any size
    entry = {"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, 640, 480, 3]}}
    mlmodel = {"signature": {"inputs": json.dumps([entry])}}
    stored = Stored(flavor="transformers", path="model")
    return Artifact(path=folder, info=ModelInfo(uri="test"), stored=stored, mlmodel=mlmodel)


def spec_of(artifact: Artifact, **config: Any) -> InputSpec:
    return input_spec(artifact, InputConfig(**config), {})


def test_what_mlflow_really_writes(tmp_path: Path) -> None:
    save_vit(tmp_path / "model", image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6])
    (tmp_path / "copy").mkdir()
    artifact = fetch(str(tmp_path / "model"), tmp_path / "copy", tracking_uri=None, registry_uri=None, events=Silent())
    assert artifact.info.flavor == "transformers"
    spec = spec_of(artifact)
    assert (spec.channels, spec.height, spec.width, spec.layout, spec.dtype) == (3, 32, 32, "NCHW", "float32")
    assert (spec.value_range, spec.mean, spec.std) == ((0.0, 1.0), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert {spec.sources[part] for part in ("channels", "height", "width", "value_range", "mean", "std")} == {
        "image processor"
    }
    assert label_names(artifact, None) == tuple(f"kind {index}" for index in range(10))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (224, 160, (0, 1), (0.5, 0.4, 0.3), (0.5, 0.4, 0.3))),
        ({"do_normalize": False}, (224, 160, (0, 1), None, None)),
        ({"do_rescale": False, "do_normalize": False}, (224, 160, (0, 255), None, None)),
        ({"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False}, (224, 160, (-1, 1), None, None)),
        ({"include_top": True, "image_std": [0.5, 0.5, 0.5]}, (224, 160, (0, 1), (0.5, 0.4, 0.3), (0.25,) * 3)),
        ({"size": 96}, (96, 96, (0, 1), (0.5, 0.4, 0.3), (0.5, 0.4, 0.3))),
        ({"size": {"shortest_edge": 96}}, (96, 96, (0, 1), (0.5, 0.4, 0.3), (0.5, 0.4, 0.3))),
        (
            {"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 192, "width": 192}},
            (192, 192, (0, 1), (0.5, 0.4, 0.3), (0.5, 0.4, 0.3)),
        ),
    ],
)
def test_image_processors(tmp_path: Path, changes: dict[str, Any], expected: tuple[Any, ...]) -> None:
    spec = spec_of(transformers(tmp_path, VIT | changes))
    low, high = spec.value_range
    assert (spec.height, spec.width, (low, pytest.approx(high)), spec.mean) == (*expected[:2], expected[2], expected[3])
    assert spec.std == (None if expected[4] is None else pytest.approx(expected[4]))


def test_a_processor_inside_of_a_larger_one(tmp_path: Path) -> None:
    artifact = transformers(tmp_path, VIT)
    (tmp_path / "components/image_processor/preprocessor_config.json").unlink()
    (tmp_path / "model/processor_config.json").write_text(json.dumps({"image_processor": VIT}))
    assert spec_of(artifact).width == 160


def test_the_user_counts_before_the_processor(tmp_path: Path) -> None:
    spec = spec_of(transformers(tmp_path, VIT), height=64, width=64, value_range=(-1.0, 1.0))
    assert (spec.height, spec.width, spec.value_range, spec.mean) == (64, 64, (-1.0, 1.0), None)


@pytest.mark.parametrize(
    ("processor", "option"),
    [
        ({}, "--value-range"),
        ([1, 2], "--value-range"),
        (VIT | {"image_std": [0, 1, 1]}, "--value-range"),
        (VIT | {"image_mean": "ImageNet"}, "--value-range"),
        (VIT | {"rescale_factor": "1/255"}, "--value-range"),
        (VIT | {"size": {"longest_edge": 3}}, "--input-size"),
        (VIT | {"size": -1}, "--input-size"),
    ],
)
def test_what_a_processor_does_not_say_is_asked_for(tmp_path: Path, processor: Any, option: str) -> None:
    with pytest.raises(InputSpecError) as caught:
        spec_of(transformers(tmp_path, processor, image_size=None if "size" in processor else 224))
    assert option in caught.value.hint


def test_channels_in_reverse_order_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputSpecError, match="reverse order"):
        spec_of(transformers(tmp_path, VIT | {"do_flip_channel_order": True}))


def test_timm_says_how_its_networks_see(tmp_path: Path) -> None:
    values = {"input_size": [3, 192, 160], "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5]}
    names = ["cat", "dog"]
    stored = Stored(flavor="safetensors", path="model.safetensors", architecture="timm/resnet18")
    artifact = Artifact(path=tmp_path, info=ModelInfo(uri="test"), stored=stored, mlmodel={})
    for config in ({"pretrained_cfg": values, "label_names": names}, {**values, "label_names": names}):
        (tmp_path / "config.json").write_text(json.dumps(config))
        spec = spec_of(artifact)
        assert (spec.channels, spec.height, spec.width) == (3, 192, 160)
        assert (spec.value_range, spec.mean, spec.std) == ((0, 1), (0.1, 0.2, 0.3), (0.5, 0.5, 0.5))
        assert spec.sources["mean"] == "config.json of timm"
        assert label_names(artifact, None) == ("cat", "dog")


def test_the_signature_of_a_python_function_is_not_that_of_the_network_inside(tmp_path: Path) -> None:
    entry = {"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, 640, 480, 3]}}
    mlmodel = {"signature": {"inputs": json.dumps([entry])}}
    stored = Stored(flavor="pyfunc/pickle", path="python_model.pkl")
    artifact = Artifact(path=tmp_path, info=ModelInfo(uri="test"), stored=stored, mlmodel=mlmodel)
    with pytest.raises(InputSpecError) as caught:
        spec_of(artifact)
    for option in ("--input-size", "--channels", "--value-range"):
        assert option in caught.value.hint
