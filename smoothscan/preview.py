"""What a scan would do, and what it would cost: everything up to the search, in the sandbox as for a scan.

Nothing is written, apart from a temporary folder that goes again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smoothscan import cache
from smoothscan.classifier.launcher import HostProcess, model_host
from smoothscan.config import ScanConfig
from smoothscan.draft import Draft
from smoothscan.events import Events
from smoothscan.result import InputSpec, ModelInfo, SafetyReport
from smoothscan.safety.admission import admit
from smoothscan.safety.static import check
from smoothscan.sources import fetch
from smoothscan.sources.architectures import with_architecture
from smoothscan.sources.calibration_file import calibration_for
from smoothscan.sources.denoisers import fetch_denoiser
from smoothscan.sources.images import images_digest, list_images, load_images
from smoothscan.sources.input_spec import input_spec, label_names
from smoothscan.vocabulary import SpaceName

if TYPE_CHECKING:
    from torch import Tensor

    from smoothscan.classifier.remote import RemoteClassifier
    from smoothscan.sources.interface import Artifact

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
    paths = list_images(config.images)
    draft = Draft(config, ModelInfo(uri=config.uri), images_digest(paths), calibration_for(config))
    with tempfile.TemporaryDirectory(prefix="smoothscan-") as name:
        workspace, folder = Path(name), Path(name) / "model"
        folder.mkdir()
        with model_host(workspace, folder, device=config.device, time_limit=config.time_limit) as host:
            return _preview(draft, host, paths, workspace, events, input_sources or {})


def _preview(
    draft: Draft,
    host: HostProcess,
    paths: tuple[Path, ...],
    workspace: Path,
    events: Events,
    input_sources: Mapping[str, str],
) -> Preview:
    config = draft.config
    stores = {"tracking_uri": config.tracking_uri, "registry_uri": config.registry_uri}
    if config.denoiser is not None:
        draft.denoiser = fetch_denoiser(config.denoiser, workspace / "denoiser", **stores, events=events)
    artifact = with_architecture(fetch(config.uri, workspace / "model", **stores, events=events), config.architecture)
    draft.model = artifact.info
    seen = check(artifact.path, artifact.mlmodel)
    draft.safety = seen.model_copy(update={"isolation": host.isolation, "sandboxed": host.sandboxed})
    admit(draft.safety, allow_model_code=config.allow_model_code)
    spec = input_spec(artifact, config.input, input_sources)
    images = load_images(paths, spec, config.memory_bytes)

    import torch

    from smoothscan.detection.estimate import Plan, plan
    from smoothscan.devices import one_thread

    with one_thread():
        pixels = torch.from_numpy(images.pixels)
        classifier = _loaded(draft, host, artifact, spec, pixels, events)
        events.stage("measure", "a few gradient steps")
        intended: Plan = plan(classifier, pixels, config)
        spent = time.monotonic() - draft.started
        each = intended.seconds_per_pass(_STEPS)
    cost = Cost(intended.passes, spent + each * sum(intended.passes.values()), each)
    labels = label_names(artifact, config.labels)
    return Preview(
        model=artifact.info,
        size=artifact.size,
        safety=draft.safety,
        spec=spec.model_copy(update={"outputs": classifier.outputs}),
        labels=labels if labels is not None and len(labels) == classifier.n_classes else None,
        n_classes=classifier.n_classes,
        in_full=intended.in_full,
        images=len(images.names),
        left_out=images.left_out,
        skipped=images.skipped,
        synthesis=tuple(images.names[i] for i in intended.subjects.synthesis),
        screening=len(intended.subjects.screening) + len(intended.subjects.probes),
        held_out=len(intended.subjects.held_out),
        spaces=tuple(space.name for space in intended.spaces),
        device=classifier.device,
        precision=classifier.precision,
        batch_size=classifier.batch_size,
        kept=_kept(draft),
        cost=cost,
    )


def _loaded(
    draft: Draft, host: HostProcess, artifact: Artifact, spec: InputSpec, pixels: Tensor, events: Events
) -> RemoteClassifier:
    """Load the model in its process, and find out what it answers."""
    from smoothscan.classifier.remote import RemoteClassifier

    config = draft.config
    events.stage("load", artifact.info.resolved_uri or config.uri)
    host.limit_memory(artifact.size, config.memory_bytes)
    allow_code = config.allow_model_code or draft.safety.needs_model_code  # it was admitted
    deadline = draft.started + config.time_limit
    classifier = RemoteClassifier(host, artifact.path, artifact.stored, spec, config, deadline, allow_code=allow_code)
    classifier.settle(config.precision, pixels)
    return classifier


def _kept(draft: Draft) -> Kept | None:
    config = draft.config
    if not config.cache or draft.model.digest is None:
        return None
    entry = cache.known(config.cache_dir or cache.default_folder(), draft.model.digest, draft.config_digest())
    if entry is None:
        return None
    if (found := entry.recall()) is not None:
        return Kept(found[0].finished_at)
    return Kept(None) if entry.rounds.exists() else None
