import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.smoothing.noise import PROBE_STREAM, KeyedNoise

SHAPE = (2, 3, 5)


@given(st.integers(0, 2**63 - 1), st.integers(0, 1000), st.integers(0, 10_000), st.integers(1, 9), st.booleans())
def test_more_vectors_leave_the_first_ones_as_they_are(seed, stream, step, count, antithetic):
    noise = KeyedNoise(seed, SHAPE)
    few = noise.vectors(stream, step, count, antithetic=antithetic)
    many = noise.vectors(stream, step, count + 3, antithetic=antithetic)
    assert few.shape == (count, *SHAPE)
    torch.testing.assert_close(many[:count], few, rtol=0, atol=0)


def test_every_part_of_the_key_changes_the_noise():
    base = KeyedNoise(0, SHAPE).vectors(3, 4, 1)
    others = [
        KeyedNoise(1, SHAPE).vectors(3, 4, 1),
        KeyedNoise(0, SHAPE).vectors(4, 3, 1),
        KeyedNoise(0, SHAPE).vectors(3, 5, 1),
        KeyedNoise(0, SHAPE).vectors(PROBE_STREAM, 4, 1),
    ]
    assert all(not torch.equal(base, other) for other in others)


def test_antithetic_vectors_come_in_pairs():
    z = KeyedNoise(0, SHAPE).vectors(0, 0, 6, antithetic=True)
    torch.testing.assert_close(z[0::2], -z[1::2], rtol=0, atol=0)


def test_noise_is_standard_normal_and_independent_of_global_seeds():
    torch.manual_seed(5)
    np.random.seed(5)
    first = KeyedNoise(7, (3, 64, 64)).vectors(0, 0, 20)
    torch.manual_seed(6)
    second = KeyedNoise(7, (3, 64, 64)).vectors(0, 0, 20)
    assert torch.equal(first, second)
    assert abs(float(first.mean())) < 0.01
    assert abs(float(first.std()) - 1) < 0.01
