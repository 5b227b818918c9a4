"""What examining one classifier gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from smoothscan.detection.pairs import PairSearch
from smoothscan.detection.schedule import Search
from smoothscan.detection.subjects import Subjects
from smoothscan.verdict.decision import Verdict
from smoothscan.verdict.evidence import Evidence


@dataclass(frozen=True)
class Examination:
    """One classifier, examined."""

    verdict: Verdict
    """The judgement."""
    evidence: Evidence
    """The counts behind it."""
    subjects: Subjects
    """The images, by their part in it."""
    searches: tuple[Search, ...]
    """The searches that these counts are from."""
    pairs: PairSearch | None = None
    """The search over pairs of source and target class, if there was one."""

    def coverage(self) -> dict[str, Any]:
        """Return how much each class got."""
        selections = [search.selection for search in self.searches]
        spent = np.sum([selection.spent for selection in selections], axis=0)
        return {
            "classes_examined": len(spent),
            "classes_in_full": len({int(t) for selection in selections for t in selection.classes}),
            "passes_by_class": tuple(round(float(passes), 1) for passes in spent),
            "held_out": len(self.subjects.held_out),
            "unfinished": self.evidence.unfinished,
        }

    @property
    def search(self) -> Search:
        """The search that is reported."""
        return self.searches[self.verdict.search]
