from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from smoothscan.cli.sweep_outcome import as_text
from smoothscan.fleet.ledger import Ledger
from smoothscan.fleet.report import posture_of
from smoothscan.fleet.trend import REMEMBERED, change, remember, with_history
from smoothscan.posture import Posture, Standing
from tests.sinks.postures import flagged, standing, unscanned, without_verdict

ONE, TWO, BAD = standing("a", "1"), standing("a", "2"), flagged("b", "1", exit_code=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(str(tmp_path / "ledger.db")) as opened:
        yield opened


def silent(message: str) -> None:
    raise AssertionError(message)


def sweep(ledger: Ledger, *models: Standing, **more: Any) -> Posture:
    """Finish a sweep that found this."""
    values = {"registry": "r", "selection": {"filter": None, "shard": None}, "engine": "local"} | more
    told = with_history(posture_of(models, started_at=datetime.now(UTC), **values), ledger, silent)
    remember(told, ledger, silent)
    return told


def changes(posture: Posture) -> dict[str, tuple[str | None, str | None]]:
    return {model.uri: (model.before, model.change) for model in posture.models}


def test_a_sweep_knows_what_became_of_every_version_since_the_last_one(ledger: Ledger) -> None:
    first = sweep(ledger, ONE, TWO, BAD, unscanned("c", "1", aliases=("champion",)))
    assert (first.history, first.gone, set(changes(first).values())) == ((), (), {(None, None)})
    second = sweep(
        ledger, flagged("a", "1"), without_verdict("a", "2", "failed", "Lost."), standing("c", "1"), standing("d", "1")
    )
    assert changes(second) == {
        "models:/a/1": ("clean", "newly_flagged"),
        "models:/a/2": ("clean", "not_judged_since"),
        "models:/c/1": ("unscanned", "judged_since"),
        "models:/d/1": (None, "new"),
    }
    assert second.gone == ("models:/b/1",)
    (past,) = second.history
    assert (past.versions, past.flagged, past.unscanned_promoted, past.exit_code) == (4, 1, 1, 1)
    assert past.counts == {"backdoored": 1, "clean": 2, "unscanned": 1}
    third = sweep(ledger, ONE, TWO, standing("c", "1"), standing("d", "1"))
    assert changes(third)["models:/a/1"] == ("backdoored", "no_longer_flagged")
    assert changes(third)["models:/d/1"] == ("clean", None)
    assert [each.flagged for each in third.history] == [1, 1]


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (None, "backdoored", "newly_flagged"),
        ("failed", "suspicious", "newly_flagged"),
        ("suspicious", "backdoored", None),
        ("backdoored", "failed", "not_judged_since"),
        ("clean", "inconclusive", "not_judged_since"),
        ("clean", "unscanned", "not_judged_since"),
        (None, "failed", "new"),
        ("unscanned", "failed", None),
        ("suspicious", "clean", "no_longer_flagged"),
        ("timed_out", "clean", "judged_since"),
        ("clean", "clean", None),
        (None, "clean", "new"),
    ],
)  # fmt: skip
def test_the_most_urgent_is_told(before: str | None, now: str, expected: str | None) -> None:
    assert change(before, now) == expected


def test_sweeps_over_something_else_are_not_compared(ledger: Ledger) -> None:
    sweep(ledger, ONE)
    for other in ({"selection": {"filter": "x"}}, {"selection": {"filter": None, "shard": "0/2"}}, {"registry": "s"}):
        assert sweep(ledger, ONE, **other).history == ()
    assert len(sweep(ledger, ONE).history) == 1


def test_only_the_last_sweeps_are_read_back_and_only_the_newest_keeps_its_versions(ledger: Ledger) -> None:
    for n in range(REMEMBERED + 3):
        last = sweep(ledger, *(standing("a", str(i)) for i in range(1, n + 2)))
    assert [each.versions for each in last.history] == list(range(3, REMEMBERED + 3))
    with sqlalchemy.create_engine(f"sqlite:///{ledger.shown}").connect() as connection:
        kept = connection.execute(sqlalchemy.text("SELECT count(*), count(states) FROM smoothscan_sweeps")).one()
    assert tuple(kept) == (REMEMBERED + 3, 1)


def test_a_clock_that_was_ahead_costs_no_later_sweep_its_trend(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr("smoothscan.fleet.ledger.time.time", lambda: now + 86400)
    sweep(ledger, ONE)
    monkeypatch.setattr("smoothscan.fleet.ledger.time.time", lambda: now)
    sweep(ledger, ONE, BAD)
    last = sweep(ledger, ONE, BAD)
    assert [each.versions for each in last.history] == [1, 2]
    assert set(changes(last).values()) == {("clean", None), ("backdoored", None)}


def test_a_ledger_from_before_sweeps_were_noted_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(str(path)):
        pass
    with sqlalchemy.create_engine(f"sqlite:///{path}").begin() as connection:
        connection.execute(sqlalchemy.text("DROP TABLE smoothscan_sweeps"))
    opened: list[int] = []

    def use() -> None:
        with Ledger(str(path)) as ledger:
            opened.append(len(sweep(ledger, ONE).history))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4


def test_a_ledger_that_is_lost_meanwhile_costs_the_trend_and_nothing_else(ledger: Ledger) -> None:
    with sqlalchemy.create_engine(f"sqlite:///{ledger.shown}").begin() as connection:
        connection.execute(sqlalchemy.text("DROP TABLE smoothscan_sweeps"))
    told: list[str] = []
    posture = posture_of([ONE], started_at=datetime.now(UTC), registry="r", selection={}, engine="local")
    assert with_history(posture, ledger, told.append) == posture
    remember(posture, ledger, told.append)
    assert [message.split(".")[0] for message in told] == [
        "What changed since the last sweep cannot be told",
        "The next sweep will not know of this one",
    ]


def test_the_terminal_says_it_in_a_line(ledger: Ledger) -> None:
    assert "changes " not in as_text(sweep(ledger, ONE, BAD), Path("out"))
    text = as_text(sweep(ledger, flagged("a", "1"), TWO), Path("out"))
    (line,) = [line for line in text.splitlines() if line.startswith("changes ")]
    assert line.endswith(" UTC: 1 newly flagged, 1 new, 1 gone (flagged 1 then, 1 now).")
    same = as_text(sweep(ledger, flagged("a", "1"), TWO), Path("out"))
    assert "nothing changed (flagged 1 then, 1 now)." in same
