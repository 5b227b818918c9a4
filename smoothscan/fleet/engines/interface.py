"""What every engine can do: scan jobs somewhere, and tell of each how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, Protocol

from pydantic import Field

from smoothscan.config import Frozen, ScanConfig

GRACE = 120.0
"""Seconds beyond the time limit of a scan after which its process is killed: downloads and imports are not limited."""
POLL = 1.0
"""Seconds after which an engine that waits for a scan looks up."""


class Job(Frozen):
    """One model that is to be scanned."""

    scan_id: str
    """Id of the scan in the ledger."""
    config: ScanConfig
    """What to scan, and how."""
    input_sources: dict[str, str] = Field(default_factory=dict)
    """Where each part of the input specification that the user gave comes from."""
    into: Path
    """File that receives the finished scan; see `smoothscan.packed`."""
    unless: str | None = None
    """Digest of the model's files that was scanned before: only if they have another one now is there work to do."""
    attempt: int = 1
    """Which attempt this is, from 1."""


class Outcome(Frozen):
    """How a job ended."""

    job: Job
    """The job."""
    ended: Literal["scanned", "unchanged", "crashed", "overdue", "misused"]
    """`scanned`: the finished scan is in `job.into`, whatever its status. `unchanged`: the files are those of
    `job.unless`. Else the process `crashed`, was killed because it was `overdue`, or was `misused`: its settings are
    wrong."""
    message: str = ""
    """What went wrong, in a sentence."""
    hint: str = ""
    """What to do about it."""
    seconds: float = 0.0
    """Wall time of the attempt."""


Take = Callable[[], Job | None]
"""Returns the next job; None if there is none now. More may come of outcomes, as long as one is under way."""
Meanwhile = Callable[[], None]
"""Does what else there is to do while scans are waited for."""


def idle() -> None:
    """Do nothing else."""


def overdue(job: Job, grace: float) -> Outcome:
    """Return the outcome of a job whose process was killed because it went on for too long.

    Args:
        job: the job.
        grace: the seconds that it had beyond its time limit.
    """
    limit = f"{job.config.time_limit:.0f} s and {grace:.0f} s more"
    return Outcome(job=job, ended="overdue", message=f"The scan did not end within {limit}, and was killed.")


class Engine(Protocol):
    """Scans jobs. It takes a job when it has room for one, so that nothing piles up."""

    def describe(self) -> str:
        """Return what it is, in a few words: `local, 2 workers with 1 thread each`."""

    def run(self, take: Take, meanwhile: Meanwhile = idle) -> Iterator[Outcome]:
        """Scan jobs until none is left and none is under way.

        Args:
            take: where jobs come from; it is called by the thread that iterates.
            meanwhile: called by that thread as well, every second or so while no job ends.

        Yields:
            How each job ended, as it ends. A job that cannot be done is an outcome, not an exception.

        Raises:
            EngineError: the engine itself cannot work, such as a cluster that is not there.
        """

    def close(self) -> None:
        """Stop what is under way. What a stopped scan has found is kept where its cache is."""
