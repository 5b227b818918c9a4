"""The report's colours: text that everyone can read, in light and dark."""

from __future__ import annotations

import re

import pytest

from smoothscan.sinks.page import template_folder


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("tone", ["backdoored", "suspicious", "clean", "unknown"])
def test_contrast(scheme: str, tone: str) -> None:
    css = (template_folder() / "base.css").read_text("utf-8")
    light, dark = css.split("@media (prefers-color-scheme: dark)")[:2]
    dark = dark.split("\n}\n")[0]

    def colours(text: str, selector: str) -> dict[str, str]:
        block = re.search(re.escape(selector) + r" \{(.*?)\}", text, re.DOTALL)
        return dict(re.findall(r"--([\w-]+): (#\w{6});", block.group(1))) if block else {}

    of = colours(light, ":root") | colours(light, f".tone-{tone}")
    if scheme == "dark":
        of |= colours(dark, ":root") | colours(dark, f".tone-{tone}")
    for text, ground in (
        ("text", "page"), ("text", "surface"), ("text", "tone-soft"), ("muted", "page"), ("muted", "surface"),
        ("muted", "tone-soft"), ("muted", "raised"), ("accent", "surface"), ("accent", "tone-soft"),
        ("flag", "surface"),
        ("flag", "flag-soft"), ("text", "flag-soft"), ("tone", "tone-soft"),
    ):  # fmt: skip
        assert _contrast(of[text], of[ground]) >= 4.5, (text, ground)
    for mark, ground in (("bar", "surface"), ("curve", "surface"), ("flag", "surface"), ("on-tone", "tone")):
        assert _contrast(of[mark], of[ground]) >= 3, (mark, ground)
