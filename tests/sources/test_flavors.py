"""How a model is stored, told from bytes; MLflow writes the models where it can."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from smoothscan.errors import UnsupportedModelError
from smoothscan.result import ModelInfo
from smoothscan.sources.architectures import with_architecture
from smoothscan.sources.flavors import stored
from smoothscan.sources.interface import Artifact

URI = "models:/pets/1"


def write(folder: Path, *files: str) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"bytes")
    return folder


def found(folder: Path, **flavors: Any) -> tuple[str, str, str | None]:
    answer = stored(folder, {"flavors": flavors}, URI)
    return answer.flavor, answer.path, answer.architecture


def refused(folder: Path, **flavors: Any) -> str:
    with pytest.raises(UnsupportedModelError) as caught:
        stored(folder, {"flavors": flavors}, URI)
    assert caught.value.hint
    return f"{caught.value.message} {caught.value.hint}"


FUNCTION = {"python_model": "python_model.pkl", "loader_module": "mlflow.pyfunc.model"}


def archive(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, b"")


@pytest.mark.parametrize(
    ("names", "flavor"),
    [
        (("model/data.pkl", "model/constants.pkl", "model/code/__torch__/net.py"), "pytorch/torchscript"),
        (("model/data.pkl", "model/data/0", "model/version"), "pytorch/pickle"),
        (("model/data.pkl", "model/constants.pkl"), "pytorch/pickle"),
        (("constants.pkl", "code/net.py"), "pytorch/pickle"),
    ],
)
def test_scripts_and_pickles_have_the_same_name(tmp_path: Path, names: tuple[str, ...], flavor: str) -> None:
    archive(tmp_path / "data" / "model.pth", *names)
    assert found(tmp_path, pytorch={}, python_function={}) == (flavor, "data/model.pth", None)


def test_what_is_no_archive_is_a_pickle_and_counts_before_an_export(tmp_path: Path) -> None:
    write(tmp_path, "data/model.pt2", "data/model.pth")
    assert found(tmp_path, pytorch={})[0] == "pytorch/pickle"
    (tmp_path / "data" / "model.pth").unlink()
    assert found(tmp_path, pytorch={})[0] == "pytorch/pt2"


# --- transformers ----------------------------------------------------------------------------------------------------


def test_a_transformers_model_lies_in_the_folder_that_its_options_name(tmp_path: Path) -> None:
    write(tmp_path, "model/config.json", "model/model-00001-of-00002.safetensors")
    options = {"task": "image-classification", "model_binary": "model"}
    assert found(tmp_path, transformers=options, python_function=FUNCTION) == ("transformers", "model", None)


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        (["model/config.json", "model/model.safetensors"], {"task": "text-generation"}, "task 'text-generation'"),
        (["model/config.json", "model/model.safetensors"], {"peft_adaptor": "peft"}, "merge_and_unload"),
        (["model/config.json", "model/pytorch_model.bin"], {}, "may run code when read"),
        ([], {"source_model_name": "google/vit"}, "persist_pretrained_model"),
        (["model/config.json", "model/model.safetensors"], {"model_binary": "../outside"}, "no network of its own"),
        (["model/config.json", "model/model.safetensors"], {"model_binary": "a\0b"}, "no network of its own"),
    ],
)
def test_transformers_models_that_are_none_to_scan(
    tmp_path: Path, files: list[str], options: dict[str, Any], said: str
) -> None:
    write(tmp_path / "outside", "config.json", "model.safetensors")
    folder = write(tmp_path / "model", *files)
    folder.mkdir(exist_ok=True)
    assert said in refused(folder, transformers=options)


# --- ONNX and Python functions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["model.onnx", "model.onnx/model.onnx"])
def test_an_onnx_graph_is_a_file_or_lies_in_a_folder(tmp_path: Path, file: str) -> None:
    write(tmp_path, file)
    assert found(tmp_path, onnx={"data": "model.onnx"}, python_function={}) == ("onnx", file, None)


def test_an_onnx_graph_has_to_be_there(tmp_path: Path) -> None:
    assert "no file 'model.onnx'" in refused(tmp_path, onnx={"data": "model.onnx"})


def test_python_functions(tmp_path: Path) -> None:
    write(tmp_path, "python_model.pkl", "wrapper.py")
    assert found(tmp_path, python_function=FUNCTION) == ("pyfunc/pickle", "python_model.pkl", None)
    code = {"model_code_path": "/home/somebody/wrapper.py"}
    assert found(tmp_path, python_function=code) == ("pyfunc/code", "wrapper.py", None)
    assert "its flavors are: 'python_function'" in refused(tmp_path, python_function={"python_model": "../a.pkl"})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sklearn", "scikit-learn models have no gradient"),
        ("xgboost", "XGBoost models have no gradient"),
        ("tensorflow", "Convert the TensorFlow model to ONNX"),
        ("prophet", "mlflow.pytorch, mlflow.transformers or mlflow.onnx"),
    ],
)
def test_what_has_no_gradient_says_what_to_do_instead(tmp_path: Path, name: str, said: str) -> None:
    write(tmp_path, "python_model.pkl", "model.safetensors")
    flavors: dict[str, Any] = {name: {}, "python_function": {"loader_module": f"mlflow.{name}"}}
    if name == "prophet":
        (tmp_path / "model.safetensors").unlink()
    text = refused(tmp_path, **flavors)
    assert said in text
    assert f"its flavors are: {', '.join(map(repr, sorted(flavors)))}" in text


# --- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "metadata", "architecture"),
    [
        ({"architecture": "vit_tiny_patch16_224"}, {}, "timm/vit_tiny_patch16_224"),
        ({"architecture": "torchvision/resnet18"}, {}, "torchvision/resnet18"),
        ({"architecture": "timm/resnet18"}, {"architecture": "torchvision/resnet18"}, "timm/resnet18"),
        (None, {"architecture": "torchvision/resnet18"}, "torchvision/resnet18"),
        ({"architecture": "../../etc"}, {}, None),
        ({"architecture": ["a"]}, {"architecture": "resnet18"}, None),
        ({}, "odd", None),
    ],
)
def test_the_architecture_of_weights(tmp_path: Path, config: Any, metadata: Any, architecture: str | None) -> None:
    write(tmp_path, "artifacts/net.safetensors")
    if config is not None:
        (tmp_path / "artifacts" / "config.json").write_text(json.dumps(config))
    answer = stored(tmp_path, {"metadata": metadata}, URI)
    assert answer.flavor == "safetensors"
    assert (answer.path, answer.architecture) == ("artifacts/net.safetensors", architecture)


def test_of_several_files_the_usual_name_counts(tmp_path: Path) -> None:
    write(tmp_path, "a/model.safetensors", "b/ema.safetensors")
    assert stored(tmp_path, {}, URI).path == "a/model.safetensors"
    write(tmp_path, "b/model.safetensors")
    assert "none" in refused(tmp_path)


def test_weights_with_an_architecture_need_no_code_and_win_over_a_python_function(tmp_path: Path) -> None:
    write(tmp_path, "python_model.pkl", "artifacts/net.safetensors")
    assert found(tmp_path, python_function=FUNCTION)[0] == "pyfunc/pickle"
    (tmp_path / "artifacts" / "config.json").write_text('{"architecture": "resnet18"}')
    assert found(tmp_path, python_function=FUNCTION)[0] == "safetensors"


def artifact(folder: Path, **mlmodel: Any) -> Artifact:
    answer = stored(folder, mlmodel, URI)
    return Artifact(path=folder, info=ModelInfo(uri=URI, flavor=answer.flavor), stored=answer, mlmodel=mlmodel)


def test_the_architecture_that_the_user_names_counts_first(tmp_path: Path) -> None:
    write(tmp_path, "python_model.pkl", "model.safetensors")
    (tmp_path / "config.json").write_text('{"architecture": "resnet18"}')
    for mlmodel in ({}, {"flavors": {"python_function": FUNCTION}}):
        told = with_architecture(artifact(tmp_path, **mlmodel), "torchvision/resnet34")
        assert (told.info.flavor, told.info.architecture) == ("safetensors", "torchvision/resnet34")
        assert (told.stored.path, told.stored.architecture) == ("model.safetensors", "torchvision/resnet34")
    (tmp_path / "config.json").unlink()
    with pytest.raises(UnsupportedModelError, match="nothing says which network") as caught:
        with_architecture(artifact(tmp_path), None)
    assert "--architecture" in caught.value.hint


def test_a_whole_network_needs_no_architecture(tmp_path: Path) -> None:
    write(tmp_path, "data/model.pt2", "model.safetensors")
    told = with_architecture(artifact(tmp_path, flavors={"pytorch": {}}), "timm/resnet18")
    assert (told.info.flavor, told.info.architecture) == ("pytorch/pt2", None)
