from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from smoothscan.fleet.report import posture_of
from smoothscan.posture import Posture, Standing
from tests.sinks.postures import flagged, kept, standing, unscanned, without_verdict

STARTED = datetime(2026, 11, 22, 21, 15, tzinfo=UTC)
BAD = flagged("bad", "1", score=0.7, exit_code=1)
WORSE = flagged("bad", "2", score=0.9, exit_code=1)
FAILED = without_verdict("failed", "1", "failed", "No answer.")
UNSUPPORTED = without_verdict("other", "1", "unsupported", "No classifier.")
NEVER = unscanned("new", "1", aliases=("champion",))
FINE = [standing("fine", number, score=0.1) for number in ("2", "10")]


def told(*standings: Standing, **more: Any) -> Posture:
    return posture_of(standings, started_at=STARTED, registry="r", selection={"filter": None}, engine="local", **more)


def test_the_worst_stand_first_however_they_came() -> None:
    every = [FINE[1], UNSUPPORTED, NEVER, BAD, FINE[0], FAILED, WORSE]
    expected = [WORSE.uri, BAD.uri, FAILED.uri, NEVER.uri, UNSUPPORTED.uri, FINE[0].uri, FINE[1].uri]
    for order in itertools.islice(itertools.permutations(every), 0, 5040, 97):
        assert [each.uri for each in told(*order).models] == expected


@pytest.mark.parametrize(
    ("codes", "worst"),
    [((), 0), ((0, 0), 0), ((0, 5), 5), ((5, 4), 4), ((4, 3, 5), 3), ((3, 1, 0), 1), ((0, None), 0), ((None,), 0)],
)
def test_the_exit_code_is_the_worst(codes: tuple[int | None, ...], worst: int) -> None:
    assert told(*(standing("a", str(n), exit_code=code) for n, code in enumerate(codes, 1))).exit_code == worst


def test_what_was_not_reached_makes_it_incomplete() -> None:
    whole, cut, stopped = told(*FINE), told(*FINE, NEVER), told(*FINE, stopped=True)
    assert [each.complete for each in (whole, cut, stopped)] == [True, False, False]
    assert (whole.unscanned_promoted, cut.unscanned_promoted) == ((), (NEVER.uri,))
    assert cut.counts == {"clean": 2, "unscanned": 1}
    assert told(BAD, FAILED, UNSUPPORTED).counts == {"backdoored": 1, "failed": 1, "unsupported": 1}


def test_promoted_versions_that_nobody_could_examine_are_told() -> None:
    statuses = ("failed", "timed_out", "refused", "unsupported")
    aliased = [without_verdict(f"a-{status}", "1", status, "No.", aliases=("champion",)) for status in statuses]
    staged = without_verdict("staged", "1", "failed", "No.", stage="Production")
    archived = without_verdict("old", "1", "failed", "No.", stage="Archived")
    fine = standing("fine", "1", aliases=("champion",))
    sweep = told(*aliased, staged, archived, FAILED, fine)
    assert set(sweep.unscanned_promoted) == {staged.uri, *(each.uri for each in aliased)}


def test_it_says_when_and_how() -> None:
    sweep = told(*FINE)
    assert sweep.started_at == "2026-11-22T21:15:00+00:00"
    assert datetime.fromisoformat(sweep.finished_at).tzinfo is not None
    assert (sweep.registry, sweep.engine, sweep.selection) == ("r", "local", {"filter": None})
    assert {"smoothscan", "python", "torch", "mlflow"} <= set(sweep.environment)


def test_p_values_of_all_models_are_weighed_together() -> None:
    many = [kept("fine", str(n), p_value=0.5) for n in range(1, 20)]
    (flag,) = [each for each in told(flagged("bad", "1", p_value=0.001), *many).models if each.name == "bad"]
    assert flag.q_value == pytest.approx(0.02)
    sweep = told(flagged("bad", "1", p_value=0.001), *many)
    assert sweep.discoveries is not None
    assert (sweep.discoveries.tested, sweep.discoveries.discoveries, sweep.discoveries.flagged) == (20, 1, 1)
    assert told(NEVER, FAILED).discoveries is None
