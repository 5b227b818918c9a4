"""The verdict in numbers: the few facts beside it, and what was found in each kind of trigger."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from smoothscan.result import ClassResult, ScanResult
from smoothscan.sinks import words
from smoothscan.sinks.text import count, duration, number, percent
from smoothscan.vocabulary import SPACES, share


@dataclass(frozen=True)
class SpaceRow:
    """What was found in one trigger space."""

    title: str
    measure: str
    label: str
    e50: str
    reference: str
    anomaly: str
    transfer: str
    reported: bool
    flagged: bool


def facts(
    result: ScanResult, flagged: list[ClassResult], closest: ClassResult | None
) -> tuple[tuple[str, str, str], ...]:
    """Return (name, value, remark) of the few numbers that stand beside the verdict."""
    shown: list[tuple[str, str, str]] = []
    if flagged:
        listed = ", ".join(c.label for c in flagged[:3])
        more = f"and {len(flagged) - 3} more" if len(flagged) > 3 else ""
        shown.append(("Target class" if len(flagged) == 1 else "Target classes", listed, more))
    elif closest:
        shown.append(("Closest class", closest.label, "not flagged"))
    first = flagged[0] if flagged else closest
    pair = words.pair_of(first, result) if first else None
    if pair:
        shown.append(
            (
                "It moves",
                percent(pair.transfer_rate),
                f"of {pair.n_images} images of {words.label(pair.source, result)}",
            )
        )
        shown.append(("Size of the patch", SPACES["patch"].of(pair.epsilon), "made for this source class alone"))
    elif first:
        space = SPACES[result.space]
        moved = f"of {count(first.n_images, 'held-out image')}, at {space.of(first.epsilon)}"
        shown.append(("It moves", percent(first.transfer_rate), moved))
        largest = max((p.epsilon for p in first.curve), default=first.epsilon)
        needs = f"more than {space.of(largest)}" if first.e50 is None else space.of(first.e50)
        name = f"Size needed to move {words.share(result)} of the images"
        shown.append((name, needs, f"ordinary classes: {words.ordinary(first, result)}"))
    if result.classes:
        c = result.coverage
        held_out = count(c.held_out, "held-out image")
        shown.append(("Classes examined", f"{c.classes_examined:,} of {c.classes_total:,}", f"on {held_out}"))
    if result.cost.seconds:
        shown.append(("Time", duration(result.cost.seconds), f"on {result.cost.device}"))
    return tuple(shown)


def spaces(result: ScanResult, names: Mapping[int, str], flagged: Set[int]) -> tuple[SpaceRow, ...]:
    """Return a row for each space that was searched, in the order of the search."""
    rows = []
    for found in result.spaces:
        space = SPACES[found.space]
        rows.append(
            SpaceRow(
                title=space.title,
                measure=f"{space.axis} for {share(found.level)} of the images"
                + ("; searched through the denoiser" if found.denoised else ""),
                label=names.get(found.index, str(found.index)),
                e50="not reached" if found.e50 is None else number(found.e50),
                reference=number(found.reference),
                anomaly=f"{found.anomaly:.2f}",
                transfer=percent(found.transfer_rate),
                reported=found.space == result.space,
                flagged=found.space == result.space and found.index in flagged,
            )
        )
    return tuple(rows)
