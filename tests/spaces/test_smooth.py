import pytest
import torch

from smoothscan.spaces.interface import Trigger
from smoothscan.spaces.smooth import GRID, Smooth, pattern

SPACE = Smooth()


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 20, 30)])
def test_equal_points_are_one_shade(shape):
    image = torch.full((1, *shape), 0.5)
    after = Trigger(SPACE, torch.full((shape[0], GRID, GRID), 0.1)).on(image)
    torch.testing.assert_close(after, image + 0.1, atol=1e-5, rtol=0)


def test_the_budget_is_the_l2_norm_of_the_pattern():
    points = torch.randn(4, 3, GRID, GRID, generator=torch.Generator().manual_seed(0))
    norms = pattern(SPACE.retract(5 * points, 1.5, (3, 32, 32)), 32, 32).flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.full((4,), 1.5), atol=1e-4, rtol=0)


def test_the_pattern_has_no_high_frequencies():
    delta = pattern(torch.randn(3, GRID, GRID, generator=torch.Generator().manual_seed(0)), 32, 32)
    energy = torch.fft.fft2(delta).abs() ** 2
    low = torch.minimum(torch.arange(32), 32 - torch.arange(32)) <= GRID
    assert energy[:, low][:, :, low].sum() > 0.9 * energy.sum()


def test_what_is_said_of_it():
    shape = (3, 32, 32)
    points = torch.full((3, GRID, GRID), -20 / 255)
    assert SPACE.described(points, shape) == "changes a value by at most 20 of 255"
    picture = SPACE.picture(points, shape)
    assert picture.shape == shape
    assert picture.max() < 1e-5  # stretched around mid-grey, darker everywhere
