"""Tells how a model is stored, from its MLmodel file and from the files that are there. Reads bytes only.

Several flavors stand in one MLmodel file, python_function nearly always; the one that holds the network itself wins.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from smoothscan.errors import UnsupportedModelError
from smoothscan.sources import architectures
from smoothscan.stored import Stored

_WITHOUT_GRADIENT = {
    "sklearn": "scikit-learn",
    "xgboost": "XGBoost",
    "lightgbm": "LightGBM",
    "catboost": "CatBoost",
    "spark": "Spark",
    "h2o": "H2O",
}
_OTHER_FRAMEWORKS = {"tensorflow": "TensorFlow", "keras": "Keras", "paddle": "PaddlePaddle"}
_MAX_SHOWN = 10


def stored(folder: Path, mlmodel: dict[str, Any], uri: str) -> Stored:
    """Return how a model is stored.

    Raises:
        UnsupportedModelError: in no way that the scanner knows, or the file with the network is missing.
    """
    flavors = mlmodel.get("flavors")
    known: dict[str, Any] = {str(name): value for name, value in flavors.items()} if isinstance(flavors, dict) else {}
    if "pytorch" in known:
        return _pytorch(folder, uri)
    if "transformers" in known:
        return _transformers(folder, _table(known["transformers"]), uri)
    if "onnx" in known:
        return _onnx(folder, _table(known["onnx"]), uri)
    weights = architectures.weights(folder)
    if weights is not None and (architecture := architectures.stated(folder, weights, mlmodel)) is not None:
        return Stored(flavor="safetensors", path=weights, architecture=architecture)
    if not any(name in known for name in (*_WITHOUT_GRADIENT, *_OTHER_FRAMEWORKS)):
        function = _table(known.get("python_function"))
        if _names_file(folder, function.get("python_model")):
            return Stored(flavor="pyfunc/pickle", path=str(function["python_model"]))
        code = Path(str(function.get("model_code_path", ""))).name  # MLflow copies the file, and notes where from
        if _names_file(folder, code):
            return Stored(flavor="pyfunc/code", path=code)
        if weights is not None:
            return Stored(flavor="safetensors", path=weights)
    names = sorted(name[:50] for name in known)
    found = ", ".join(repr(name) for name in names[:_MAX_SHOWN]) or "none"
    raise UnsupportedModelError(f"{uri} is no PyTorch model; its flavors are: {found}.", _instead(names))


def _instead(names: list[str]) -> str:
    for name in names:
        if name in _WITHOUT_GRADIENT:
            return (
                f"{_WITHOUT_GRADIENT[name]} models have no gradient, without which no trigger can be searched for: "
                "look for poisoned examples in the training data instead."
            )
        if name in _OTHER_FRAMEWORKS:
            return (
                f"Convert the {_OTHER_FRAMEWORKS[name]} model to ONNX (with tf2onnx, for example), log it with "
                "mlflow.onnx and scan that version."
            )
    return (
        "smoothscan examines models logged with mlflow.pytorch, mlflow.transformers or mlflow.onnx, safetensors "
        "weights of a timm or torchvision architecture, and Python functions around one torch module."
    )


def _pytorch(folder: Path, uri: str) -> Stored:
    """MLflow writes the same names for several formats, and loads the pickle where both files are there."""
    pth = folder / "data" / "model.pth"
    if pth.is_file():
        return Stored(flavor="pytorch/torchscript" if _is_torchscript(pth) else "pytorch/pickle", path="data/model.pth")
    if (folder / "data" / "model.pt2").is_file():
        return Stored(flavor="pytorch/pt2", path="data/model.pt2")
    raise UnsupportedModelError(
        f"{uri} has the flavor 'pytorch', but neither data/model.pt2 nor data/model.pth.",
        "Log the model again with mlflow.pytorch.log_model.",
    )


def _is_torchscript(path: Path) -> bool:
    """Tell an archive of torch.jit.save from one of torch.save, which has no code and no constants."""
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [name.partition("/")[2] for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):
        return False
    return "constants.pkl" in inside and any(name.startswith("code/") for name in inside)


def _transformers(folder: Path, options: dict[str, Any], uri: str) -> Stored:
    task = options.get("task")
    if task not in (None, "image-classification"):
        raise UnsupportedModelError(
            f"{uri} is a transformers model for the task {str(task)[:50]!r}.",
            "smoothscan examines transformers models for image-classification.",
        )
    if options.get("peft_adaptor"):
        raise UnsupportedModelError(
            f"{uri} holds an adapter for another model, not a whole network.",
            "Merge it (merge_and_unload in peft), log the merged model and scan that version.",
        )
    model = str(options.get("model_binary", "model"))
    if not _inside(folder, model) or not (folder / model / "config.json").is_file():
        raise UnsupportedModelError(
            f"{uri} has the flavor 'transformers', but no network of its own in the folder {model[:50]!r}.",
            "A model that was logged with save_pretrained=False only refers to a hub: make it whole with "
            "mlflow.transformers.persist_pretrained_model.",
        )
    if not any((folder / model).glob("*.safetensors")):
        raise UnsupportedModelError(
            f"{uri} holds its transformers weights in another format than safetensors, which may run code when read.",
            "Save the model again with a current transformers, which writes safetensors, and log that.",
        )
    return Stored(flavor="transformers", path=model)


def _onnx(folder: Path, options: dict[str, Any], uri: str) -> Stored:
    data = str(options.get("data", "model.onnx"))
    for name in (data, f"{data}/model.onnx"):
        if _names_file(folder, name):
            return Stored(flavor="onnx", path=name)
    raise UnsupportedModelError(
        f"{uri} has the flavor 'onnx', but no file {data[:50]!r}.", "Log the model again with mlflow.onnx.log_model."
    )


def _names_file(folder: Path, name: Any) -> bool:
    return isinstance(name, str) and _inside(folder, name) and (folder / name).is_file()


def _inside(folder: Path, name: str) -> bool:
    return "\0" not in name and (folder / name).resolve().is_relative_to(folder.resolve())


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
