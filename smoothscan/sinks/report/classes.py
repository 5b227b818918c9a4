"""Every class of the model, ranked: the rows of the table that is the page's chart of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from smoothscan.result import ClassResult
from smoothscan.sinks.report.bars import bar
from smoothscan.sinks.report.null_band import curve
from smoothscan.sinks.text import number
from smoothscan.vocabulary import SpaceWords

PRINTED = 30
"""Rows that are printed; the highest-ranked ones."""
STRIP = 30
"""Classes above which all of them are shown side by side as well."""


@dataclass(frozen=True)
class Row:
    """One class."""

    rank: int
    c: ClassResult
    bar: Markup
    curve: str
    """Budgets, hits and images, as report.js reads them: `2.5/30/91 3.5/61/91`."""


def rows(classes: Sequence[ClassResult]) -> list[Row]:
    """Return a row for each class, in the order given."""
    return [
        Row(
            rank,
            c,
            bar(c.transfer_rate, c.transfer_ci),
            " ".join(f"{p.epsilon:g}/{p.hits}/{p.n_images}" for p in curve(c)),
        )
        for rank, c in enumerate(classes, 1)
    ]


def note(classes: Sequence[ClassResult], space: SpaceWords) -> str:
    """Return at which budgets and noise levels the rates of the table were counted."""
    budgets = sorted({number(c.epsilon) for c in classes}, key=float)
    sigmas = sorted({number(c.sigma, 2) for c in classes}, key=float)
    return f"at {space.budget.format(_range(budgets))} and noise level \u03c3 = {_range(sigmas)}"


def _range(values: list[str]) -> str:
    return values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}" if values else ""
