import torch

from smoothscan.spaces import SPACES, applicable
from smoothscan.spaces.interface import Trigger
from smoothscan.spaces.tone import Tone

SPACE = Tone()


def test_a_shift_and_a_matrix_move_colours_and_leave_the_brightness():
    image = torch.full((1, 3, 4, 4), 0.5)
    image[:, 0] = 0.7
    shift = SPACE.nothing((3, 4, 4), 1.0)
    shift[1, -1] = 0.3
    after = Trigger(SPACE, shift).on(image)
    torch.testing.assert_close(after[:, 1], torch.full((1, 4, 4), 0.6))
    torch.testing.assert_close(after[:, 2], torch.full((1, 4, 4), 0.45))
    torch.testing.assert_close(after.mean(1), image.mean(1))
    mixed = SPACE.nothing((3, 4, 4), 1.0)
    mixed[2, 0] = 0.6
    after = Trigger(SPACE, mixed).on(image)
    torch.testing.assert_close(after[:, 2], torch.full((1, 4, 4), 0.58))
    torch.testing.assert_close(after.mean(1), image.mean(1))


def test_grey_images_have_no_colours_to_search():
    names = list(SPACES)
    assert "tone" not in [space.name for space in applicable(names, (1, 8, 8))]
    assert [space.name for space in applicable(names, (3, 8, 8))] == names
    assert applicable(["tone"], (1, 8, 8)) == []


def test_a_gamma_of_each_channel_is_within_reach_but_for_the_brightness():
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    change = image ** torch.tensor([0.7, 1.0, 1.4]).view(3, 1, 1) - image
    wanted = image + change - change.mean(1, keepdim=True)
    parameters = SPACE.nothing((3, 8, 8), 1.0).requires_grad_(True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=200)

    def loss():
        optimizer.zero_grad()
        off = (SPACE.apply(image[None], parameters[None, None])[0] - wanted.clamp(0, 1)).square().mean()
        off.backward()
        return off

    optimizer.step(loss)
    assert float(loss().detach()) < 1e-3
    assert float(parameters.detach().norm()) < 1.0
