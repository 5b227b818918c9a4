"""Every flavor in a real host process: the answers and gradients are those of the network that was saved."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from smoothscan.errors import InconclusiveError, UnsupportedModelError
from tests.classifier.hosts import remote

from .flavors import IMAGES, Net, OneByOne, net, save_script, save_vit


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


# --- TorchScript -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trace", [None, IMAGES[:1], IMAGES[:3]])
def test_scripts_and_traces(tmp_path: Path, trace: torch.Tensor | None) -> None:
    same_answers(save_script(net(), tmp_path / "model", trace=trace), tmp_path / "host", net())


def test_a_script_in_training_mode_is_put_into_evaluation_mode(tmp_path: Path) -> None:
    same_answers(save_script(net().train(), tmp_path / "model"), tmp_path / "host", net())


def test_a_trace_in_training_mode_cannot_be_put_into_evaluation_mode(tmp_path: Path) -> None:
    folder = save_script(net().train(), tmp_path / "model", trace=IMAGES)
    with pytest.raises(InconclusiveError, match="training mode"), remote(folder, tmp_path / "host"):
        pass


def test_a_trace_that_answers_longer_batches_wrongly_gets_images_one_by_one(tmp_path: Path) -> None:
    folder = save_script(net(OneByOne), tmp_path / "model", trace=IMAGES[:1])
    network = net(OneByOne)
    same_answers(folder, tmp_path / "host", lambda images: torch.cat([network(image[None]) for image in images]))


class Fours(Net):
    """The same, for batches of four only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.reshape(4, 3, 32, 32))


def test_a_trace_that_is_bound_to_another_batch_size_gets_that(tmp_path: Path) -> None:
    same_answers(save_script(net(Fours), tmp_path / "model", trace=IMAGES[:4]), tmp_path / "host", net())


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
