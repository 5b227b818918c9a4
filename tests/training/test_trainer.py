"""The steps themselves."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from smoothscan.errors import TrainingError
from smoothscan.smoothing.denoiser import Denoiser
from smoothscan.training.measure import errors
from smoothscan.training.settings import LEARNING_RATE
from smoothscan.training.trainer import Trainer

from .conftest import Ready

CPU = torch.device("cpu")


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_it_learns_to_denoise(ready: Ready) -> None:
    settings, images = ready(steps=150, count=200)
    trainer = Trainer(settings, images, 1, CPU)
    losses = [trainer.step() for _ in range(settings.steps)]
    assert sum(losses[-10:]) < 0.75 * sum(losses[:10])
    denoiser = Denoiser(trainer.averaged(), trainer.alphas_cumprod, "epsilon", 3, size=(8, 8))
    for error in errors(denoiser, images, settings):
        assert error.noisy == pytest.approx(error.sigma, rel=0.1)
        if error.sigma >= 0.25:
            assert error.denoised < 0.8 * error.noisy


@pytest.mark.parametrize("threads", [1, 2])
def test_a_restored_training_goes_on_to_the_same_bits(ready: Ready, threads: int) -> None:
    settings, images = ready()
    straight, stopped, resumed = (Trainer(settings, images, threads, CPU) for _ in range(3))
    for _ in range(4):
        straight.step()
    for _ in range(2):
        stopped.step()
    resumed.restore(stopped.state(), stopped.done)
    for _ in range(2):
        resumed.step()
    assert same(straight.state(), resumed.state())
    assert not same(straight.state(), stopped.state())


def test_threads_change_no_more_than_the_rounding(ready: Ready) -> None:
    settings, images = ready()
    alone, three = (Trainer(settings, images, threads, CPU) for threads in (1, 3))
    for trainer in (alone, three):
        trainer.low_precision = False
    losses = [[trainer.step() for _ in range(3)] for trainer in (alone, three)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_seed_decides_the_network_and_nothing_else_is_touched(ready: Ready) -> None:
    settings, images = ready()
    before = torch.get_rng_state()
    first, again, other = (Trainer(replace(settings, seed=seed), images, 1, CPU) for seed in (0, 0, 1))
    first.step()
    assert torch.equal(torch.get_rng_state(), before)
    weights = [next(trainer.network.parameters()) for trainer in (again, other)]
    assert not torch.equal(*weights)
    again.step()
    assert same(first.state(), again.state())


def test_the_learning_rate_rises_and_falls_to_zero(ready: Ready) -> None:
    settings, images = ready(steps=1000)
    trainer = Trainer(settings, images, 1, CPU)
    rates = []
    for trainer.done in (0, 99, 500, 999):
        trainer.step()
        rates.append(trainer.optimizer.param_groups[0]["lr"] / LEARNING_RATE)
    assert rates == pytest.approx([0.01, (1 + math.cos(0.099 * math.pi)) / 2, 0.5, 0], abs=1e-4)


def test_numbers_that_are_not_finite_end_the_training_before_they_spread(ready: Ready) -> None:
    settings, images = ready()
    trainer = Trainer(settings, images, 1, CPU)
    trainer.step()
    state = {name: tensor.clone() for name, tensor in trainer.state().items()}
    with torch.no_grad():
        kept = trainer.parameters[0].clone()
        trainer.parameters[0].fill_(math.inf)
    with pytest.raises(TrainingError, match="broke down at step 1"):
        trainer.step()
    with torch.no_grad():
        trainer.parameters[0].copy_(kept)
    assert same(trainer.state(), state)
