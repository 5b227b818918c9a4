"""The search over pairs of source and target class: the evidence for those that stand out, and the matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from smoothscan.exhibits import Exhibits
from smoothscan.result import PairsResult, ScanResult
from smoothscan.sinks import words
from smoothscan.sinks.report.evidence import Card, pair_card
from smoothscan.sinks.text import percent

MAX_MATRIX = 30
"""Source classes, and target classes, that the matrix shows at most."""

Hits = Mapping[tuple[int, int], int]


@dataclass(frozen=True)
class Cell:
    """One pair of source and target class."""

    shown: str
    rate: float
    """Share of the images that move, in [0, 1]; 0 where none was searched."""
    title: str
    flagged: bool


@dataclass(frozen=True)
class PairsView:
    """The part of the page about pairs."""

    note: str
    targets: tuple[str, ...]
    rows: tuple[tuple[str, int, tuple[Cell, ...]], ...]
    """Name of the source, number of its images, a cell for each target."""
    cards: tuple[Card, ...]
    more: int
    """Flagged pairs without a card."""
    cut: str
    """What the matrix leaves out; empty if nothing."""


def pairs_view(result: ScanResult, exhibits: Exhibits, redact: bool) -> PairsView | None:
    """Return the matrix of transfers at the largest patch, which all pairs were tried with, and the flagged pairs."""
    found = result.pairs
    if found is None:
        return None
    flagged = {(pair.source, pair.target) for pair in found.flagged}
    names = {c.index: c.label for c in result.classes}
    images = dict(zip(found.sources, found.n_images, strict=True))
    hits = {
        (source, target): own[-1]
        for source, of_source in zip(found.sources, found.hits, strict=True)
        for target, own in enumerate(of_source)
    }
    sources, targets = _most_telling(found, hits, images, flagged)

    def name(index: int) -> str:
        return names.get(index, str(index))

    def cell(source: int, target: int) -> Cell:
        moved, n = hits[source, target], images[source]
        if moved < 0:
            return Cell("", 0.0, "", flagged=False)
        title = f"{name(source)} to {name(target)}: {moved} of {n}"
        return Cell(percent(moved / n), moved / n, title, (source, target) in flagged)

    cards = tuple(
        pair_card(pair, result, pictures, redact)
        for pair in found.flagged
        if (pictures := exhibits.pairs.get((pair.source, pair.target))) is not None
    )
    n_targets = len(found.hits[0]) if found.hits else 0
    cut = (
        f"The {len(sources)} of {len(found.sources)} source classes and {len(targets)} of {n_targets} target classes "
        "with the largest shares; result.json has all."
        if len(sources) < len(found.sources) or len(targets) < n_targets
        else ""
    )
    return PairsView(
        note=words.pairs(result),
        targets=tuple(name(t) for t in targets),
        rows=tuple((name(s), images[s], tuple(cell(s, t) for t in targets)) for s in sources),
        cards=cards,
        more=len(found.flagged) - len(cards),
        cut=cut,
    )


def _most_telling(
    found: PairsResult, hits: Hits, images: Mapping[int, int], flagged: set[tuple[int, int]]
) -> tuple[list[int], list[int]]:
    """Return the sources and targets with the largest shares, those of flagged pairs first, in the model's order."""
    shares = {(s, t): (2.0 if (s, t) in flagged else 0.0) + max(h, 0) / images[s] for (s, t), h in hits.items()}
    of_sources: dict[int, float] = {}
    of_targets: dict[int, float] = {}
    for (s, t), share in shares.items():
        of_sources[s] = max(share, of_sources.get(s, 0.0))
        of_targets[t] = max(share, of_targets.get(t, 0.0))

    def best(of: Mapping[int, float]) -> list[int]:
        return sorted(sorted(of, key=lambda i: -of[i])[:MAX_MATRIX])

    return best(of_sources), best(of_targets)
