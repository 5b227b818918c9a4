from __future__ import annotations

import time

from smoothscan.suggestions import close_to, did_you_mean


def test_a_name_that_is_nearly_right_is_suggested_as_it_is_written() -> None:
    assert close_to("digit", ["letters", "digits"]) == "digits"
    assert close_to("DIGITS", ["Digits"]) == "Digits"
    assert did_you_mean("imags", ["images", "seed"]) == "did you mean images?"


def test_a_name_that_is_like_none_suggests_nothing() -> None:
    assert close_to("zzz", ["letters", "digits"]) is None
    assert did_you_mean("x", []) == ""


def test_hostile_names_cost_no_time() -> None:
    began = time.monotonic()
    assert close_to("a" * 10_000, ["a" * 9_999]) is None
    assert close_to("a" * 90, ["a" * 10_000, "b"] * 500) is None
    assert time.monotonic() - began < 1
