"""Which devices a scan may be asked to use; that one is missing is said before anything is fetched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from smoothscan.config import ScanConfig
from smoothscan.devices import require_device
from smoothscan.errors import ConfigError
from smoothscan.events import Silent
from smoothscan.pipeline import scan


@pytest.mark.parametrize("name", ["auto", "cpu", "cpu:0"])
def test_every_machine_has_a_processor(name: str) -> None:
    require_device(name)


@pytest.mark.parametrize("name", ["foo", "", "CUDA", "cuda:1:2", "meta", "vulkan"])
def test_what_is_no_device_is_an_error_that_lists_those_that_are(name: str) -> None:
    with pytest.raises(ConfigError, match="it has cpu") as caught:
        require_device(name)
    assert f"no device {name!r}" in caught.value.message
    assert "smoothscan doctor" in caught.value.hint


def test_of_several_accelerators_those_are_there_that_torch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("cuda", "cuda:0", "cuda:1"):
        require_device(name)
    with pytest.raises(ConfigError, match="it has cpu, cuda:0, cuda:1"):
        require_device("cuda:2")


class NoFetch(Silent):
    """Fails where a model is fetched."""

    def stage(self, name: str, detail: str = "") -> None:
        assert name != "download"


def test_a_missing_device_is_found_out_before_the_model_is_fetched(image_folder: Path) -> None:
    config = ScanConfig(
        uri="models:/nobody/1", images=image_folder, device="cuda:99", tracking_uri="http://127.0.0.1:9"
    )
    with pytest.raises(ConfigError, match="cuda:99"):
        scan(config, NoFetch())
