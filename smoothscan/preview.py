"""What a scan would do, and what it would cost: everything up to the search, in the sandbox as for a scan.

Nothing is written, apart from a temporary folder that goes again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smoothscan import cache
from smoothscan.config import ScanConfig
from smoothscan.draft import Draft
from smoothscan.events import Events
from smoothscan.intake.files import FromFiles, from_files
from smoothscan.result import InputSpec, ModelInfo, SafetyReport
from smoothscan.sources.calibration_file import calibration_for
from smoothscan.sources.denoisers import denoiser_of
from smoothscan.sources.images import ImageFolder, Images
from smoothscan.vocabulary import SpaceName

_STEPS = 2
"""Gradient steps that are timed; the first one of a model is slower than the others, and is left out."""


@dataclass(frozen=True)
class Kept:
    """What is known of the very same scan."""

    finished_at: str | None
    """When it was done; None if it was stopped, and would go on."""


@dataclass(frozen=True)
class Cost:
    """What a scan would take; an estimate."""

    passes: Mapping[str, float]
    """Model passes of each search, by trigger space, and of `pairs`."""
    seconds: float
    """Wall time, the parts that this preview has gone through as well included."""
    seconds_per_pass: float
    """What one pass took when it was tried, with what the scanner does around it."""

    @property
    def total_passes(self) -> float:
        """Model passes of all searches."""
        return sum(self.passes.values())


@dataclass(frozen=True)
class Preview:
    """What would be scanned, and how."""

    model: ModelInfo
    """The model, pinned to its files."""
    size: int
    """Bytes of its files."""
    safety: SafetyReport
    """What was seen in them."""
    spec: InputSpec
    """How images are handed to the model."""
    labels: tuple[str, ...] | None
    """Names of the classes, if they are known."""
    n_classes: int
    """Number of classes K."""
    in_full: int
    """Classes of which each would be searched in full in one space."""
    images: int
    """Usable images."""
    left_out: int
    """Further images that would not be looked at."""
    skipped: tuple[str, ...]
    """Files that cannot be used, each with its reason."""
    synthesis: tuple[str, ...]
    """Names of the images that perturbations would be made from."""
    screening: int
    """Images that many classes would be screened on."""
    held_out: int
    """Images that transfer would be counted on."""
    spaces: tuple[SpaceName, ...]
    """Trigger spaces that images of this shape can have triggers of."""
    device: str
    """Torch device of the model."""
    precision: str
    """Arithmetic of the model."""
    batch_size: int
    """Images of one batch."""
    kept: Kept | None
    """What is known of the very same scan; None if nothing is."""
    cost: Cost
    """What the scan would take if nothing were known."""


def preview(config: ScanConfig, events: Events, *, input_sources: Mapping[str, str] | None = None) -> Preview:
    """Find out what a scan would do, up to its first search.

    Args:
        config: what to scan, and how.
        events: told how far it is.
        input_sources: where each part of `config.input` that the user gave comes from.

    Raises:
        SmoothscanError: the scan would end with this error before it searches anything.
    """
    images = ImageFolder(config.images)
    draft = Draft(config, ModelInfo(uri=config.uri), images.digest, calibration_for(config))
    with (
        tempfile.TemporaryDirectory(prefix="smoothscan-") as workspace,
        from_files(Path(workspace), config, input_sources or {}) as intake,
    ):
        return _preview(draft, intake, images, Path(workspace), events)


def _preview(draft: Draft, intake: FromFiles, source: Images, workspace: Path, events: Events) -> Preview:
    """The order of a scan, up to where the search would begin."""
    config = draft.config
    draft.denoiser = denoiser_of(config, workspace / "denoiser", events)
    spec = intake.bring(draft, events)
    images = source.load(spec, config.memory_bytes)

    import torch

    from smoothscan.detection.estimate import plan
    from smoothscan.devices import on_threads

    with on_threads(intake.threads):
        classifier = intake.load(draft, events)
        pixels = torch.from_numpy(images.pixels)
        classifier.settle(config.precision, pixels)
        labels = intake.labels(config.labels, classifier.n_classes)
        events.stage("measure", "a few gradient steps")
        intended = plan(classifier, pixels, config)
        spent = time.monotonic() - draft.started
        each = intended.seconds_per_pass(_STEPS)
    subjects = intended.prepared.subjects
    return Preview(
        model=draft.model,
        size=intake.size,
        safety=draft.safety,
        spec=spec.model_copy(update={"outputs": classifier.outputs}),
        labels=labels,
        n_classes=classifier.n_classes,
        in_full=intended.in_full,
        images=len(images.names),
        left_out=images.left_out,
        skipped=images.skipped,
        synthesis=tuple(images.names[i] for i in subjects.synthesis),
        screening=len(subjects.screening) + len(subjects.probes),
        held_out=len(subjects.held_out),
        spaces=tuple(space.name for space in intended.prepared.spaces),
        device=classifier.device,
        precision=classifier.precision,
        batch_size=classifier.batch_size,
        kept=_kept(draft),
        cost=Cost(intended.passes, spent + each * sum(intended.passes.values()), each),
    )


def _kept(draft: Draft) -> Kept | None:
    if draft.model.digest is None:
        return None
    entry = cache.known(cache.folder_of(draft.config), draft.model.digest, draft.config_digest())
    if entry is None:
        return None
    if (found := entry.recall()) is not None:
        return Kept(found[0].finished_at)
    return Kept(None) if entry.rounds.exists() else None
