"""What the trigger spaces, their budgets and our tags are called, for verdict, terminal and report alike."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

OUR_TAGS = "smoothscan."
"""How our tags in a registry begin."""
MOST_SECONDS = 100 * 365 * 86400
"""Longest time span that means anything; far longer ones are no times that Python can compute with."""

SpaceName = Literal["l2", "patch", "frequency", "smooth", "warp", "tone"]


@dataclass(frozen=True)
class SpaceWords:
    """The words for one trigger space."""

    title: str
    """Name of the space."""
    thing: str
    """What a trigger of this space is."""
    budget: str
    """What its budget measures, with room for a number."""
    axis: str
    """Name of the budget on an axis."""
    control: str = "a shuffled copy of it"
    """What its matched control is, which is as large."""

    def of(self, budget: float) -> str:
        """Return a budget in words."""
        return self.budget.format(f"{budget:.2f}" if budget < 5 else f"{budget:.3g}")


SPACES: dict[SpaceName, SpaceWords] = {
    "l2": SpaceWords("additive, small in L2", "perturbation", "L2 norm {}", "L2 budget"),
    "patch": SpaceWords(
        "contiguous patch",
        "patch",
        "{} replaced pixels",
        "replaced pixels",
        "a patch of random values in the same place",
    ),
    "frequency": SpaceWords("one frequency", "sinusoid", "L2 norm {}", "L2 norm of the sinusoid"),
    "smooth": SpaceWords("smooth pattern", "smooth pattern", "L2 norm {}", "L2 norm of the smooth pattern"),
    "warp": SpaceWords("smooth warp", "warp", "a mean displacement of {} pixels", "mean displacement in pixels"),
    "tone": SpaceWords("change of colour", "change of colour", "strength {}", "strength of the change of colour"),
}
"""By name, in the order in which they are searched."""


def titles(searches: Iterable[str]) -> str:
    """Return searches in words: names of trigger spaces, and `pairs`."""
    kinds: dict[str, str] = {name: words.title for name, words in SPACES.items()}
    return "; ".join(kinds.get(name, "pairs of source and target class") for name in searches)


def share(level: float) -> str:
    """Return the level at which classes count as transferring in words."""
    return {1 / 3: "a third", 0.5: "half", 0.9: "nine tenths"}.get(level, f"{level:.0%}")


def probability(p: float) -> str:
    """Return a p-value with two significant digits."""
    return "< 0.0001" if p < 1e-4 else f"{p:.{max(2, 1 - math.floor(math.log10(p)))}f}"
