import torch

from smoothscan.spaces.interface import Trigger
from smoothscan.spaces.tone import Tone

SPACE = Tone()


def test_a_shift_brightens_and_a_matrix_mixes_channels():
    image = torch.full((1, 3, 4, 4), 0.5)
    image[:, 0] = 0.7
    shift = SPACE.nothing((3, 4, 4), 1.0)
    shift[1, -1] = 0.2
    torch.testing.assert_close(Trigger(SPACE, shift).on(image)[:, 1], torch.full((1, 4, 4), 0.6))
    mixed = SPACE.nothing((3, 4, 4), 1.0)
    mixed[2, 0] = 1.0
    after = Trigger(SPACE, mixed).on(image)
    torch.testing.assert_close(after[:, 2], torch.full((1, 4, 4), 0.7))
    torch.testing.assert_close(after[:, :2], image[:, :2])


def test_a_gamma_is_within_reach():
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
