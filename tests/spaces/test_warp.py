import pytest
import torch
from torch.nn import functional as F

from smoothscan.spaces.interface import Trigger
from smoothscan.spaces.warp import GRID, Warp, field

SPACE = Warp()


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 20, 30)])
def test_a_constant_displacement_shifts_the_image(shape):
    image = torch.rand(1, *shape)
    right = torch.zeros(2, GRID, GRID)
    right[0] = 2.0
    after = Trigger(SPACE, right).on(image)
    torch.testing.assert_close(after[..., :-2], image[..., 2:], atol=1e-4, rtol=0)
    down = torch.zeros(2, GRID, GRID)
    down[1] = 1.0
    torch.testing.assert_close(Trigger(SPACE, down).on(image)[..., :-1, :], image[..., 1:, :], atol=1e-4, rtol=0)


def test_the_budget_is_the_mean_length_of_the_displacement():
    parameters = torch.randn(3, 2, GRID, GRID, generator=torch.Generator().manual_seed(0))
    lengths = field(SPACE.retract(5 * parameters, 0.7, (3, 32, 32)), 32, 32).norm(dim=1).mean((1, 2))
    torch.testing.assert_close(lengths, torch.full((3,), 0.7), atol=1e-4, rtol=0)


def test_the_field_is_smooth_and_goes_through_its_corners():
    parameters = torch.randn(2, GRID, GRID, generator=torch.Generator().manual_seed(0))
    u = field(parameters, 32, 32)
    torch.testing.assert_close(u[:, 0, 0], parameters[:, 0, 0])
    torch.testing.assert_close(u[:, -1, -1], parameters[:, -1, -1])
    rough = F.interpolate(parameters[None], size=(32, 32), mode="nearest")[0]
    assert u.diff(dim=2).abs().max() < 0.3 * rough.diff(dim=2).abs().max()
