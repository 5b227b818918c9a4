from __future__ import annotations

import pytest

from smoothscan.sources.registry_hints import _ranges


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([7], "version 7"),
        ([1, 2, 3], "versions 1 to 3"),
        ([1, 2, 3, 7], "versions 1 to 3 and 7"),
        ([1, 3, 5, 6, 9], "versions 1, 3, 5 to 6 and 9"),
        (list(range(1, 40, 2)), "versions ..., 31, 33, 35, 37 and 39"),
    ],
)
def test_versions_in_words(numbers: list[int], words: str) -> None:
    assert _ranges(numbers) == words
