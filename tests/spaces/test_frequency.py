import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.spaces.frequency import Frequency, wave

SPACE = Frequency()
SHAPE = (3, 32, 32)


@given(st.integers(-15, 15), st.integers(1, 15), st.floats(0, 6))
def test_a_wave_has_one_frequency_and_any_phase(down, across, phase):
    a, b = 0.1 * math.cos(phase), -0.1 * math.sin(phase)
    parameters = torch.tensor([down, across, a, 0.0, -a, b, 0.0, -b])
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    expected = 0.1 * torch.cos(2 * math.pi * (down * rows / 32 + across * columns / 32) + phase)
    delta = wave(parameters, 32, 32)
    torch.testing.assert_close(delta, torch.stack([expected, 0 * expected, -expected]), atol=1e-5, rtol=0)
    told = SPACE.described(parameters, SHAPE)
    assert told == f"a sinusoid with {down} periods from top to bottom and {across} from left to right"


@pytest.mark.parametrize("shape", [SHAPE, (1, 28, 28), (3, 20, 33), (4, 16, 16)])
def test_the_dictionary_has_every_frequency_once_in_each_phase_and_colour_at_the_full_norm(shape):
    entries = SPACE.dictionary(shape, 2.0)
    deltas = wave(entries, *shape[1:])
    torch.testing.assert_close(deltas.flatten(1).norm(dim=1), torch.full((len(entries),), 2.0), atol=1e-3, rtol=0)
    frequencies = {tuple(entry[:2].tolist()) for entry in entries}
    assert len(entries) <= len(frequencies) * 2 * (3 if shape[0] == 3 else 1)
    assert (5.0, 0.0) in frequencies
    assert (0.0, 0.0) not in frequencies
    assert (-3.0, 4.0) in frequencies


def test_on_large_images_slow_sinusoids_are_tried_closer_together():
    periods = sorted({int(abs(r)) for r in SPACE.dictionary((1, 224, 224), 2.0)[:, 0].tolist()})
    assert periods[:5] == list(range(5))
    assert periods[-1] == 112
    assert len(periods) <= 17


def test_retracting_keeps_the_frequency():
    parameters = torch.tensor([[3.0, 4.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]])
    smaller = SPACE.retract(parameters, 0.5, SHAPE)
    assert smaller[0, :2].tolist() == [3.0, 4.0]
    assert wave(smaller, 32, 32).norm() == pytest.approx(0.5, rel=1e-4)
