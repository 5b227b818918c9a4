from __future__ import annotations

import numpy as np
import screening


def screened(*, large: bool, ranks: list[list[int]], survived: list[bool]) -> dict[str, object]:
    return {"target": 7, "large": large, "ranks": ranks, "survived": survived}


def test_the_rank_counts_better_classes_and_one_that_took_no_part_is_last():
    scores = np.array([-3.0, -1.0, np.nan, -2.0])
    assert [screening._rank(scores, t) for t in range(4)] == [3, 1, 4, 2]


def test_the_page_counts_what_goes_on_in_any_space_and_leaves_out_what_was_not_screened():
    page = screening.page(
        {
            "screened": {
                "a/l2": screened(large=False, ranks=[[1, 2], [3, 10]], survived=[True, False]),
                "a/patch": screened(large=False, ranks=[[4, 10], [1, 1]], survived=[False, True]),
                "b/l2": screened(large=False, ranks=[[5, 10], [1, 1]], survived=[False, True]),
            }
        }
    )
    assert "| a | 7 | 1 3 / 2 10: 1 of 2 | 4 1 / 10 1: 1 of 2 | 2 of 2 |" in page
    assert "| b | 7 | 5 1 / 10 1: 1 of 2 | - | 1 of 2 |" in page
    assert "goes on in 3 of 4 screenings" in page
    assert "## 1,000 classes" not in page
