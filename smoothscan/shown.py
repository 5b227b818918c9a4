"""How a result is shown in a notebook: where the words of a result and the room that draws it meet.

A result lies at the bottom of all imports and the drawing of it near the top, so that neither may import the other; the
facade, which may import both, brings them together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

renderer: Callable[[Any], str] | None = None
"""From a ScanResult to HTML; set by the facade."""


@dataclass(frozen=True)
class ShownPicture:
    """One picture that goes with a result, ready for an `img` element."""

    title: str
    """What it shows, in a few words."""
    uri: str
    """The picture itself: `data:image/png;base64,...` or JPEG."""
    width: int
    """In CSS pixels."""
    height: int
    """In CSS pixels."""
    pixelated: bool
    """Whether it is enlarged without smoothing."""


def html_of(result: Any) -> str | None:
    """Return a result as HTML; None where nobody draws it."""
    return None if renderer is None else renderer(result)
