"""What examining one classifier gave."""

from __future__ import annotations

from dataclasses import dataclass

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
    search: Search
    """The search that is reported."""
    pairs: PairSearch | None = None
    """The search over pairs of source and target class, if there was one."""
