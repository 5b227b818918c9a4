"""Every flavor: the answers and gradients are those of the network that was saved.

Once for each flavor in a real host process; odd models are loaded in this one, for hosts take seconds to start.
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from smoothscan.answers import UnsupportedError
from smoothscan.errors import InconclusiveError, ModelLoadError, UnsupportedModelError
from smoothscan.modelhost.adapter import Adapter
from smoothscan.modelhost.loaders import load
from smoothscan.modelhost.loaders.interface import LoadError
from smoothscan.sources import flavors
from smoothscan.sources.model_folder import read_mlmodel
from tests.classifier.hosts import remote

from .flavors import IMAGES, SPEC, Net, OneByOne, net, save_onnx, save_script, save_vit


def answers(ask: Callable[[torch.Tensor], torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and the gradient of some function of them."""
    leaf = IMAGES.clone().requires_grad_(True)
    logits = ask(leaf)
    logits.log_softmax(1).square().sum().backward()
    assert leaf.grad is not None
    return logits.detach(), leaf.grad


def same_answers(folder: Path, workspace: Path, network: nn.Module, **options: Any) -> None:
    """The model in its host answers like the network in this process."""
    with remote(folder, workspace, **options) as classifier:
        for found, right in zip(answers(classifier), answers(network), strict=True):
            torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-5)


class Here(nn.Module):
    """A model loaded in this process."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        stored = flavors.stored(folder, read_mlmodel(folder, "model"), "model")
        self.loaded = load(folder, stored, SPEC, torch.device("cpu"))
        self.adapter = Adapter(self.loaded.module, SPEC, torch.device("cpu"))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.adapter.logits(images, "float32")


def same_answers_here(folder: Path, network: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """The model loaded in this process answers like the network."""
    for found, right in zip(answers(Here(folder)), answers(network), strict=True):
        torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-5)


# --- TorchScript -----------------------------------------------------------------------------------------------------


def test_a_script_in_a_host(tmp_path: Path) -> None:
    same_answers(save_script(net(), tmp_path / "model"), tmp_path / "host", net())


@pytest.mark.parametrize("count", [1, 3])
def test_a_trace(tmp_path: Path, count: int) -> None:
    same_answers_here(save_script(net(), tmp_path / "model", trace=IMAGES[:count]), net())


def test_a_script_in_training_mode_is_put_into_evaluation_mode(tmp_path: Path) -> None:
    same_answers_here(save_script(net().train(), tmp_path / "model"), net())


def test_a_trace_in_training_mode_cannot_be_put_into_evaluation_mode(tmp_path: Path) -> None:
    folder = save_script(net().train(), tmp_path / "model", trace=IMAGES)
    with pytest.raises(InconclusiveError, match="training mode"), remote(folder, tmp_path / "host"):
        pass


def test_a_trace_that_answers_longer_batches_wrongly_gets_images_one_by_one(tmp_path: Path) -> None:
    folder = save_script(net(OneByOne), tmp_path / "model", trace=IMAGES[:1])
    network = net(OneByOne)
    same_answers_here(folder, lambda images: torch.cat([network(image[None]) for image in images]))


class Fours(Net):
    """The same, for batches of four only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.reshape(4, 3, 32, 32))


def test_a_trace_that_is_bound_to_another_batch_size_gets_that(tmp_path: Path) -> None:
    same_answers_here(save_script(net(Fours), tmp_path / "model", trace=IMAGES[:4]), net())


def test_a_quantised_script_has_no_gradient(tmp_path: Path) -> None:
    torch.backends.quantized.engine = next(e for e in torch.backends.quantized.supported_engines if e != "none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(net(), {nn.Linear}, dtype=torch.qint8)
    folder = save_script(quantised, tmp_path / "model")
    with pytest.raises(UnsupportedModelError, match="quantised") as caught, remote(folder, tmp_path / "host"):
        pass
    assert "before quantisation" in caught.value.hint


def test_a_script_that_answers_classes_has_no_gradient(tmp_path: Path) -> None:
    class Classes(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).argmax(1)

    folder = save_script(net(Classes), tmp_path / "model", trace=IMAGES[:2])
    with pytest.raises(UnsupportedModelError, match="classes") as caught, remote(folder, tmp_path / "host"):
        pass
    assert "without what comes after it, such as argmax" in caught.value.hint


# --- transformers ----------------------------------------------------------------------------------------------------


def test_a_transformers_model(tmp_path: Path) -> None:
    network = save_vit(tmp_path / "model")
    same_answers(tmp_path / "model", tmp_path / "host", lambda images: network(images).logits)


def test_code_beside_a_transformers_model_does_not_run(tmp_path: Path) -> None:
    save_vit(tmp_path / "model")
    config = tmp_path / "model" / "model" / "config.json"
    said = json.loads(config.read_text())
    said["auto_map"] = {"AutoModelForImageClassification": "evil.Evil", "AutoConfig": "evil.EvilConfig"}
    config.write_text(json.dumps({**said, "model_type": "evil"}))
    (config.parent / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ModelLoadError), remote(tmp_path / "model", tmp_path / "host", allow_model_code=True):
        pass
    assert not (tmp_path / "ran").exists()


# --- ONNX ------------------------------------------------------------------------------------------------------------


def test_an_onnx_graph_in_a_host(tmp_path: Path) -> None:
    same_answers(save_onnx(net(), tmp_path / "model", batch=None), tmp_path / "host", net())


@pytest.mark.parametrize(("batch", "dynamo"), [(1, True), (3, True), (None, False)])
def test_onnx_graphs(tmp_path: Path, batch: int | None, dynamo: bool) -> None:
    same_answers_here(save_onnx(net(), tmp_path / "model", batch=batch, dynamo=dynamo), net())


def test_an_onnx_graph_for_one_image_that_answers_longer_batches_wrongly(tmp_path: Path) -> None:
    network = net(OneByOne)
    folder = save_onnx(network, tmp_path / "model", batch=1)
    same_answers_here(folder, lambda images: torch.cat([network(image[None]) for image in images]))


def edited(folder: Path, edit: Callable[[Any], None]) -> Path:
    """Change a saved ONNX graph."""
    import onnx

    graph = onnx.load(str(folder / "model.onnx"))
    edit(graph.graph)
    onnx.save(graph, str(folder / "model.onnx"))
    return folder


def test_a_quantised_onnx_graph_has_no_gradient(tmp_path: Path) -> None:
    def quantise(graph: Any) -> None:
        from onnx import helper

        graph.node.insert(0, helper.make_node("DynamicQuantizeLinear", [graph.input[0].name], ["q", "scale", "zero"]))

    folder = edited(save_onnx(net(), tmp_path / "model", batch=None), quantise)
    with pytest.raises(UnsupportedError, match="DynamicQuantizeLinear"):
        Here(folder)


def test_an_onnx_graph_whose_values_the_converter_would_mix_up(tmp_path: Path) -> None:
    def rename(graph: Any) -> None:
        first, second = graph.initializer[:2]
        for value, name in ((first, "weight.x"), (second, "weight/x")):
            for node in graph.node:
                node.input[:] = [name if given == value.name else given for given in node.input]
            value.name = name

    folder = edited(save_onnx(net(), tmp_path / "model", batch=None), rename)
    with pytest.raises(LoadError, match="punctuation only: 'weight_x'"):
        Here(folder)


def test_a_converted_graph_that_computes_something_else_is_not_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx.reference

    from smoothscan.modelhost.loaders import onnx as loader

    class Reference:
        def __init__(self, model: object) -> None:
            pass

        def run(self, _: None, given: dict[str, Any]) -> list[Any]:
            return [given["x"].mean((2, 3)) + 0.01]

    monkeypatch.setattr(onnx.reference, "ReferenceEvaluator", Reference)
    with pytest.raises(LoadError, match="computes something else"):
        loader._compare(None, lambda images: images.mean((2, 3)), "x", 2, SPEC)


# --- Python functions ------------------------------------------------------------------------------------------------


def save_function(folder: Path, **attributes: Any) -> Path:
    """Save a Python function that has these attributes once it is loaded."""
    import mlflow.pyfunc

    class Wrapper(mlflow.pyfunc.PythonModel):
        def load_context(self, context: Any) -> None:
            self.__dict__.update(self.kept)

        def predict(self, context: Any, model_input: Any) -> Any:
            return model_input

    wrapper = Wrapper()
    wrapper.kept = attributes
    mlflow.pyfunc.save_model(folder, python_model=wrapper, pip_requirements=["torch"])
    return folder


def plain_net() -> nn.Module:
    """A network without classes of our own, which a host could not import."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))


@pytest.mark.parametrize(
    "attributes",
    [
        {"net": plain_net()},
        {"parts": {"classifiers": [plain_net()]}, "threshold": 0.5},
        {"net": (whole := plain_net()), "head": whole[4], "again": whole},
    ],
)
def test_the_one_module_inside_a_python_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attributes: dict[str, Any]
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    same_answers_here(save_function(tmp_path / "model", **attributes), plain_net())


@pytest.mark.parametrize(
    ("attributes", "said"), [({}, "no torch module"), ({"a": plain_net(), "b": plain_net()}, "2 torch modules")]
)
def test_a_python_function_without_one_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attributes: dict[str, Any], said: str
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    with pytest.raises(UnsupportedError, match=said) as caught:
        Here(save_function(tmp_path / "model", **attributes))
    assert "with mlflow.pytorch" in caught.value.hint


def test_the_code_of_a_python_function_runs_only_if_it_is_allowed(tmp_path: Path) -> None:
    import mlflow.pyfunc

    code = tmp_path / "wrapper.py"
    code.write_text(
        f"""
import contextlib, mlflow, torch
with contextlib.suppress(OSError):  # in a sandbox
    open({str(tmp_path / "ran")!r}, "w")
class Wrapper(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 10))
    def predict(self, context, model_input):
        return model_input
mlflow.models.set_model(Wrapper())
"""
    )
    mlflow.pyfunc.save_model(tmp_path / "model", python_model=str(code), pip_requirements=["torch"])
    (tmp_path / "ran").unlink()
    for folder in (tmp_path / "model", save_function(tmp_path / "pickled", net=plain_net())):
        with pytest.raises(ModelLoadError, match="not allowed"), remote(folder, tmp_path / f"host-{folder.name}"):
            pass
    assert not (tmp_path / "ran").exists()
    with remote(tmp_path / "model", tmp_path / "host", allow_model_code=True) as classifier:
        assert classifier.n_classes == 10


# --- libraries -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["timm", "torchvision"])
def test_a_missing_library_is_named_with_what_brings_it(tmp_path: Path, kind: str) -> None:
    from safetensors.torch import save_file

    if importlib.util.find_spec(kind):
        pytest.skip(f"{kind} is installed here")
    (tmp_path / "model").mkdir()
    save_file({"head.weight": torch.zeros(10, 3)}, tmp_path / "model" / "model.safetensors")
    (tmp_path / "model" / "MLmodel").write_text(f"metadata: {{architecture: {kind}/resnet18}}\n")
    with pytest.raises(ModelLoadError, match=kind) as caught, remote(tmp_path / "model", tmp_path / "host"):
        pass
    assert f"pip install 'smoothscan[{kind}]'" in caught.value.hint
