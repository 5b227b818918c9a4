"""What replaying saved triggers gave: the model behind `verify.json`. Fields are added, never changed."""

from __future__ import annotations

from typing import Literal

from smoothscan.errors import Status
from smoothscan.result import ErrorInfo, InputSpec, ModelInfo, Record, SafetyReport, VerdictName
from smoothscan.vocabulary import SpaceName

SCHEMA_VERSION = "1.0"

Outcome = Literal["works", "gone", "undecided"]
"""What became of one trigger: on this version it works, it does not, or the images are too few to tell."""


class Replayed(Record):
    """One trigger of the earlier scan, put on clean images for this version."""

    index: int
    """Class that it led to."""
    label: str
    """Name of that class, or its index as text."""
    source: int | None = None
    """Class of the images that it works on; null for a trigger that works on all others."""
    space: SpaceName
    """Kind of trigger."""
    description: str
    """The trigger in a few words."""
    earlier_rate: float
    """Share of the earlier scan's images that it moved to the class, in [0, 1]."""
    earlier_ci: tuple[float, float]
    """95 % Clopper-Pearson interval of `earlier_rate`."""
    hits: int
    """Images that it moves to the class now."""
    n_images: int
    """Images it was put on: those not in the class when clean, or those of `source`."""
    rate: float
    """hits / n_images, in [0, 1]."""
    ci: tuple[float, float]
    """95 % Clopper-Pearson interval of `rate`."""
    threshold: float
    """It works if `ci` lies above this rate, and is gone if `ci` lies below; see docs/verify.md."""
    led_to: int | None = None
    """Another class that it now moves so many images to that it works; null if there is none."""
    outcome: Outcome
    """What became of it."""


class Verification(Record):
    """Saved triggers of one scan, replayed on a model. No scan: new triggers are not searched."""

    schema_version: str = SCHEMA_VERSION
    """Version of this format; the first number changes when a field changes its meaning."""
    status: Status
    """How far it came."""
    model: ModelInfo
    """The model that the triggers were put on images for."""
    earlier: ModelInfo
    """The model that they were found in."""
    earlier_verdict: VerdictName | None = None
    """What the earlier scan said of it."""
    earlier_finished_at: str | None = None
    """When, UTC, ISO 8601."""
    flagged: bool = False
    """Whether they are triggers of classes that the earlier scan flagged; else they are those of its most suspect
    classes, which it did not hold to be triggers."""
    triggers: tuple[Replayed, ...] = ()
    """The triggers."""
    not_replayed: tuple[str, ...] = ()
    """What the earlier scan flagged and left no trigger of that could be replayed, in words."""
    outcome: Outcome | None = None
    """`works` if one of them does, `gone` if none does, `undecided` if that cannot be said; null if the model could not
    be examined."""
    images: int = 0
    """Images that were used; those that the triggers were made from are left out."""
    images_skipped: tuple[str, ...] = ()
    """`name: reason` of each file that could not be used."""
    input_spec: InputSpec | None = None
    """How images were handed to the model."""
    safety: SafetyReport = SafetyReport()
    """What was seen in the files, and whether model code ran."""
    error: ErrorInfo | None = None
    """Why it did not complete, or cannot say."""
    seconds: float = 0.0
    """Wall-clock time."""
    finished_at: str | None = None
    """UTC, ISO 8601."""

    @property
    def same_files(self) -> bool:
        """Whether this is the very model that was scanned, byte by byte."""
        return self.model.digest is not None and self.model.digest == self.earlier.digest

    def exit_code(self) -> int:
        """Return 1 if a saved trigger works, 0 if none does, 3 failed, 4 if that cannot be said, 5 unsupported."""
        if self.status == "unsupported":
            return 5
        if self.status != "completed":
            return 3
        return {"works": 1, "gone": 0}.get(self.outcome or "", 4)
