from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from smoothscan.cli.values import (
    parse_bytes,
    parse_formats,
    parse_numbers,
    parse_range,
    parse_seconds,
    parse_size,
    parse_spaces,
)


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (parse_bytes, "512MB", 512_000_000),
        (parse_bytes, "1.5 GiB", 3 * 2**29),
        (parse_bytes, "100kb", 100_000),
        (parse_bytes, "12345", 12345),
        (parse_seconds, "90", 90.0),
        (parse_seconds, "90s", 90.0),
        (parse_seconds, "30m", 1800.0),
        (parse_seconds, "1.5h", 5400.0),
        (parse_seconds, "90d", 90 * 86400.0),
        (parse_seconds, "36500d", 36500 * 86400.0),
        (parse_size, "224x320", (224, 320)),
        (parse_size, " 32 X 32 ", (32, 32)),
        (parse_size, "64", (64, 64)),
        (parse_numbers, "0.485,0.456,0.406", (0.485, 0.456, 0.406)),
        (parse_range, "-1,1", (-1.0, 1.0)),
        (parse_formats, "html", ("html",)),
        (parse_formats, "JSON, html,json", ("json", "html")),
        (parse_spaces, "l2", ("l2",)),
        (parse_spaces, "Warp, l2,warp", ("l2", "warp")),
        (parse_spaces, "all", ("l2", "patch", "frequency", "smooth", "warp", "tone")),
    ],
)
def test_reads(read: Callable[[str], Any], text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (parse_bytes, "much"),
        (parse_bytes, "5 apples"),
        (parse_bytes, "-5MB"),
        (parse_seconds, "30 days"),
        (parse_seconds, ""),
        (parse_seconds, "36501d"),
        (parse_seconds, "99999999999999d"),
        (parse_seconds, "9" * 400),
        (parse_size, "32x32x3"),
        (parse_size, "large"),
        (parse_numbers, "0.5;0.5"),
        (parse_numbers, ""),
        (parse_range, "1"),
        (parse_range, "0,1,2"),
        (parse_formats, "pdf"),
        (parse_formats, ","),
        (parse_spaces, "l2,pach"),
        (parse_spaces, ""),
    ],
)
def test_refuses_and_shows_an_example(read: Callable[[str], Any], text: str) -> None:
    with pytest.raises(ValueError, match=r"such as|choose from"):
        read(text)
