"""Trigger inversion: a trigger that leads the smoothed classifier to a class (Sun & Kolter 2023, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from smoothscan.config import Profile
from smoothscan.detection.journal import Once
from smoothscan.smoothing.noise import PROBE_STREAM, KeyedNoise
from smoothscan.smoothing.smoothed import SmoothedClassifier
from smoothscan.spaces.interface import Space

CHOICE_NOISE = 4
"""Noise vectors for each of several triggers to choose from; with two, places of a patch are chosen wrongly."""
POLISH = 1 / 3
"""Share of the steps of a search that begins with an entry of a dictionary."""
SHORTLIST = 6
"""Entries of a space's dictionary that are looked at more closely for each class."""
SCREEN_BATCH = 64
"""Entries of the dictionary that are seen at once."""
SCREEN_VALUES = 2**24
"""Values of all images with these entries at most; large images are seen with fewer."""


@dataclass(frozen=True)
class Inversion:
    """What one search for triggers gave."""

    parameters: Tensor
    """Parameters of each class's trigger, [G, *P]."""
    silent: Tensor
    """Share of the steps in which the gradient of each class was exactly zero, [G]."""
    reached: Tensor
    """g of each class in the last step, on the images that the trigger is made from, in [0, 1], [G]."""


@dataclass(frozen=True)
class Manner:
    """How a search varies the images, and when it settles on a trigger's discrete part."""

    contrast: float = 0.0
    """Contrast of the flattest view, in [0, 1]."""
    shift: float = 0.2
    """Largest shift of a view, as a share of height and width."""
    open: float = 0.5
    """Share of the steps after which a search from nothing settles on a trigger's discrete part."""
    agree: bool = False
    """Whether every view has to be led to one and the same class: the mean over views of log-probabilities takes the
    place of the logarithm of their mean."""


@dataclass(frozen=True)
class Inverter:
    """Maximises log g_t(x with a trigger) over the triggers of a space, one for each class, all classes at once.

    A search may be for a group of classes instead: then log of the sum of g_t over the group is maximised, which lets
    the images choose the class that is reached most easily. Groups are rows of classes, filled up with -1.

    Projected gradient ascent with momentum and L2-normalised gradients; pixels stay in [0, 1]. In the additive space
    without views this is the paper's algorithm; with views (see `views`) the mean is over variations of x as well, and
    the trigger is not cut to the room that x itself leaves.
    """

    turns: tuple[SmoothedClassifier, ...]
    """g, or several of which the steps take one each by turns: without and with a denoiser."""
    space: Space
    """What a trigger may be."""
    profile: Profile
    """Steps, noise vectors, step size and momentum."""
    noise: KeyedNoise
    """Source of z, keyed by class and step."""
    on_passes: Callable[[float], None]
    """Told the number of model passes after each step."""
    manner: Manner = Manner()
    """How images are varied."""

    @property
    def smoothed(self) -> SmoothedClassifier:
        """Return g by which triggers are chosen."""
        return self.turns[0]

    def shortlist(
        self, images: Tensor, sources: Tensor, targets: Tensor, *, epsilon: float, once: Once, title: str
    ) -> Tensor | None:
        """Return what searches for these targets begin with, see `screened`; None if the space has no dictionary.

        Args:
            images: synthesis images, [U, C, H, W] in [0, 1].
            sources: positions of each target's images among them, [G, M].
            targets: t, [G], or groups of classes, [G, S].
            epsilon: budget.
            once: does the work, or recalls it.
            title: what it is for.
        """
        entries = self.space.dictionary((images.shape[1], images.shape[2], images.shape[3]), epsilon)
        if entries is None:
            return None
        title = f"{title}, shortlists: {targets.tolist()}"
        return once(title, lambda: {"best": self.screened(entries, images, sources, targets)})["best"]

    def screened(self, entries: Tensor, images: Tensor, sources: Tensor, targets: Tensor) -> Tensor:
        """Return the entries of a dictionary that lead most to each target, [G, SHORTLIST, *P].

        Forward passes serve all targets at once: every entry is seen once on each image.

        Args:
            entries: the space's dictionary, [D, *P].
            images: synthesis images, [U, C, H, W] in [0, 1].
            sources: positions of each target's images among them, [G, M].
            targets: t, [G], or groups of classes, [G, S].
        """
        z = self.noise.vectors(PROBE_STREAM, 0, len(images))[:, None, None]
        grouped, own = _grouped(targets), []
        for part in torch.split(entries, min(SCREEN_BATCH, max(SCREEN_VALUES // images.numel(), 1))):
            perturbed = self.space.apply(images[None], part[:, None]).transpose(0, 1).flatten(0, 1)
            noisy = z.expand(-1, len(part), *z.shape[2:]).flatten(0, 1)
            with torch.no_grad():
                log_g = self.smoothed(perturbed[:, None], noisy)
            every = log_g.view(len(images), len(part), -1)
            each = [_any(every[mine].mean(0), group) for mine, group in zip(sources, grouped, strict=True)]
            own.append(torch.stack(each))
            self.on_passes(len(images) * len(part) / 3)
        return entries[torch.cat(own, 1).topk(min(SHORTLIST, len(entries)), dim=1).indices]

    def invert(
        self,
        images: Tensor,
        targets: Tensor,
        start: Tensor | None,
        *,
        epsilon: float,
        first_step: int,
        shortlist: Tensor | None = None,
    ) -> Inversion:
        """Search for the triggers of some classes at one budget.

        Args:
            images: x, the synthesis images of each class, [G, M, C, H, W] in [0, 1]; without views M is 1.
            targets: t, [G], or groups of classes, [G, S]; the first of a group is the key of its noise.
            start: parameters to start from, [G, *P], or None for a search from nothing.
            shortlist: triggers to begin a search from nothing with, [G, T, *P], if there are any.
            epsilon: budget.
            first_step: number of the first step; noise goes on counting from budget to budget.
        """
        profile, space = self.profile, self.space
        targets = _grouped(targets)
        shape = images.shape[-3], images.shape[-2], images.shape[-1]
        settled_at, steps = first_step, round(space.effort * profile.steps)
        if start is not None:
            choices = space.candidates(start, epsilon, settled=True)
            parameters = start if choices is None else self._best(images, targets, choices, first_step)
        elif shortlist is not None:
            parameters = self._best(images, targets, shortlist.unbind(1), first_step)
            steps = int(POLISH * steps)
        else:
            parameters = torch.stack([space.nothing(shape, epsilon)] * len(targets))
            settled_at += int(self.manner.open * steps)
        begun = space.retract(parameters, epsilon, shape) if space.guarded else parameters
        velocity, silent = torch.zeros_like(parameters), torch.zeros(len(targets))
        log_g = torch.full((len(targets),), -torch.inf)
        for step in range(first_step, first_step + steps):
            if step == settled_at and start is None and shortlist is None:
                choices = space.candidates(parameters, epsilon, settled=False)
                if choices is not None:
                    begun = parameters = self._best(images, targets, choices, step)
            parameters = parameters.detach().requires_grad_(True)
            drawn = parameters[:, None]
            if step < settled_at:
                drawn = space.scattered(parameters, targets[:, 0], step, profile.n_noise, self.noise)
            g = self.turns[(step - first_step) % len(self.turns)]
            log_g = self._log_g(g, *self._drawn(images, targets, step, profile.n_noise), targets, drawn)
            (gradient,) = torch.autograd.grad(log_g.sum(), parameters)
            parameters = parameters.detach()
            silent += gradient.flatten(1).norm(dim=1) == 0
            halved = step - first_step >= profile.halve_at * steps
            rate = profile.step_size * space.radius(shape, epsilon) * (0.5 if halved else 1.0)
            velocity = profile.momentum * velocity + _unit(gradient)
            parameters = parameters + rate * velocity
            if not profile.views:
                parameters = (images[:, 0] + parameters).clamp(0, 1) - images[:, 0]
            parameters = space.retract(parameters, epsilon, shape)
            self.on_passes(len(targets) * profile.n_noise)
        if space.guarded:
            parameters = self._best(images, targets, (begun, parameters), first_step)
        return Inversion(parameters, silent / steps, log_g.detach().exp())

    def _best(self, images: Tensor, targets: Tensor, choices: Iterable[Tensor], step: int) -> Tensor:
        """Return the choices, each [G, *P], with the largest g, [G, *P]; of equals the first."""
        x, z = self._drawn(images, targets, step, CHOICE_NOISE)
        most, best = torch.full((len(targets),), -torch.inf), torch.empty(0)
        with torch.no_grad():
            for one in choices:  # there may be a hundred large ones, so only the best so far are kept
                log_g = self._log_g(self.smoothed, x, z, targets, one[:, None])
                better = (log_g > most).view(-1, *[1] * (one.dim() - 1))
                best = torch.where(better, one, best) if len(best) else one
                most = torch.maximum(most, log_g)
                self.on_passes(len(targets) * CHOICE_NOISE / 3)
        return best

    def _drawn(self, images: Tensor, targets: Tensor, step: int, count: int) -> tuple[Tensor, Tensor]:
        """Return what a step sees of the images, [G, N or 1, C, H, W], and its noise, [G, N, C, H, W]."""
        keys = targets[:, 0]
        z = [self.noise.vectors(int(t), step, count, antithetic=self.profile.antithetic) for t in keys]
        if not self.profile.views:
            return images, torch.stack(z)
        return views(images, keys, step, count, self.noise, self.manner), torch.stack(z)

    def _log_g(self, g: SmoothedClassifier, x: Tensor, z: Tensor, targets: Tensor, parameters: Tensor) -> Tensor:
        """Return log g_t of images with triggers [G, N or 1, *P], [G]; of groups the log of the sum of g_t."""
        perturbed = self.space.apply(x, parameters) if self.profile.views else x + parameters
        if self.manner.agree:
            views_each = g(perturbed.flatten(0, 1)[:, None], z.flatten(0, 1)[:, None])
            return _any(views_each.view(*z.shape[:2], -1).mean(1), targets)
        return _any(g(perturbed, z), targets)


def views(images: Tensor, targets: Tensor, step: int, count: int, noise: KeyedNoise, manner: Manner) -> Tensor:
    """Return variations of the images, [G, N, C, H, W] in [0, 1]: contrast up to full, shifted around the edges.

    A perturbation that works on one image may lean on what that image shows, or find no room where the image is white
    or black already. Seen against all views at once it has to stand for itself, which is what makes it transfer.

    Args:
        images: [G, M, C, H, W] in [0, 1]; the views take them in turn, a pair of views the same one.
        targets: class of each, [G]; with `step` the key of the shifts.
        step: number of the gradient step.
        count: number of views N; two in a row share their contrast, like the noise vectors of an antithetic pair.
        noise: source of the shifts.
        manner: least contrast and largest shift.
    """
    height, width = images.shape[3:]
    most = round(manner.shift * height), round(manner.shift * width)
    contrast = torch.linspace(manner.contrast, 1, (count + 1) // 2).repeat_interleave(2)[:count].view(1, count, 1, 1, 1)
    # the first pair is the flattest, so that with several images another one is hidden in every step
    turn = [(step + n // 2) % images.shape[1] for n in range(count)]
    mean = images.mean((2, 3, 4))[:, turn].view(-1, count, 1, 1, 1)
    offsets = [noise.shifts(int(t), step, count, most) for t in targets]
    shifted = torch.stack(
        [
            torch.stack([own[i].roll(offset, (1, 2)) for i, offset in zip(turn, mine, strict=True)])
            for own, mine in zip(images, offsets, strict=True)
        ]
    )
    return mean + contrast * (shifted - mean)


def _grouped(targets: Tensor) -> Tensor:
    """Return targets [G] or [G, S] as groups [G, S]."""
    return targets.view(len(targets), -1)


def _any(log_g: Tensor, groups: Tensor) -> Tensor:
    """Return log of the sum of g over groups of classes, [G], from log g [G, K].

    Args:
        log_g: [G, K].
        groups: classes [G, S] filled up with -1, or one group [S] for all rows.
    """
    groups = groups.expand(len(log_g), -1)
    return log_g.gather(1, groups.clamp_min(0)).masked_fill(groups < 0, -torch.inf).logsumexp(1)


def _unit(gradient: Tensor) -> Tensor:
    norm = gradient.flatten(1).norm(dim=1).view(-1, *[1] * (gradient.dim() - 1))
    return torch.where(norm > 0, gradient / norm.clamp_min(torch.finfo(gradient.dtype).tiny), gradient)
