from __future__ import annotations

from collections.abc import Callable

import pytest

from .mortal import Mortal
from .samples import SAMPLES, Sample, backdoored, clean, many_classes


@pytest.fixture(params=sorted(SAMPLES))
def any_sample(request: pytest.FixtureRequest) -> Sample:
    """Every kind of scan."""
    return SAMPLES[request.param]()


@pytest.fixture
def backdoored_sample() -> Sample:
    return backdoored()


@pytest.fixture
def clean_sample() -> Sample:
    return clean()


@pytest.fixture
def many_classes_sample() -> Sample:
    return many_classes()


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the next clients die at a call; never with -1."""
    import mlflow

    real = mlflow.MlflowClient
    lives: list[int] = []
    monkeypatch.setattr("mlflow.MlflowClient", lambda *uris: Mortal(real(*uris), lives[-1]))
    return lives.append
