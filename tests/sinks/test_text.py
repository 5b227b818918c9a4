from __future__ import annotations

import json
import unicodedata
from datetime import UTC
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.gate import judge
from smoothscan.sinks import runs, text
from smoothscan.sinks.junit import to_junit
from smoothscan.sinks.report.steps import steps
from smoothscan.sinks.sarif import to_sarif

from . import samples


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("cat", "cat"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;a title\x07cat", "cat"),
        ("\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jcat", "cat"),
        ("two\nlines\tand more", "two lines and more"),
        ("bell\x07 null\x00", "bell null"),
        ("right\u202eto left", "rightto left"),
        ("file\udcff", "file"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
        ("größe 图像 👩\u200d🔬", "größe 图像 👩\u200d🔬"),
    ],
)
def test_plain(raw: str, shown: str) -> None:
    assert text.plain(raw) == shown


@given(st.text(st.characters()))
def test_plain_is_printable_and_stable(raw: str) -> None:
    shown = text.plain(raw)
    assert all(unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") for c in shown)
    assert text.plain(shown) == shown
    shown.encode("utf-8")


def test_long_text_is_cut() -> None:
    assert text.plain("a" * 5000, limit=10) == "a" * 9 + "…"
    assert text.shorten("a label of many words", 10) == "a label of"[:9].rstrip() + "…"
    assert text.shorten("exactly 10", 10) == "exactly 10"
    assert text.shorten("图像图像图像", 6) == "图像…"


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [(0, 3, "0"), (1.0, 3, "1.00"), (0.4204, 3, "0.420"), (14, 2, "14"), (2800, 2, "2800"), (1e-7, 3, "1.00e-07")],
)
def test_number(value: float, digits: int, shown: str) -> None:
    assert text.number(value, digits) == shown


@pytest.mark.parametrize(
    ("share", "shown"), [(0, "0 %"), (0.001, "< 1 %"), (0.42, "42 %"), (0.994, "99 %"), (0.999, "> 99 %"), (1, "100 %")]
)
def test_percent_never_rounds_to_all_or_nothing(share: float, shown: str) -> None:
    assert text.percent(share).replace("\u00a0", " ") == shown


@pytest.mark.parametrize(
    ("iso", "seconds"),
    [
        ("2026-11-22T21:40:03+00:00", "2026-11-22T21:40:03"),
        ("2026-11-22T21:40:03.999Z", "2026-11-22T21:40:03"),
        ("2026-11-22T21:40:03", "2026-11-22T21:40:03"),  # without a zone it is UTC
        ("2026-11-22T23:10:03+01:30", "2026-11-22T21:40:03"),
        ("2026-11-22", "2026-11-22T00:00:00"),
        ("0001-01-01T00:00:00", "0001-01-01T00:00:00"),
        ("9999-12-31T23:59:59-14:00", ""),
        ("0001-01-01T00:00:00+14:00", ""),
        ("yesterday", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_times_are_read_as_utc(iso: str | None, seconds: str) -> None:
    at = text.instant(iso)
    assert text.seconds_of(iso) == seconds
    assert (at is None) == (not seconds)
    assert at is None or at.tzinfo is UTC


@pytest.mark.parametrize("iso", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00", "", "yesterday"])
def test_no_time_breaks_an_output(iso: str) -> None:
    result = judge(samples.backdoored().result.model_copy(update={"started_at": iso, "finished_at": iso}))
    invocation = json.loads(to_sarif(result, "a.toml"))["runs"][0]["invocations"][0]
    known = "0001-01-01T00:00:00" if iso.startswith("0001") else None
    assert invocation.get("startTimeUtc") == (known and f"{known}Z")
    suite = ElementTree.fromstring(to_junit(result)).find("testsuite")
    assert suite is not None
    assert suite.get("timestamp") == known
    assert steps(result, "smoothscan check x")
    assert runs.timestamp(iso).tzinfo is UTC


def test_units() -> None:
    assert [text.duration(s) for s in (0.04, 19.4, 119, 130, 7300)] == [
        "0.0 s",
        "19 s",
        "119 s",
        "2 min 10 s",
        "2 h 1 min",
    ]
    assert [text.size(n) for n in (12, 2048, 5 << 20, 3 << 30)] == ["12 bytes", "2 KiB", "5 MiB", "3.0 GiB"]
    two_digits = {None: "n/a", 0.00009: "< 0.0001", 0.00042: "0.00042", 0.0015: "0.0015", 0.048: "0.048", 0.25: "0.25"}
    assert [text.probability(p) for p in two_digits] == [*two_digits.values()]
    assert [text.count(n, "class", "classes") for n in (1, 1000)] == ["1 class", "1,000 classes"]
    assert text.moment("2026-11-22T21:40:03+00:00") == "2026-11-22 21:40 UTC"
    assert text.moment("yesterday") == "yesterday"
    assert text.moment(None) == ""
