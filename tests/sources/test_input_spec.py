from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from smoothscan.config import InputConfig
from smoothscan.errors import ConfigError, InputSpecError, UnsupportedModelError
from smoothscan.events import Silent
from smoothscan.result import ModelInfo
from smoothscan.sources import Artifact, fetch
from smoothscan.sources.input_spec import fitting_labels, input_spec, label_names
from smoothscan.stored import Stored

PT2 = Stored(flavor="pytorch/pt2", path="data/model.pt2")
LEVELS = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32))


def model(
    folder: Path,
    shape: list[int] | None = None,
    dtype: str = "float32",
    example: NDArray[Any] | None = None,
    **mlmodel: Any,
) -> Artifact:
    if shape is not None:
        entry = {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}}
        mlmodel["signature"] = {"inputs": json.dumps([entry])}
    if example is not None:
        (folder / "input_example.json").write_text(json.dumps(example.tolist()))
        mlmodel["saved_input_example_info"] = {"artifact_path": "input_example.json", "type": "ndarray"}
    return Artifact(path=folder, info=ModelInfo(uri="test"), stored=PT2, mlmodel=mlmodel)


def test_what_mlflow_really_writes(registry: Any, tmp_path: Path) -> None:
    artifact = fetch(
        "models:/tiny-pt2/1", tmp_path, tracking_uri=registry.tracking_uri, registry_uri=None, events=Silent()
    )
    spec = input_spec(artifact, InputConfig(), {})
    assert (spec.channels, spec.height, spec.width, spec.layout, spec.dtype) == (3, 32, 32, "NCHW", "float32")
    assert (spec.value_range, spec.mean, spec.std, spec.resize) == ((0, 1), None, None, "crop")
    words = "inferred from the input example: values are multiples of 1/255 between 0 and 1"
    assert spec.sources["value_range"] == words
    assert {spec.sources[part] for part in ("channels", "height", "width", "layout", "dtype")} == {"signature"}


def test_the_user_comes_first_and_needs_no_example(tmp_path: Path) -> None:
    config = InputConfig(
        height=64, width=48, channels=1, layout="NHWC", value_range=(-1, 1), mean=(0.5,), std=(0.25,), resize="none"
    )
    spec = input_spec(model(tmp_path, [-1, 3, 32, 32]), config, {"value_range": "configuration file smoothscan.toml"})
    assert (spec.height, spec.width, spec.channels, spec.layout) == (64, 48, 1, "NHWC")
    assert (spec.value_range, spec.mean, spec.std, spec.resize) == ((-1, 1), (0.5,), (0.25,), "none")
    assert spec.sources["value_range"] == "configuration file smoothscan.toml"
    assert spec.sources["height"] == spec.sources["mean"] == "option"


def test_mean_and_std_alone_give_the_range(tmp_path: Path) -> None:
    spec = input_spec(model(tmp_path, [-1, 3, 32, 32]), InputConfig(mean=(0.5,), std=(0.5,)), {})
    assert (spec.value_range, spec.mean) == ((0, 1), (0.5, 0.5, 0.5))
    config = InputConfig(mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4))
    spec = input_spec(model(tmp_path, [-1, 3, 32, 32]), config, {})
    assert spec.value_range == (0, 255)
    assert spec.sources["value_range"] == "follows from mean and std"


def test_means_have_to_fit_the_channels(tmp_path: Path) -> None:
    with pytest.raises(InputSpecError, match=r"3 means were given for 1 channel"):
        input_spec(model(tmp_path, [-1, 1, 28, 28]), InputConfig(mean=(0.5,) * 3, std=(0.5,) * 3), {})


@pytest.mark.parametrize(
    ("shape", "layout", "size"),
    [
        ([-1, 3, 20, 30], "NCHW", (3, 20, 30)),
        ([1, 20, 30, 3], "NHWC", (3, 20, 30)),
        ([-1, 1, 3, 28], "NCHW", (1, 3, 28)),
    ],
)
def test_the_layout_follows_from_the_shape(
    shape: list[int], layout: str, size: tuple[int, int, int], tmp_path: Path
) -> None:
    spec = input_spec(model(tmp_path, shape), InputConfig(value_range=(0, 1)), {})
    assert spec.layout == layout
    assert (spec.channels, spec.height, spec.width) == size


def test_an_ambiguous_layout_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputSpecError, match="first or last") as caught:
        input_spec(model(tmp_path, [-1, 3, 40, 1]), InputConfig(value_range=(0, 1)), {})
    assert "--layout NCHW|NHWC" in caught.value.hint
    spec = input_spec(model(tmp_path, [-1, 3, 40, 1]), InputConfig(value_range=(0, 1), layout="NHWC"), {})
    assert (spec.channels, spec.height, spec.width) == (1, 3, 40)


def test_open_axes_are_closed_by_the_example(tmp_path: Path) -> None:
    spec = input_spec(model(tmp_path, [-1, 3, -1, -1], example=LEVELS / 255), InputConfig(), {})
    assert (spec.height, spec.width) == (32, 32)
    assert spec.sources["height"] == "shape of the input example"
    assert spec.sources["channels"] == "signature"


def test_a_size_that_is_nowhere_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputSpecError, match="the size is in no signature") as caught:
        input_spec(model(tmp_path, [-1, 3, -1, -1]), InputConfig(value_range=(0, 1)), {})
    assert caught.value.hint.startswith("Pass --input-size HxW, or")
    assert caught.value.exit_code == 4
    with pytest.raises(InputSpecError) as caught:
        input_spec(model(tmp_path), InputConfig(), {})
    for option in ("--input-size HxW", "--channels N", "--value-range LO,HI", "--mean A,B,C", "--std A,B,C"):
        assert option in caught.value.hint


def test_bytes_mean_0_to_255(tmp_path: Path) -> None:
    spec = input_spec(model(tmp_path, [-1, 32, 32, 3], "uint8"), InputConfig(), {})
    assert (spec.dtype, spec.value_range, spec.mean) == ("uint8", (0, 255), None)
    assert spec.sources["value_range"] == "signature: data type uint8"
    spec = input_spec(model(tmp_path, example=LEVELS), InputConfig(), {})
    assert (spec.dtype, spec.value_range) == ("uint8", (0, 255))


def test_channels_last_examples_are_understood(tmp_path: Path) -> None:
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    example = ((LEVELS.transpose(0, 2, 3, 1) / 255 - mean) / std).astype(np.float32)
    spec = input_spec(model(tmp_path, [-1, 32, 32, 3], example=example), InputConfig(), {})
    assert spec.mean == tuple(mean)
    assert spec.sources["mean"].startswith("inferred from the input example: undoing ImageNet mean and std")


@pytest.mark.parametrize(
    "wrap", [lambda x: {"inputs": x}, lambda x: {"inputs": x, "params": {}}, lambda x: {"image": x}]
)
def test_other_ways_to_write_an_example(wrap: Any, tmp_path: Path) -> None:
    artifact = model(tmp_path, [-1, 3, 32, 32], example=LEVELS / 255)
    path = tmp_path / "input_example.json"
    path.write_text(json.dumps(wrap(json.loads(path.read_text()))))
    assert input_spec(artifact, InputConfig(), {}).value_range == (0, 1)


@pytest.mark.parametrize("content", ["", "{", "[[1], [2, 3]]", "null", '"text"', "[1, 2, 3]", 100_000 * "["])
def test_malformed_examples_count_as_none(content: str, tmp_path: Path) -> None:
    artifact = model(tmp_path, [-1, 3, 32, 32], example=LEVELS / 255)
    (tmp_path / "input_example.json").write_text(content)
    with pytest.raises(InputSpecError, match="no input example"):
        input_spec(artifact, InputConfig(), {})


def test_an_example_outside_the_model_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "input_example.json").write_text(json.dumps((LEVELS / 255).tolist()))
    artifact = model(folder, [-1, 3, 32, 32], saved_input_example_info={"artifact_path": "../input_example.json"})
    with pytest.raises(InputSpecError, match="no input example"):
        input_spec(artifact, InputConfig(), {})


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        (np.zeros((1, 3, 32, 32)), "all values of the input example are 0"),
        (np.random.default_rng(0).normal(size=(2, 3, 32, 32)), "fit no known normalisation"),
        (LEVELS % 2, "alike"),
        (np.full((1, 3, 32, 32), np.nan), "not finite"),
    ],
)
def test_examples_that_tell_nothing(example: NDArray[Any], reason: str, tmp_path: Path) -> None:
    artifact = model(tmp_path, [-1, 3, 32, 32], example=example.astype(np.float64))
    with pytest.raises(InputSpecError, match=reason) as caught:
        input_spec(artifact, InputConfig(), {})
    assert "--value-range LO,HI" in caught.value.hint


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ([-1, 10], "float32", "four axes"),
        ([-1, 4, 32, 32], "float32", "4 channels"),
        ([-1, 3, 32, 32], "int64", "data type 'int64'"),
    ],
)
def test_inputs_that_are_no_images(shape: list[int], dtype: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        input_spec(model(tmp_path, shape, dtype), InputConfig(value_range=(0, 1)), {})
    assert caught.value.exit_code == 5


def test_two_inputs_are_no_image_classifier(tmp_path: Path) -> None:
    entry = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3, 32, 32]}}
    artifact = model(tmp_path, signature={"inputs": json.dumps([entry, entry])})
    with pytest.raises(UnsupportedModelError, match="2 inputs"):
        input_spec(artifact, InputConfig(), {})


@pytest.mark.parametrize(
    "inputs", [None, 3, "{", "[3]", "{}", '[{"type": "double", "name": "a"}]', '[{"type": "tensor"}]']
)
def test_malformed_signatures_count_as_none(inputs: Any, tmp_path: Path) -> None:
    artifact = model(tmp_path, example=LEVELS / 255, signature={"inputs": inputs})
    assert input_spec(artifact, InputConfig(), {}).sources["height"] == "shape of the input example"


def test_labels_of_the_user_come_first(tmp_path: Path) -> None:
    artifact = model(tmp_path, metadata={"id2label": {0: "cat", 1: "dog"}})
    assert label_names(artifact, ("a", "b")) == ("a", "b")
    assert label_names(artifact, None) == ("cat", "dog")
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"1": "ship", "0": "plane"}}))
    assert label_names(artifact, None) == ("plane", "ship")


def test_labels_have_to_fit_to_the_classes(tmp_path: Path) -> None:
    artifact = model(tmp_path, metadata={"id2label": {0: "cat", 1: "dog"}})
    assert fitting_labels(artifact, None, 2) == ("cat", "dog")
    assert fitting_labels(artifact, None, 3) is None, "what the model says of itself may be wrong, and is left out"
    assert fitting_labels(artifact, ("a", "b", "c"), 3) == ("a", "b", "c")
    with pytest.raises(ConfigError, match="3 label names were given for a model with 2 classes"):
        fitting_labels(artifact, ("a", "b", "c"), 2)


def test_labels_are_cleaned(tmp_path: Path) -> None:
    names = {0: "a\x1b[31m\nb", 1: 500 * "x", 2: "\u202e"}
    assert label_names(model(tmp_path, metadata={"id2label": names}), None) == ("a[31mb", 100 * "x", "2")


@pytest.mark.parametrize("labels", [None, 3, {}, {0: "a", 2: "b"}, {0: 1}, ["a"], {0: None}])
def test_malformed_labels_are_ignored(labels: Any, tmp_path: Path) -> None:
    assert label_names(model(tmp_path, metadata={"id2label": labels}), None) is None
    (tmp_path / "config.json").write_text("{")
    assert label_names(model(tmp_path), None) is None
