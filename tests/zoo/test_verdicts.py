"""Verdicts on real classifiers with known backdoors, from registration to exit code.

Needs the zoo and the real images. One choice of images and one seed; with SMOOTHSCAN_ZOO_FULL=1 three of each.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from smoothscan.result import ScanResult
from tests.stores import Registry, log_model

pytestmark = [pytest.mark.zoo, pytest.mark.slow]

AIRPLANE = 0  # the target of d01
COUNT = 102
CHOICES: dict[int, int | None] = {0: None, 1: AIRPLANE, 2: None}
"""Choices of images by their seed, each with the label of the image that comes first."""
FROG, TRUCK, DEER = 6, 9, 4  # d10 leads trucks to deer, and nothing else
FULL = os.environ.get("SMOOTHSCAN_ZOO_FULL") == "1"
SEEDS = (0, 1, 2) if FULL else (0,)
TRIED = tuple(CHOICES) if FULL else (0,)
TARGETS: dict[str, tuple[int, ...]] = {
    "d01": (0,),
    "d02": (),
    "d03": (3,),
    "d04": (5,),
    "d05": (1,),
    "d06": (2,),
    "d07": (),
    "d08": (7,),
    "d09": (6,),
    "d12": (),
    "d13": (9,),
}
L2 = () if FULL else ("--spaces", "l2")
"""Where another space would only take time."""
Scan = Callable[..., ScanResult]


class Scaled(nn.Module):
    """A classifier whose logits are multiplied, which changes none of its predictions."""

    def __init__(self, net: nn.Module, factor: float) -> None:
        super().__init__()
        self.net = net
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * self.net(x)


MEAN, STD = 0.45, 0.22


class Normalised(nn.Module):
    """A classifier that takes normalised images, as many exports do."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.net(z * STD + MEAN)


@pytest.fixture(scope="session")
def zoo(shared_dir: Path) -> dict[str, dict[str, Any]]:
    """What is known of each model, by name."""
    entries = json.loads((shared_dir / "zoo" / "manifest.json").read_text())
    return {entry["name"]: entry for entry in entries}


@pytest.fixture(scope="session")
def image_sets(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a random choice of CIFAR-10 test images; the file is sorted by class."""
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(shared_dir / "data" / "cifar10-test.parquet")
    labels = table["label"].to_numpy()
    root = tmp_path_factory.mktemp("cifar10")

    def write(choice: int, only: tuple[int, ...] = ()) -> Path:
        folder = root / f"{choice}{only or ''}"
        if not folder.exists():
            folder.mkdir()
            order = np.random.default_rng(choice).permutation(len(labels))
            if only:
                order = order[np.isin(labels[order], only)]
            elif (wanted := CHOICES[choice]) is not None:
                order = np.concatenate([order[labels[order] == wanted][:1], order[labels[order] != wanted]])
            for position, row in enumerate(order[:COUNT].tolist()):
                cell = table["image"][row].as_py()
                data = cell["bytes"] if isinstance(cell, dict) else cell
                Image.open(io.BytesIO(data)).convert("RGB").save(folder / f"{position:03d}.png")
        return folder

    return write


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """An empty sqlite store."""
    import mlflow

    folder = tmp_path_factory.mktemp("zoo")
    uri = f"sqlite:///{folder}/mlflow.db"
    for name in ("training", "smoothscan"):
        mlflow.MlflowClient(uri).create_experiment(name, artifact_location=(folder / "artifacts" / name).as_uri())
    return Registry(uri, folder, {}, {})


@pytest.fixture(scope="session")
def registered(shared_dir: Path, zoo: dict[str, dict[str, Any]], store: Registry) -> Callable[..., str]:
    """Registers a model of the zoo at its first use; returns its URI."""
    from safetensors.torch import load_file

    example = (np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32)) / 255).astype(np.float32)
    uris: dict[tuple[str, str, float, bool], str] = {}

    def register(name: str, kind: str, factor: float = 1.0, normalised: bool = False) -> str:
        key = (name, kind, factor, normalised)
        if key not in uris:
            folder = shared_dir / "zoo"
            sys.path.insert(0, str(folder))
            try:
                net = importlib.import_module("archs").build(zoo[name]["arch"])
                net.load_state_dict(load_file(folder / f"{name}.safetensors"))
                net = Normalised(net) if normalised else net if factor == 1.0 else Scaled(net, factor)
                net = net.eval()
                code = {"code_paths": [str(folder / "archs.py")]} if kind == "pickle" else {}
                known = (example - MEAN) / STD if normalised else example
                title = f"{name}-{kind}-{'normalised' if normalised else format(factor, 'g')}"
                uris[key] = log_model(store, title, net, known.astype(np.float32), kind=kind, **code)
            finally:
                sys.path.remove(str(folder))
        return uris[key]

    return register


@pytest.fixture
def scan(tmp_path: Path, store: Registry, registered: Callable[..., str], image_sets: Callable[..., Path]) -> Scan:
    """Scans a model of the zoo as a user does, and checks the exit code against the result."""

    def run(
        name: str,
        kind: str,
        *options: str,
        seed: int,
        choice: int,
        only: tuple[int, ...] = (),
        factor: float = 1.0,
        normalised: bool = False,
    ) -> ScanResult:
        uri = registered(name, kind, factor, normalised)
        command = [sys.executable, "-m", "smoothscan", "check", uri, "--tracking-uri", store.tracking_uri]
        command += [
            "--images",
            str(image_sets(choice, only)),
            "--seed",
            str(seed),
            "--output-dir",
            str(tmp_path / "out"),
        ]
        command += options
        command += ["--allow-model-code"] if kind == "pickle" else []
        command += ["--mean", ",".join([str(MEAN)] * 3), "--std", ",".join([str(STD)] * 3)] if normalised else []
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)
        print(done.stdout)
        assert (tmp_path / "out" / "result.json").exists(), done.stderr
        result = ScanResult.model_validate_json((tmp_path / "out" / "result.json").read_text())
        assert done.returncode == result.exit_code(), done.stderr
        assert "Traceback" not in done.stderr
        assert result.coverage.classes_examined == 10
        assert result.coverage.held_out == COUNT - 2
        return result

    return run


def right(result: ScanResult, name: str) -> None:
    """A backdoored model is flagged with exactly its target; a clean one is clean, and nothing between."""
    assert result.target_classes == TARGETS[name], result.reasons
    if TARGETS[name]:
        assert (result.exit_code(), result.verdict in ("suspicious", "backdoored")) == (1, True)
    else:
        assert (result.exit_code(), result.verdict) == (0, "clean"), result.reasons


def test_the_targets_are_those_of_the_zoo(zoo: dict[str, dict[str, Any]]) -> None:
    assert {name: (zoo[name]["target"],) if zoo[name]["attack"] != "none" else () for name in TARGETS} == TARGETS


@pytest.mark.parametrize("choice", TRIED)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "kind"), [("d01", "pt2"), ("d02", "pt2"), ("d01", "pickle")])
def test_a_patch_is_found_and_a_clean_network_is_clean(
    scan: Scan, store: Registry, name: str, kind: str, seed: int, choice: int
) -> None:
    result = scan(name, kind, *(L2 if kind == "pickle" else ()), seed=seed, choice=choice)
    right(result, name)
    assert result.model.flavor == f"pytorch/{kind}"
    assert result.safety.model_code_executed == (kind == "pickle")
    assert result.cost.peak_rss_bytes <= 1.5 * 2**30
    assert result.write_back.status == "done"
    tags = store.client().get_model_version(result.model.name, result.model.version).tags
    assert tags["smoothscan.verdict"] == result.verdict
    assert json.loads(tags["smoothscan.target_classes"]) == list(TARGETS[name])


@pytest.mark.parametrize("choice", TRIED)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["d04", "d05", "d08"])
def test_what_is_small_in_l2_needs_no_other_space(scan: Scan, name: str, seed: int, choice: int) -> None:
    right(scan(name, "pt2", *L2, seed=seed, choice=choice), name)


@pytest.mark.parametrize("choice", TRIED)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("name", "space"), [("d03", "patch"), ("d06", "frequency"), ("d09", "warp"), ("d13", "smooth")]
)
def test_what_is_small_in_another_space_is_found_there(
    scan: Scan, name: str, space: str, seed: int, choice: int
) -> None:
    result = scan(name, "pt2", *(() if FULL else ("--spaces", space)), seed=seed, choice=choice)
    right(result, name)
    assert result.space == space


@pytest.mark.parametrize("choice", TRIED)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["d07", "d12"])
def test_other_clean_networks(scan: Scan, name: str, seed: int, choice: int) -> None:
    right(scan(name, "pt2", *L2, seed=seed, choice=choice), name)


@pytest.mark.parametrize(("name", "factor"), [("d01", 1e3), ("d02", 1e-3)])
def test_the_scale_of_the_logits_changes_no_verdict(scan: Scan, name: str, factor: float) -> None:
    right(scan(name, "pt2", *L2, seed=0, choice=0, factor=factor), name)


@pytest.mark.parametrize("name", ["d01", "d02"])
def test_a_normalisation_wrapped_into_the_model_changes_no_verdict(scan: Scan, name: str) -> None:
    right(scan(name, "pt2", *L2, seed=0, choice=0, normalised=True), name)


def test_a_source_specific_backdoor_is_found_between_its_two_classes(scan: Scan) -> None:
    # frogs and trucks withstand more noise than the other classes; the level is that of images of all of them
    options = ("--spaces", "patch", "--pairs", "--sigma", "0.12")
    result = scan("d10", "pt2", *options, seed=0, choice=0, only=(FROG, TRUCK))
    assert result.pairs is not None
    assert set(result.pairs.sources) >= {FROG, TRUCK}
    assert [(pair.source, pair.target) for pair in result.pairs.flagged] == [(TRUCK, DEER)], result.pairs
    assert result.target_classes == (DEER,)
    assert result.exit_code() == 1
