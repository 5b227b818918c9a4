"""Trigger spaces: what a trigger may be. A new one is a file here, a name in `vocabulary.py` and a line below."""

from __future__ import annotations

from collections.abc import Sequence

from smoothscan.spaces.additive import Additive
from smoothscan.spaces.frequency import Frequency
from smoothscan.spaces.interface import Shape, Space
from smoothscan.spaces.patch import Patch
from smoothscan.spaces.smooth import Smooth
from smoothscan.spaces.tone import Tone
from smoothscan.spaces.warp import Warp
from smoothscan.vocabulary import SpaceName

SPACES: dict[SpaceName, Space] = {
    space.name: space for space in (Additive(), Patch(), Frequency(), Smooth(), Warp(), Tone())
}
"""All spaces by name."""


def applicable(names: Sequence[SpaceName], shape: Shape) -> list[Space]:
    """Return those of the spaces that images of this shape can have triggers of."""
    return [SPACES[name] for name in names if SPACES[name].least_channels <= shape[0]]
