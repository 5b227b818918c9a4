"""A registry over its sweeps, as small charts and as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from smoothscan.posture import PastSweep, Posture
from smoothscan.sinks import sweep_words as words
from smoothscan.sinks.text import count, moment

HEIGHT = 64
"""Of a chart, in pixels."""

_TOP, _BOTTOM = 6, 1  # pixels kept free above and below the line
_SIDE = 2.0  # per cent kept free on either side


@dataclass(frozen=True)
class Dot:
    """One sweep in a chart."""

    x: float
    """In per cent of the width."""
    y: float
    """In pixels from the top."""
    title: str


@dataclass(frozen=True)
class Chart:
    """One number over all sweeps."""

    name: str
    kind: str
    """How index.css draws it."""
    now: str
    since: str
    """What it is compared with the sweep before."""
    worse: bool
    """Whether the change is one for the worse."""
    points: str
    """For a polyline in a box of 100 by `HEIGHT`."""
    area: str
    """The same down to zero, for a polygon."""
    dots: tuple[Dot, ...]
    said: str
    """The chart in a sentence, for who does not see it."""


@dataclass(frozen=True)
class Row:
    """One sweep in the table."""

    finished: str
    numbers: tuple[str, ...]
    """In the order of `COLUMNS`."""


def _unjudged(past: PastSweep) -> int:
    return past.versions - past.flagged - past.counts.get("clean", 0)


_NUMBERS: tuple[tuple[str, str, Callable[[PastSweep], int], bool], ...] = (
    ("Flagged", "flagged", lambda past: past.flagged, True),
    ("Without a verdict", "unjudged", _unjudged, True),
    ("Promoted, no scan holds", "promoted", lambda past: past.unscanned_promoted, True),
    ("Versions", "versions", lambda past: past.versions, False),
)
COLUMNS = (*(name for name, *_ in _NUMBERS), "Waived", "Exit code")
"""Numbers in the table of sweeps."""


def charts(posture: Posture) -> tuple[Chart, ...]:
    """Return the charts; none without a sweep before."""
    if not posture.history:
        return ()
    sweeps = (*posture.history, words.in_numbers(posture))
    places = tuple(_places(sweeps))
    return tuple(
        _chart(name, kind, [of(each) for each in sweeps], sweeps, places, more_is_worse)
        for name, kind, of, more_is_worse in _NUMBERS
    )


def rows(posture: Posture) -> tuple[Row, ...]:
    """Return the table, the newest sweep first."""
    return tuple(
        Row(
            moment(past.finished_at),
            (*(f"{of(past):,}" for _, _, of, _ in _NUMBERS), f"{past.waived:,}", str(past.exit_code)),
        )
        for past in (words.in_numbers(posture), *reversed(posture.history))
    )


def _chart(
    name: str,
    kind: str,
    values: Sequence[int],
    sweeps: Sequence[PastSweep],
    places: Sequence[float],
    more_is_worse: bool,
) -> Chart:
    top = max(*values, 1)
    heights = [_TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - value / top) for value in values]
    line = " ".join(f"{x:.2f},{y:.1f}" for x, y in zip(places, heights, strict=True))
    days = [moment(past.finished_at) for past in sweeps]
    step = values[-1] - values[-2]
    return Chart(
        name=name,
        kind=kind,
        now=f"{values[-1]:,}",
        since=f"{abs(step):,} {'more' if step > 0 else 'fewer'} than before" if step else "as many as before",
        worse=more_is_worse and step > 0,
        points=line,
        area=f"{places[0]:.2f},{HEIGHT} {line} {places[-1]:.2f},{HEIGHT}",
        dots=tuple(
            Dot(x, y, f"{day}: {value:,}") for x, y, day, value in zip(places, heights, days, values, strict=True)
        ),
        said=f"{name}: {values[0]:,} on {days[0]}, {values[-1]:,} on {days[-1]}; "
        f"between {min(values):,} and {max(values):,} over {count(len(values), 'sweep')}",
    )  # fmt: skip


def _places(sweeps: Sequence[PastSweep]) -> Iterator[float]:
    """Yield where each sweep stands, in per cent of the width: by its time, or evenly where times are none."""
    times = [found.timestamp() for past in sweeps if (found := words.instant(past.finished_at))]
    if len(times) < len(sweeps) or times != sorted(times) or times[0] == times[-1]:
        times = [float(n) for n in range(len(sweeps))]
    for time in times:
        yield _SIDE + (100 - 2 * _SIDE) * (time - times[0]) / (times[-1] - times[0])
