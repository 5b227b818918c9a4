"""What somebody who mistyped a name may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_ALIKE = 0.6
"""Similarity from which on a name is suggested, as in Python's own suggestions."""
_LONGEST = 100
"""Characters beyond which nothing is compared: nobody types such names, and comparing takes their square."""


def close_to(word: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like a word, in upper or lower case; None if none is like it."""
    names = {name.casefold(): name for name in known if len(name) <= _LONGEST}
    if len(word) > _LONGEST:
        return None
    found = get_close_matches(word.casefold(), names, n=1, cutoff=_ALIKE)
    return names[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question with the known name that is most like a word; empty if none is like it."""
    found = close_to(word, known)
    return "" if found is None else f"did you mean {found}?"
