from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest

from smoothscan.posture import Posture
from smoothscan.sinks.sweep_html import render, write_index
from smoothscan.sinks.sweep_rows import href
from smoothscan.sinks.sweep_view import SHOWN_ROWS

from .pages import Page
from .postures import (
    HOSTILE,
    POSTURES,
    after_many,
    ago,
    hostile,
    mixed,
    past_sweep,
    posture,
    registry_of,
    standing,
    unscanned,
    without_verdict,
)

every_posture = pytest.mark.parametrize("make", POSTURES.values(), ids=POSTURES)


class Index(Page):
    """The page of a sweep: its data are no script."""

    @property
    def data(self) -> list[dict[str, Any]]:
        return json.loads(self.scripts[0]) if len(self.scripts) == 2 else []


def page_of(sweep: Posture) -> Index:
    return Index(render(sweep))


def test_p_and_q_are_explained_in_words() -> None:
    page = page_of(mixed())
    assert page.all("abbr") == []  # which nothing shows on a telephone
    box = page.text.partition("Words on this page ")[2].partition(" Model Version ")[0]
    for term in ("Score How", "p The p-value: the probability", "q The p-value with", "Promoted An alias", "Stale The"):
        assert term in box, term


@every_posture
def test_structure(make: Callable[[], Posture]) -> None:
    page = page_of(make())
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a} <= set(ids)
    assert [len(page.all(tag)) for tag in ("h1", "main", "header", "footer")] == [1, 1, 1, 1]
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(b <= a + 1 for a, b in pairwise(levels))
    assert all(a.get("aria-label") for a in page.all("svg") if a.get("role") == "img")


@every_posture
def test_loads_nothing_and_runs_only_its_own_script(make: Callable[[], Posture]) -> None:
    page = page_of(make())
    for tag, attributes in page.elements:
        for key in ("src", "href", "srcset", "action", "data", "poster", "formaction"):
            assert (attributes.get(key) or "#").startswith(("data:", "#", "./")), (tag, key)
        assert "style" not in attributes
        assert not [key for key in attributes if key.startswith("on")]
    (policy,) = [m["content"] or "" for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    digest = base64.b64encode(hashlib.sha256(page.scripts[-1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert [a.get("type") for a in page.all("script")] == (["application/json", None] if page.data else [None])


def test_all_versions_are_there_as_data_and_the_worst_in_the_table() -> None:
    sweep = registry_of(1000)
    page = page_of(sweep)
    assert [(row["name"], row["version"]) for row in page.data] == [(m.name, m.version) for m in sweep.models]
    assert [row.get("score") for row in page.data] == [m.score for m in sweep.models]
    shown = [a for a in page.all("th") if a.get("role") == "rowheader"]
    assert len(shown) == SHOWN_ROWS + 1  # and the empty one that the script fills
    assert "The worst 100 of 1,000 versions." in page.text
    assert "sweep.json beside this file holds them all" in page.text


def test_what_is_hostile_stays_text() -> None:
    text = render(hostile())
    page = Index(text)
    assert [len(page.all(tag)) for tag in ("script", "style", "img", "iframe")] == [2, 1, 0, 0]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    assert len(text) < 200_000, "10,000 characters are cut"
    assert not set("<>&") & set(page.scripts[0])
    names = {row["name"] for row in page.data}
    assert {HOSTILE[0], HOSTILE[2], HOSTILE[3]} <= names
    for link in page.all("a"):
        assert re.match(r"\./[^:]*$|#", link["href"] or ""), link


@pytest.mark.parametrize(
    "path",
    ["", None, "../x", "a/../../x", "/etc/passwd", "//evil.example/x", "\\\\host\\x", "a//b", "./x", "https://x/y"],
)
def test_a_link_leads_nowhere_else(path: str | None) -> None:
    assert href(path) == ""


def test_a_link_leads_to_the_report_whatever_its_name() -> None:
    assert href("javascript:alert(1)/1/report.html") == "./javascript%3Aalert%281%29/1/report.html"
    assert unquote(href("a b#?%/1/report.html")) == "./a b#?%/1/report.html"


def test_the_first_sweep_says_that_there_is_nothing_to_compare_with() -> None:
    page = page_of(mixed())
    assert "This is the first finished sweep over this selection" in page.text
    assert not [a for a in page.all("svg") if a.get("role") == "img"]


def test_a_later_sweep_says_what_changed_and_shows_the_trend() -> None:
    sweep = after_many(mixed(), nights=12)
    page = page_of(sweep)
    assert "Compared with the sweep that ended 2026-11-21 21:40 UTC" in page.text
    links = {a["href"] for a in page.all("a")}
    assert {"#change=newly_flagged", "#change=not_judged_since", "#change=no_longer_flagged", "#change=new"} <= links
    assert "2 newly flagged" in page.text
    assert "models:/old-signs/1" in page.text
    charts = [a["aria-label"] or "" for a in page.all("svg") if a.get("role") == "img"]
    flagged_before = sweep.history[0].flagged
    assert charts[0].startswith(
        f"Flagged: {flagged_before} on 2026-11-10 21:40 UTC, 3 on 2026-11-22 21:40 UTC; between"
    )
    assert charts[0].endswith("over 13 sweeps")
    table = [a for a in page.all("table") if a.get("class") == "history"]
    assert len(table) == 1
    assert page.text.count("21:40 UTC") >= 13


def test_times_of_the_past_that_are_none_cost_no_page() -> None:
    odd = (past_sweep(3, finished_at="yesterday"), past_sweep(1))
    same = (past_sweep(1, finished_at=ago()), past_sweep(1, finished_at=ago()))
    for history in (odd, same, (past_sweep(1, finished_at=ago()),)):
        page = page_of(posture([standing("a", "1")], history=history))
        points = [a["points"] or "" for a in page.all("polyline")]
        places = [float(point.split(",")[0]) for point in points[0].split()]
        assert places == sorted(places)
        assert (places[0], places[-1]) == (2.0, 98.0)


def test_why_versions_have_no_verdict_the_most_frequent_first() -> None:
    lost = [without_verdict("a", str(n), "failed", "The store <did> not answer: 503 & more.") for n in range(1, 4)]
    other = without_verdict("b", "1", "refused", "It would run code.", aliases=("champion",))
    page = page_of(posture([other, *lost, standing("c", "1"), unscanned("d", "1")]))
    assert (
        "3 versions failed The store <did> not answer: 503 & more. 1 version refused 1 promoted It would run"
        in page.text
    )
    (link,) = [a["href"] or "" for a in page.all("a") if a.get("class") == "times" and "503" in (a["href"] or "")]
    assert parse_qs(link[1:]) == {"verdict": ["failed"], "q": ["The store <did> not answer: 503 & more."]}


def test_the_file_is_written_whole(tmp_path: Path) -> None:
    path = write_index(POSTURES["empty"](), tmp_path / "out")
    assert path == tmp_path / "out" / "index.html"
    assert "There is nothing to show" in path.read_text("utf-8")
