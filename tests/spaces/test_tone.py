import torch

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


def test_grey_images_have_brightness_alone():
    image = torch.full((1, 1, 4, 4), 0.5)
    shift = SPACE.nothing((1, 4, 4), 1.0)
    shift[0, -1] = 0.3
    torch.testing.assert_close(Trigger(SPACE, shift).on(image), torch.full((1, 1, 4, 4), 0.65))


def test_a_gamma_of_grey_images_is_within_reach():
    ramp = torch.linspace(0.05, 0.95, 64).view(1, 1, 8, 8)
    parameters = SPACE.nothing((1, 8, 8), 1.0).requires_grad_(True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=200)

    def loss():
        optimizer.zero_grad()
        off = (SPACE.apply(ramp[None], parameters[None, None])[0] - ramp**0.7).square().mean()
        off.backward()
        return off

    optimizer.step(loss)
    assert float(loss().detach()) < 1e-3
    assert float(parameters.detach().norm()) < 1.0
