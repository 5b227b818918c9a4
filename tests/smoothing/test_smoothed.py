import pytest
import torch
from torch import nn

from smoothscan.smoothing.smoothed import MEDIAN_MARGIN, SmoothedClassifier, logit_scale


class Linear(nn.Module):
    def __init__(self, scale=1.0):
        super().__init__()
        weights = torch.randn(4, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.weights, self.scale = weights, scale

    def forward(self, x):
        return self.scale * x.flatten(1) @ self.weights.T


def batch(n=5):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(3, 3, 2, 2, generator=generator, dtype=torch.float64)
    return images, torch.randn(3, n, 3, 2, 2, generator=generator, dtype=torch.float64)


def test_it_is_the_log_of_the_mean_probability():
    net, (images, noise) = Linear(), batch()
    expected = torch.stack([net(x + 0.3 * z).softmax(1).mean(0).log() for x, z in zip(images, noise, strict=True)])
    torch.testing.assert_close(SmoothedClassifier(net, 0.3, 1.0)(images[:, None], noise), expected)


def test_without_noise_it_is_the_base_classifier():
    net, (images, noise) = Linear(), batch()
    torch.testing.assert_close(SmoothedClassifier(net, 0.0, 1.0)(images[:, None], noise), net(images).log_softmax(1))


def test_the_gradient_survives_where_the_probability_is_zero_in_floating_point():
    net, (images, noise) = Linear(scale=1e4), batch()
    images = images.float().requires_grad_(True)
    net.weights = net.weights.float()
    log_g = SmoothedClassifier(net, 0.3, 1.0)(images[:, None], noise.float())
    worst = log_g.argmin(1, keepdim=True)
    assert float(log_g.gather(1, worst).exp().max().detach()) == 0.0
    (gradient,) = torch.autograd.grad(log_g.gather(1, worst).sum(), images)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).norm(dim=1) > 0).all()


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_standardised_logits_do_not_know_their_scale(factor):
    images, noise = batch()
    reference, scaled = Linear(), Linear(factor)
    noisy = images + 0.3 * noise[:, 0]
    g = SmoothedClassifier(reference, 0.3, logit_scale(reference, noisy))(images[:, None], noise)
    h = SmoothedClassifier(scaled, 0.3, logit_scale(scaled, noisy))(images[:, None], noise)
    torch.testing.assert_close(g, h, rtol=1e-6, atol=1e-6)


def test_the_median_margin_is_brought_to_its_value():
    net, (images, _) = Linear(), batch()
    top = (net(images) * logit_scale(net, images)).topk(2, dim=1).values
    assert float((top[:, 0] - top[:, 1]).median()) == pytest.approx(MEDIAN_MARGIN)


def test_constant_logits_have_no_scale():
    assert logit_scale(lambda x: torch.zeros(len(x), 3), torch.zeros(4, 1, 2, 2)) == 1.0
