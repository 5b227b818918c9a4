"""One-step denoising, against the arithmetic of diffusers and of autograd."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from smoothscan.smoothing.denoiser import Denoiser, StraightThrough
from smoothscan.smoothing.steps import closest_steps, noise_ratios
from tests.diffusion import network

ABAR = DDPMScheduler().alphas_cumprod.double()
SIGMA = 0.25


def denoiser(**options: Any) -> Denoiser:
    return Denoiser(network(), ABAR, "epsilon", 3, **{"multiple": 2, **options})


def noisy(count: int = 4, height: int = 8, width: int = 8) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def gradient(through: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """The denoised images, and the gradient of a weighted sum of their squares."""
    leaf = images.clone().requires_grad_(True)
    clean = through(leaf, SIGMA)
    weights = torch.linspace(-1, 1, clean.numel()).view_as(clean)
    (found,) = torch.autograd.grad((weights * clean.square()).sum(), leaf)
    return clean.detach(), found


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("learned", [False, True], ids=["fixed variance", "learned variance"])
@pytest.mark.parametrize("sigma", [0.05, 0.25, 1.0])
def test_it_is_the_scheduler_s_guess_of_the_clean_image(prediction: Any, learned: bool, sigma: float) -> None:
    unet = network(outputs=6 if learned else 3)
    scheduler = DDPMScheduler(
        prediction_type=prediction, clip_sample=False, variance_type="learned" if learned else "fixed_small"
    )
    found = Denoiser(unet, scheduler.alphas_cumprod, prediction, 3, multiple=2)
    images = noisy()
    t = found.step(sigma)
    x_t = scheduler.alphas_cumprod[t].sqrt() * (images * 2 - 1)
    with torch.no_grad():
        wanted = scheduler.step(unet(x_t, t).sample, t, x_t).pred_original_sample
        assert torch.allclose(found(images, sigma), (wanted + 1) / 2, atol=1e-4)


@given(sigma=st.floats(0.005, 3))
def test_no_step_is_closer_to_the_noise_level(sigma: float) -> None:
    t = int(closest_steps(ABAR, torch.tensor([sigma], dtype=torch.float64)))
    away = (noise_ratios(ABAR).log() - math.log(2 * sigma)).abs()
    assert away[t] == away.min()


@given(sigmas=st.lists(st.floats(0.005, 3), min_size=1, max_size=5).map(sorted))
def test_more_noise_is_a_later_step(sigmas: list[float]) -> None:
    steps = closest_steps(ABAR, torch.tensor(sigmas, dtype=torch.float64)).tolist()
    assert steps == sorted(steps)
    assert steps == [denoiser_step(sigma) for sigma in sigmas]


def denoiser_step(sigma: float) -> int:
    return int(closest_steps(ABAR, torch.tensor([sigma], dtype=torch.float64)))


def test_an_image_with_noise_is_what_the_model_knows_at_that_step() -> None:
    t = denoiser().step(SIGMA)
    signal, noise = ABAR[t].sqrt(), (1 - ABAR[t]).sqrt()
    # signal * (2 (x + sigma z) - 1) has to be signal * (2 x - 1) + noise * z
    assert float(2 * signal * SIGMA) == pytest.approx(float(noise), rel=0.01)


def test_without_noise_it_is_the_identity() -> None:
    images = noisy().requires_grad_(True)
    assert denoiser()(images, 0) is images


def test_the_gradient_is_that_of_autograd() -> None:
    found = denoiser()
    for mine, wanted in zip(gradient(found, noisy()), gradient(found.guess, noisy()), strict=True):
        assert torch.allclose(mine, wanted, atol=1e-6)


def test_where_memory_is_short_it_is_computed_twice_with_the_same_gradient() -> None:
    roomy, short = denoiser(), denoiser(memory_bytes=1)
    assert roomy.batch_size((8, 8)) >= 5
    assert short.batch_size((8, 8)) == 1
    calls = []
    short.unet.register_forward_hook(lambda *_: calls.append(1))
    for mine, wanted in zip(gradient(short, noisy(5)), gradient(roomy, noisy(5)), strict=True):
        assert torch.allclose(mine, wanted, atol=1e-5)
    assert len(calls) == 10


def test_no_gradient_is_computed_where_none_is_asked_for() -> None:
    clean = denoiser()(noisy(), SIGMA)
    assert not clean.requires_grad


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("memory_bytes", [1, 2**29])
def test_threads_change_nothing(count: int, memory_bytes: int) -> None:
    alone, two = (denoiser(threads=threads, memory_bytes=memory_bytes) for threads in (1, 2))
    for mine, wanted in zip(gradient(two, noisy(count)), gradient(alone, noisy(count)), strict=True):
        assert torch.allclose(mine, wanted, atol=1e-5)


@given(height=st.integers(2, 13), width=st.integers(2, 13))
def test_odd_sizes_are_padded_and_come_back(height: int, width: int) -> None:
    images = noisy(2, height, width)
    clean, slope = gradient(DENOISER, images)
    assert clean.shape == slope.shape == images.shape


DENOISER = denoiser()


def test_padding_repeats_the_edge() -> None:
    images = noisy(2, 7, 5)
    padded = torch.nn.functional.pad(images, (0, 1, 0, 1), mode="replicate")
    found = denoiser()
    assert torch.allclose(found(images, SIGMA), found(padded, SIGMA)[..., :7, :5], atol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (12, 20), (24, 8)])
def test_images_of_another_size_are_brought_to_the_model_s_and_back(size: tuple[int, int]) -> None:
    seen = []
    found = denoiser(size=size)
    found.unet.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].shape))
    assert found(noisy(4, 12, 16), SIGMA).shape == (4, 3, 12, 16)
    assert {tuple(shape[-2:]) for shape in seen} == {size}


@pytest.mark.parametrize("size", [(8, 8), (16, 8), (32, 32), (48, 40), (12, 14)])
def test_the_noise_level_follows_the_size(size: tuple[int, int]) -> None:
    found = denoiser(size=size)
    noise = torch.randn(3000, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    resized, gain = found._fitted(noise, (32, 32))
    assert resized.shape[-2:] == size
    assert float(resized.std()) == pytest.approx(gain, rel=0.01)


def test_the_model_is_asked_at_the_step_of_the_noise_that_is_left() -> None:
    asked = []
    found = denoiser(size=(8, 8))
    found.unet.register_forward_pre_hook(lambda _, arguments: asked.append(int(arguments[1])))
    found(noisy(1, 32, 32), SIGMA)
    found(noisy(1, 8, 8), SIGMA)
    reduced, whole = asked
    assert whole == found.step(SIGMA)
    assert noise_ratios(ABAR)[reduced] < 0.5 * noise_ratios(ABAR)[whole]


def test_bfloat16_is_close() -> None:
    exact, rough = denoiser(), denoiser(low_precision=True)
    images = noisy()
    assert torch.allclose(exact(images, SIGMA), rough(images, SIGMA), atol=0.05)
    assert rough(images, SIGMA).dtype == torch.float32


def test_straight_through_answers_the_same_with_gradients_as_if_it_changed_nothing() -> None:
    found = denoiser()
    clean, _ = gradient(found, noisy())
    same, straight = gradient(StraightThrough(found), noisy())
    torch.testing.assert_close(same, clean)
    weights = torch.linspace(-1, 1, clean.numel()).view_as(clean)
    torch.testing.assert_close(straight, 2 * weights * clean)
