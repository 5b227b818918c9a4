"""A registry for sweeps that scan nothing, and one real scan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from smoothscan.config import InputConfig, ScanConfig
from smoothscan.fleet import sweep
from smoothscan.fleet.engines.local import LocalEngine
from smoothscan.fleet.machine import Share
from smoothscan.packed import unpack
from smoothscan.result import ScanResult
from smoothscan.sources.calibration_file import settings_of, to_json
from smoothscan.verdict.calibration import Calibration, CleanModel
from tests import planted

from .stubs import jobs
from .world import World


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URI of an MLflow database."""
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("store")
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    client.create_experiment("smoothscan", artifact_location=(folder / "artifacts").as_uri())
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture
def world(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A registry without models, a ledger without scans, and an empty folder."""
    monkeypatch.setattr(sweep, "_PAUSE", 0.001)
    world = World(tmp_path, store)
    yield world
    world.clear()


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> ScanConfig:
    """A quick scan of a backdoored model in a local folder."""
    import mlflow

    folder = tmp_path_factory.mktemp("real")
    mlflow.pytorch.save_model(
        planted.PlantedNet(True).eval(),
        folder / "model",
        input_example=planted.images(2).numpy(),
        pip_requirements=["torch"],
    )
    config = ScanConfig(
        uri=str(folder / "model"),
        images=planted.write_images(folder / "images", planted.images()),
        calibration=folder / "clean.json",
        profile="quick",
        spaces=("l2",),
        input=InputConfig(value_range=(0, 1)),
        cache=False,
        threads=1,
    )
    clean = tuple(CleanModel(uri=f"models:/clean/{n}", digest=None, anomaly=0.1 * n) for n in range(5))
    config.calibration.write_bytes(to_json(Calibration(settings=settings_of(config), models=clean)))
    return config


@pytest.fixture(scope="session")
def scanned_here(real: ScanConfig, tmp_path_factory: pytest.TempPathFactory) -> ScanResult:
    """What that scan finds in a worker of this machine."""
    folder = tmp_path_factory.mktemp("scanned")
    engine = LocalEngine((Share(1),), folder)
    (outcome,) = engine.run(jobs(real, folder, {}))
    engine.close()
    assert outcome.ended == "scanned", outcome.message
    return unpack(outcome.job.into)[0]
