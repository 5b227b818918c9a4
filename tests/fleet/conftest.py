"""A registry for sweeps that scan nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from smoothscan.fleet import sweep

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
