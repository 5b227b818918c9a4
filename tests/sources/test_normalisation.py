from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from smoothscan.sources.normalisation import KNOWN, Normalisation, infer


def normalise(levels: NDArray[np.int64], known: Normalisation, dtype: str) -> NDArray[np.float64]:
    """Do to an image what a training pipeline does, in its data type."""
    low, high = known.value_range
    pixels = (levels / 255).astype(dtype) * np.dtype(dtype).type(high - low) + np.dtype(dtype).type(low)
    if known.mean is not None and known.std is not None:
        mean = np.asarray(known.mean, dtype).reshape(1, -1, 1, 1)
        pixels = (pixels - mean) / np.asarray(known.std, dtype).reshape(1, -1, 1, 1)
    return pixels.astype(dtype).astype(np.float64)


def channels_of(known: Normalisation) -> int:
    return 1 if known.name.startswith("MNIST") else 3


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_a_real_image_tells_its_normalisation(known: Normalisation, dtype: str) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (2, channels_of(known), 32, 32))
    answer = infer(normalise(levels, known, dtype), dtype)
    assert not isinstance(answer, str)
    assert answer[0] is known


@given(
    known=st.sampled_from(KNOWN),
    seed=st.integers(0, 2**32 - 1),
    side=st.integers(1, 12),
    lowest=st.integers(0, 255),
    count=st.integers(1, 256),
)
def test_any_quantised_image_is_found_again_or_refused(
    known: Normalisation, seed: int, side: int, lowest: int, count: int
) -> None:
    rng = np.random.default_rng(seed)
    levels = rng.integers(lowest, min(256, lowest + count), (1, channels_of(known), side, side))
    answer = infer(normalise(levels, known, "float32"), "float32")
    assert isinstance(answer, str) or answer[0] is known


@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.sampled_from([1, 3]),
    mean=st.floats(-0.5, 1),
    std=st.floats(0.05, 2),
    side=st.integers(4, 16),
)
def test_an_unknown_normalisation_is_not_taken_for_a_known_one(
    seed: int, channels: int, mean: float, std: float, side: int
) -> None:
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 256, (1, channels, side, side))
    other = Normalisation("other", mean=(mean,), std=(std,))
    values = normalise(levels, other, "float32")
    answer = infer(values, "float32")
    if isinstance(answer, str) or answer[1].startswith("values lie between"):
        return
    # A coincidence is allowed only where it yields an image of the same contrast.
    found = answer[0]
    factor = np.reshape(found.std or 1.0, (1, -1, 1, 1)) / (found.value_range[1] - found.value_range[0])
    assert np.allclose(np.ptp(values * factor, axis=(2, 3)), np.ptp(levels / 255, axis=(2, 3)), atol=0.01)


def test_unquantised_values_are_taken_for_0_to_1_only_if_they_span_it() -> None:
    rng = np.random.default_rng(0)
    answer = infer(rng.random((1, 3, 16, 16)), "float32")
    assert not isinstance(answer, str)
    assert answer[0] is KNOWN[0]
    assert answer[1].startswith("values lie between")
    for values in (
        rng.random((1, 3, 16, 16)) * 0.4,
        rng.random((1, 3, 16, 16)) * 2 - 0.5,
        rng.normal(size=(1, 3, 16, 16)),
    ):
        assert isinstance(infer(values, "float32"), str)


def test_few_levels_prove_nothing() -> None:
    levels = np.arange(15).repeat(20)[:300].reshape(1, 3, 10, 10) * 17
    assert "fewer than 16" in str(infer(levels / 255, "float32"))


def test_black_and_white_fits_two_ranges() -> None:
    answer = infer(np.eye(16).reshape(1, 1, 16, 16), "float32")
    assert isinstance(answer, str)
    assert "[0, 1] and [0, 255]" in answer
