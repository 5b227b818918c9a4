from __future__ import annotations

import pytest

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
