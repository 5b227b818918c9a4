"""A registry for sweeps that only pretend."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .stand import Stand


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables made, which takes seconds."""
    folder = tmp_path_factory.mktemp("store")
    Stand(folder, f"sqlite:///{folder}/mlflow.db").client().search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def stand(tmp_path: Path, empty_store: Path) -> Iterator[Stand]:
    """An empty registry, ledger and folder."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    here = Path.cwd()
    os.chdir(tmp_path)  # MLflow keeps artifacts of further experiments below the current folder
    yield Stand(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    os.chdir(here)
