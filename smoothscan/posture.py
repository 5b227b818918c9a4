"""What is known of a registry: the model behind `sweep.json`. Fields are added, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from smoothscan.errors import Status
from smoothscan.result import Record, VerdictName, WriteBack

SCHEMA_VERSION = "1.0"

Action = Literal["scanned", "kept", "pending"]
Change = Literal["newly_flagged", "not_judged_since", "no_longer_flagged", "judged_since", "new"]


def is_promoted(aliases: Sequence[str], stage: str | None) -> bool:
    """Tell whether others are pointed to a version: by an alias, or by a stage that is not the archive."""
    return bool(aliases) or (stage is not None and stage.lower() != "archived")


class Standing(Record):
    """What is known of one version of a registered model."""

    name: str
    """Registered name."""
    version: str
    """Registered version."""
    uri: str
    """`models:/<name>/<version>`."""
    aliases: tuple[str, ...] = ()
    """Aliases of the version."""
    stage: str | None = None
    """Its stage, in registries that have stages; null for none."""
    action: Action
    """`scanned` by this sweep; `kept`: an earlier scan still holds; `pending`: it is due, but was not reached."""
    due: str = ""
    """Why it was or is due: `never scanned`, `expired`, `settings changed`, `files changed`, ...; empty if not."""
    status: Status | None = None
    """How far its newest scan came; null if it was never scanned."""
    verdict: VerdictName | None = None
    """The verdict; null without a completed scan."""
    score: float | None = None
    """How suspect it is, in [0, 1]."""
    p_value: float | None = None
    """Chance of so anomalous a clean model, against the calibration where there is one, else its own classes."""
    q_value: float | None = None
    """Smallest false discovery rate at which it counts among the discoveries (Benjamini-Hochberg over the sweep)."""
    target_classes: tuple[int, ...] = ()
    """Classes held to be targets."""
    labels: tuple[str, ...] = ()
    """Names of the target classes."""
    reason: str = ""
    """The first reason of its result, or what went wrong."""
    passed: bool | None = None
    """Whether it passes the gate; null if it was never scanned."""
    exit_code: int | None = None
    """Exit code that `check` would give."""
    waived: int = 0
    """Findings that a waiver covers."""
    set_aside: tuple[str, ...] = ()
    """What is waived, with who answers for it, until when and why; a sentence each."""
    gate_notes: tuple[str, ...] = ()
    """What the gate says beside: waivers that have expired, are bound to other files or match nothing."""
    model_digest: str | None = None
    """SHA-256 of its files, as scanned."""
    config_digest: str | None = None
    """SHA-256 of what it was scanned with."""
    scanned_at: str | None = None
    """End of its newest scan, UTC, ISO 8601."""
    expires_at: str | None = None
    """When it is due again, UTC, ISO 8601."""
    seconds: float | None = None
    """Wall time of that scan."""
    attempts: int = 0
    """How often it was tried in this sweep."""
    folder: str | None = None
    """Folder of its results, relative to that of `sweep.json`; null if they lie elsewhere."""
    report: str | None = None
    """Its report, relative to `sweep.json`; null if there is none."""
    write_back: WriteBack = WriteBack()
    """What became of its tags and run."""
    before: str | None = None
    """Its verdict at the sweep before, or its status where there was none; `unscanned` if it was not scanned then.
    Null if it was not there, or there was no such sweep."""
    change: Change | None = None
    """What became of it since the sweep before: `newly_flagged` also where it is new; `not_judged_since`: it had a
    verdict; `judged_since`: it had none, and now no trigger was found. Null for nothing of the kind."""
    rewritten: str = ""
    """Why this sweep wrote an earlier result back to the registry once more: `write-back failed`, `tags changed`;
    empty if it did not."""

    @property
    def promoted(self) -> bool:
        """Whether others are pointed to it; see `is_promoted`."""
        return is_promoted(self.aliases, self.stage)


class Discoveries(Record):
    """How many of the flagged models to expect to be false alarms."""

    alpha: float
    """False discovery rate that is asked for."""
    tested: int
    """Models with a p-value."""
    discoveries: int
    """Models whose q-value is at most alpha."""
    flagged: int
    """Models that are flagged, by whatever bound."""
    expected_false: float | None = None
    """Largest q-value among the flagged times their number: false alarms to expect among them if the p-values hold.
    Null if none is flagged, or one without a p-value is."""


class PastSweep(Record):
    """How a registry stood after a finished sweep."""

    started_at: str
    """UTC, ISO 8601."""
    finished_at: str
    """UTC, ISO 8601."""
    versions: int
    """Versions that were looked at."""
    counts: dict[str, int]
    """As in `Posture`."""
    flagged: int
    """Versions that were flagged, waived ones included."""
    waived: int
    """Flagged versions that waivers covered in full."""
    unscanned_promoted: int
    """Promoted versions that nothing was known of; see `Posture`."""
    exit_code: int
    """Exit code of the sweep."""


class Posture(Record):
    """One sweep over a registry."""

    schema_version: str = SCHEMA_VERSION
    """Version of this format; the first number changes when a field changes its meaning."""
    started_at: str
    """UTC, ISO 8601."""
    finished_at: str
    """UTC, ISO 8601; of an interrupted sweep the time of the interruption."""
    complete: bool
    """Whether nothing that is due was left out."""
    registry: str
    """The registry, without credentials."""
    selection: dict[str, Any] = Field(default_factory=dict)
    """Which versions were looked at: filter, names, aliases, stages, shard."""
    engine: str
    """Who scanned: `local` or `ray`, with the number of workers."""
    models: tuple[Standing, ...] = ()
    """Every version that was looked at, the worst first."""
    counts: dict[str, int] = Field(default_factory=dict)
    """Versions by verdict, or by status where there is none; `unscanned` for those never scanned."""
    unscanned_promoted: tuple[str, ...] = ()
    """URIs of versions with an alias or a stage that nobody knows anything of: they have no scan that holds, or it
    failed, was out of time, was refused, or found a model that is not supported."""
    discoveries: Discoveries | None = None
    """The false discovery rate; null if no model has a p-value."""
    exit_code: int = 0
    """Exit code of the sweep: the worst of its models', in the order 1, 3, 4, 5, 0."""
    history: tuple[PastSweep, ...] = ()
    """Finished sweeps over the same selection of the registry before this one, the oldest first; at most 60."""
    gone: tuple[str, ...] = ()
    """URIs of versions that the sweep before looked at, and that are not among `models` any more."""
    run_id: str | None = None
    """MLflow run that sums the sweep up; null if none was logged."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Versions and machine."""
