"""Which of many classes get a search of their own: all are tried in groups, the best then for a few steps each.

A search in full costs about a thousand passes, too many for each of a thousand classes. But one trigger serves a group:
its search maximises the chance of any class of the group, and the class that the images are led to most easily wins.
What makes this sharp is that every view is of another image and that logarithms are averaged, so that a class has to be
reached from all of them: ordinary classes are not, at budgets at which a backdoor's target is. First gradients, or a
few steps for every class, tell nothing: a trigger shows only after some tens of steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from smoothscan.classifier.interface import Classifier
from smoothscan.config import Profile
from smoothscan.detection.inversion import Inverter, Manner
from smoothscan.detection.journal import Once
from smoothscan.detection.probe import MIN_HELD_OUT
from smoothscan.detection.subjects import Subjects
from smoothscan.smoothing.noise import PROBE_STREAM, KeyedNoise
from smoothscan.spaces.interface import Trigger
from smoothscan.verdict.evidence import Round

SAMPLED = 10
"""Classes drawn at random that are searched in full: they tell what ordinary classes of the model need."""
FINALISTS = 6
"""Classes that are searched in full because they did best."""
SINGLES = 128
"""Most classes that begin each on its own. In groups small images lead to classes that lie near, not to the target."""
ALONE = 32
"""Classes that are tried on their own afterwards."""
GROUP = 64
"""Most classes of a group."""
GROUPS = 16
"""Fewest groups."""
PARTITIONS = 2
"""Times that the classes are divided into groups; who won its group leaves, so that another one can. Whoever was on its
own has won."""
EFFORT = {"steps": 20, "n_noise": 4}
"""Gradient steps and noise vectors of a try."""
MANNER = Manner(contrast=1.0, shift=0.0, agree=True)
"""The views are images as they are, which all have to be led to the same class."""
HARD = -3.0
"""Score that half of the classes tried alone are below at a budget that is too small to begin with: 5 % chance."""
IMAGES, PROBES = 8, 16
"""Images of a screening, and others on which its outcome is looked at."""
LEAST = 6
"""Fewest of both together."""
FIRST_STEP = 2**20
"""Number of the first step of a screening, far from those of the searches in full: each has noise of its own."""


@dataclass(frozen=True)
class Selection:
    """The classes that are searched in full."""

    classes: NDArray[np.int64]
    """These classes, ascending, [E]."""
    sampled: NDArray[np.bool_]
    """Which of them stand for the others: drawn at random, or all if none was left out, [E]."""
    spent: NDArray[np.float64]
    """Model passes that each class got so far, [K]; those of a group are divided equally."""
    rounds: tuple[Round, ...] = ()
    """How it came to them; none if there are few classes."""
    hard: bool = False
    """Whether even the easiest classes are out of reach at the budget of the screening."""


def everyone(n_classes: int) -> Selection:
    """Return all classes."""
    return Selection(np.arange(n_classes), np.ones(n_classes, dtype=bool), np.zeros(n_classes))


def screening_images(n_images: int, synthesis: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the positions of the images of a screening and of its probes.

    Transfer is not counted on them: the finalists are those that do best there.

    Args:
        n_images: number of usable images.
        synthesis: positions of the images that the searches in full start from.
    """
    free = [i for i in range(n_images) if i not in synthesis]
    count = min(max(len(free) - MIN_HELD_OUT, LEAST), IMAGES + PROBES)
    first = count * IMAGES // (IMAGES + PROBES)
    return tuple(free[:first]), tuple(free[first:count])


def passes(n_classes: int, n_probes: int) -> float:
    """Return the model passes that a screening of so many classes takes, about."""
    each = EFFORT["steps"] * EFFORT["n_noise"] + n_probes / 3
    groups = _group_count(n_classes)
    return ((1 if groups == n_classes else PARTITIONS) * groups + min(ALONE, n_classes)) * each


def select(
    classifier: Classifier,
    inverter: Inverter,
    subjects: Subjects,
    profile: Profile,
    epsilon: float,
    noise: KeyedNoise,
    always: Sequence[int],
    once: Once,
) -> Selection:
    """Choose the classes of one space that are searched in full.

    Args:
        classifier: the base classifier.
        inverter: what searches them later on; the screening borrows its classifier and its space.
        subjects: the images.
        profile: step size and momentum.
        epsilon: budget.
        noise: source of z and of the random choices.
        always: classes that go on whatever the screening says.
        once: does a piece of work, or recalls it from a scan that was stopped.
    """
    effort = profile.model_copy(update=EFFORT)
    quick = Inverter((inverter.smoothed,), inverter.space, effort, noise, inverter.on_passes, MANNER)
    trials = _Trials(classifier, quick, subjects, epsilon, once)
    k = classifier.n_classes
    rounds = []
    scores, winners = np.full(k, np.nan), list[int]()
    for partition in range(PARTITIONS):
        order = [int(t) for t in noise.permutation(PROBE_STREAM + 1 + partition, k) if t not in winners]
        if not order:
            break
        groups = divided(order, _group_count(k))
        found = trials.scores(groups, FIRST_STEP * (1 + partition))
        scores = np.fmax(scores, found)
        winners += [max(group, key=lambda t: found[t]) for group in groups]
    widest = math.ceil(k / _group_count(k))
    title = "each on its own" if widest == 1 else f"in groups of up to {widest}"
    rounds.append(Round(title, scores, _best(scores, ALONE)))

    alone = trials.scores([[t] for t in rounds[0].kept], FIRST_STEP * (1 + PARTITIONS))
    alone = np.where(np.isfinite(alone), np.fmax(alone, scores), np.nan)  # what its group showed still counts
    sampled = {int(t) for t in noise.permutation(PROBE_STREAM + 1 + PARTITIONS, k)[:SAMPLED]}
    ahead = [t for t in _best(alone, k) if t not in sampled][:FINALISTS]
    rounds.append(Round("the best of them on their own", alone, tuple(ahead)))

    classes = np.array(sorted({*sampled, *ahead, *always}), dtype=np.int64)
    hard = bool(np.nanmedian(alone) < HARD)
    return Selection(classes, np.isin(classes, list(sampled)), trials.spent, tuple(rounds), hard)


class _Trials:
    """Searches of a few steps, and what they lead to on other images.

    Arguments are those of `select`.
    """

    def __init__(
        self, classifier: Classifier, inverter: Inverter, subjects: Subjects, epsilon: float, once: Once
    ) -> None:
        self.classifier, self.inverter, self.epsilon, self.once = classifier, inverter, epsilon, once
        self.images = subjects.images[list(subjects.screening)]
        self.probes = subjects.images[list(subjects.probes)]
        self.own = F.one_hot(subjects.clean[list(subjects.probes)], classifier.n_classes).bool()
        self.spent = np.zeros(classifier.n_classes)

    def scores(self, groups: Sequence[Sequence[int]], first_step: int) -> NDArray[np.float64]:
        """Return the score of every class of the groups, [K]; NaN for the others."""
        scores = np.full(len(self.spent), np.nan)
        widest = max(len(group) for group in groups)
        targets = torch.tensor([[*group, *[-1] * (widest - len(group))] for group in groups])
        shortlist = self.inverter.shortlist(
            self.images,
            torch.arange(len(self.images)).expand(len(targets), -1),
            targets,
            epsilon=self.epsilon,
            once=self.once,
            title=f"screening from step {first_step}",
        )
        rows = max(self.classifier.batch_size // self.inverter.profile.n_noise, 1)
        for part in (slice(i, i + rows) for i in range(0, len(groups), rows)):
            mine = None if shortlist is None else shortlist[part]
            work = partial(self._tried, groups[part], targets[part], first_step, mine)
            piece = self.once(f"screening from step {first_step}: {targets[part].tolist()}", work)
            scores[np.concatenate([list(group) for group in groups[part]])] = piece["scores"].numpy()
            for group in groups[part]:
                self.spent[list(group)] += piece.passes / len(groups[part]) / len(group)
        return scores

    def _tried(
        self, groups: Sequence[Sequence[int]], targets: Tensor, first_step: int, shortlist: Tensor | None
    ) -> dict[str, Tensor]:
        """Return the scores of the members of some groups, one group's after the other's."""
        found = self.inverter.invert(
            self.images.expand(len(groups), *self.images.shape),
            targets,
            None,
            epsilon=self.epsilon,
            first_step=first_step,
            shortlist=shortlist,
        )
        led = [self._led(Trigger(self.inverter.space, parameters)) for parameters in found.parameters]
        return {"scores": torch.cat([each[list(group)] for each, group in zip(led, groups, strict=True)])}

    def _led(self, trigger: Trigger) -> Tensor:
        """Return the mean log-probability of every class on the probes that are not in it when clean, [K]."""
        with torch.no_grad():
            log_p = F.log_softmax(self.classifier(trigger.on(self.probes)) * self.inverter.smoothed.scale, dim=1)
        self.inverter.on_passes(len(self.probes) / 3)
        return log_p.masked_fill(self.own, torch.nan).nanmean(0).double()


def divided(classes: Sequence[int], count: int) -> list[Sequence[int]]:
    """Return the classes in so many groups of about the same size, or each by itself if there are fewer of them."""
    return [classes[g::count] for g in range(min(count, len(classes)))]


def _group_count(n_classes: int) -> int:
    return n_classes if n_classes <= SINGLES else max(math.ceil(n_classes / GROUP), GROUPS)


def _best(scores: NDArray[np.float64], count: int) -> tuple[int, ...]:
    order = np.argsort(-scores, kind="stable")
    return tuple(int(t) for t in order[: min(count, int(np.isfinite(scores).sum()))])
