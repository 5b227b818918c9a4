"""Networks that people really log, at 224x224 and in every format: a host answers like the network that was saved.

They need torchvision and timm, which the ordinary test environment lacks: `make architectures` makes one that has them.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from smoothscan.errors import ModelLoadError
from smoothscan.result import InputSpec
from tests.classifier.hosts import remote

NEEDED = ("torchvision", "timm", "transformers", "onnx2fx")
LACKING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
if LACKING:
    pytest.skip(f"needs {', '.join(LACKING)}: run `make architectures`", allow_module_level=True)
networks = pytest.importorskip("networks", reason="needs the benchmarks beside the tests")

SPEC = InputSpec(channels=3, height=224, width=224)
CELLS = [(name, kind) for name in networks.NETWORKS for kind in networks.FORMATS if networks.applies(name, kind)]


@pytest.fixture(scope="module")
def built() -> dict[str, nn.Module]:
    return {}


def network(built: dict[str, nn.Module], name: str) -> nn.Module:
    """Build a network once."""
    if name not in built:
        built[name] = networks.network(name)
    return built[name]


def answers(classifier: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of three images, and the gradient of some function of them."""
    leaf = networks.images(3).requires_grad_(True)
    answer = classifier(leaf)
    logits = getattr(answer, "logits", answer)
    logits.log_softmax(1).square().sum().backward()
    assert leaf.grad is not None
    return logits.detach(), leaf.grad


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), CELLS)
def test_a_host_answers_like_the_network(name: str, kind: str, built: dict[str, nn.Module], tmp_path: Path) -> None:
    net = network(built, name)
    folder = networks.save(name, net, kind, tmp_path / "model")
    with remote(folder, tmp_path / "host", spec=SPEC, allow_model_code=kind == "pickle") as classifier:
        assert classifier.n_classes == networks.CLASSES
        logits, gradient = answers(classifier)
    right, right_gradient = answers(net)
    torch.testing.assert_close(logits, right, rtol=1e-3, atol=1e-3 * float(right.abs().max()))
    torch.testing.assert_close(gradient, right_gradient, rtol=1e-2, atol=1e-2 * float(right_gradient.abs().max()))


@pytest.mark.parametrize("name", ["torchvision/resnet18", "timm/vit_tiny_patch16_224"])
def test_weights_of_another_architecture_are_told(name: str, built: dict[str, nn.Module], tmp_path: Path) -> None:
    folder = networks.save(name, network(built, name), "safetensors", tmp_path / "model")
    (folder / "config.json").unlink(missing_ok=True)
    for wrong, said in (
        ("torchvision/resnet34", "do not fit|last layer"),
        ("timm/resnet81", "has no image classifier"),
    ):
        (folder / "MLmodel").write_text(f"flavors: {{}}\nmetadata: {{architecture: {wrong}}}\n")
        with pytest.raises(ModelLoadError, match=said), remote(folder, tmp_path / wrong.replace("/", "-"), spec=SPEC):
            pass
