"""How long the scans that are due would take, from those that the ledger knows."""

from __future__ import annotations

import json
from typing import Any

from smoothscan.cli.plan_cost import cost_in_short
from smoothscan.errors import ConfigError
from smoothscan.fleet.plan import Planned
from tests.fleet.stubs import order, version
from tests.fleet.test_plan import entry


def planned(number: int, due: str, seconds: float | None = None, **changes: Any) -> Planned:
    one = version("a", number)
    summary = None if seconds is None else json.dumps({"seconds": seconds})
    known = None if seconds is None and not changes else entry(summary=summary, **changes)
    return Planned(one, order(one), known, due)


def test_own_scans_come_first_and_others_lend_their_median() -> None:
    plan = [
        planned(1, "expired", 100.0),
        planned(2, "never scanned"),
        planned(3, "", 10.0),
        planned(4, "", 30.0),
        planned(5, "settings changed", 900.0, config_digest="sha256:other"),
    ]
    # 100 s for the first; the median of 10, 30 and 100 s for the second and for the fifth
    assert cost_in_short(plan) == "About 2 min 40 s of scans, one after the other, as scans with these settings took."


def test_what_failed_or_was_scanned_with_other_settings_says_nothing() -> None:
    plan = [
        planned(1, "failed before", 1.0, status="failed"),
        planned(2, "settings changed", 900.0, config_digest="sha256:other"),
        planned(3, "x", status="completed"),
    ]
    assert "not known" in cost_in_short(plan)


def test_nothing_due_costs_nothing() -> None:
    assert cost_in_short([]) == ""
    assert cost_in_short([planned(1, "", 10.0)]) == ""
    one = version("x")
    assert cost_in_short([Planned(one, order(one, problem=ConfigError("no images")), None, "x")]) == ""


def test_versions_of_which_nothing_is_known_are_counted() -> None:
    other = version("b", 2)
    plan = [planned(1, "expired", 5.0), Planned(other, order(other, digest="sha256:z"), None, "never scanned")]
    assert "About 5.0 s of scans" in cost_in_short(plan)
    assert "of 1 more version nothing is known" in cost_in_short(plan)
