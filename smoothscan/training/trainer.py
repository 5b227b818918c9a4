"""The training itself: one step after the other, each spread over the threads that there are."""

from __future__ import annotations

import copy
import math
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from smoothscan.devices import native_bfloat16
from smoothscan.errors import TrainingError
from smoothscan.training.batches import Batch, draw_batch
from smoothscan.training.images import TrainingImages
from smoothscan.training.network import make_network, make_scheduler
from smoothscan.training.settings import (
    BATCH,
    LEARNING_RATE,
    LONGEST_GRADIENT,
    WARM_UP,
    WEIGHT_DECAY,
    Settings,
)

_MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW remembers of each weight."""


class Trainer:
    """A network, and what its optimiser remembers.

    Args:
        settings: what is trained.
        images: what it is trained on.
        threads: parts of a batch that are worked on side by side on a CPU.
        device: where the network is.
    """

    def __init__(self, settings: Settings, images: TrainingImages, threads: int, device: torch.device) -> None:
        from diffusers.training_utils import EMAModel

        self.settings, self.images, self.device = settings, images, device
        self.done = 0
        self.alphas_cumprod = make_scheduler().alphas_cumprod.double()
        self.low_precision = native_bfloat16(device)
        self.network = make_network(settings).to(device).train()
        self.parameters = list(self.network.parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
        self.average = EMAModel(self.parameters, decay=0.999, use_ema_warmup=True, power=0.75, foreach=True)
        # Inside of small operations threads mostly wait for each other, so each has a network and a part of the batch.
        self.threads = min(threads, BATCH) if device.type == "cpu" else 1
        self.networks = [self.network, *(self._sharing_weights() for _ in range(self.threads - 1))]
        self.workers = ThreadPoolExecutor(self.threads, initializer=torch.set_num_threads, initargs=(1,))

    def step(self) -> float:
        """Do the next step and return its loss, the mean square of what is left of the noise.

        Raises:
            TrainingError: loss or gradient are no finite numbers; the weights are left as they were.
        """
        batch = draw_batch(self.images, self.settings, self.done, self.alphas_cumprod)
        parts = torch.arange(BATCH).tensor_split(self.threads)
        found = list(self.workers.map(self._gradients, self.networks, [batch] * self.threads, parts))
        for parameter, first, *others in zip(self.parameters, *(gradients for _, gradients in found), strict=True):
            parameter.grad = sum(others, first)
        loss = sum(part for part, _ in found)
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, LONGEST_GRADIENT))
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise TrainingError(
                f"The training broke down at step {self.done}: its loss or gradient is no finite number.",
                "Train with another --seed, and another --output.",
            )
        self.optimizer.param_groups[0]["lr"] = self._learning_rate()
        self.optimizer.step()
        self.average.step(self.parameters)
        self.done += 1
        return loss

    def _gradients(self, network: nn.Module, batch: Batch, part: Tensor) -> tuple[float, tuple[Tensor, ...]]:
        """Return what a part of a batch adds to the loss, and to the gradient of each weight."""
        noisy, steps, noise = (whole[part].to(self.device) for whole in (batch.noisy, batch.steps, batch.noise))
        # without the cache, which is one for all threads
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.low_precision, cache_enabled=False):
            predicted = network(noisy, steps).sample
        loss = (predicted.float() - noise).square().sum() / batch.noise.numel()
        return float(loss.detach()), torch.autograd.grad(loss, list(network.parameters()))

    def _learning_rate(self) -> float:
        """Return the learning rate of this step: it rises for a while, then falls to zero along a cosine."""
        rising = min(1.0, (self.done + 1) / WARM_UP)
        return LEARNING_RATE * rising * (1 + math.cos(math.pi * self.done / self.settings.steps)) / 2

    def _sharing_weights(self) -> nn.Module:
        twin = copy.deepcopy(self.network)
        for mine, shared in zip(twin.parameters(), self.parameters, strict=True):
            mine.data = shared.data
        return twin

    def averaged(self) -> nn.Module:
        """Return a copy of the network with the moving average of its weights, on the CPU; that is what is kept."""
        twin = copy.deepcopy(self.network)
        self.average.copy_to(twin.parameters())
        return twin.cpu().eval()

    def state(self) -> dict[str, Tensor]:
        """Return everything that the next steps depend on, but for the number of steps done."""
        found = {}
        names = [name for name, _ in self.network.named_parameters()]
        for name, weights, mean in zip(names, self.parameters, self.average.shadow_params, strict=True):
            found[f"weights.{name}"], found[f"average.{name}"] = weights.detach(), mean
            found |= {f"{moment}.{name}": self.optimizer.state[weights][moment] for moment in _MOMENTS}
        return found

    def restore(self, state: dict[str, Tensor], done: int) -> None:
        """Go back to a state.

        Args:
            state: as `state` returned it.
            done: number of steps that had been done then.
        """
        names = [name for name, _ in self.network.named_parameters()]
        with torch.no_grad():
            for name, weights, mean in zip(names, self.parameters, self.average.shadow_params, strict=True):
                weights.copy_(state[f"weights.{name}"])  # in place: the networks of the other threads share them
                mean.copy_(state[f"average.{name}"])
                self.optimizer.state[weights] = {
                    "step": torch.tensor(float(done), device=self.device),
                    **{moment: state[f"{moment}.{name}"].to(self.device) for moment in _MOMENTS},
                }
        self.done = self.average.optimization_step = done
