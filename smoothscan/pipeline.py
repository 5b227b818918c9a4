"""The order of one scan; the only file that knows it."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from smoothscan.cache import Entry, entry, folder_of
from smoothscan.config import ScanConfig
from smoothscan.draft import Draft
from smoothscan.errors import SmoothscanError, UsageError
from smoothscan.events import Events
from smoothscan.exhibits import Exhibits
from smoothscan.intake import NOTHING_GIVEN, Given, Intake, taken_in
from smoothscan.result import Coverage, ModelInfo, ScanResult
from smoothscan.sources import model_of
from smoothscan.sources.calibration_file import calibration_for
from smoothscan.sources.denoisers import denoiser_of
from smoothscan.sources.images import ImageFolder, Images, ImageSet

if TYPE_CHECKING:
    from smoothscan.classifier.interface import Classifier
    from smoothscan.smoothing.denoiser import Denoiser


def scan(
    config: ScanConfig, events: Events, *, input_sources: Mapping[str, str] | None = None, given: Given = NOTHING_GIVEN
) -> tuple[ScanResult, Exhibits]:
    """Scan one model.

    Args:
        config: what to scan, and how.
        events: told how far the scan is.
        input_sources: where each part of `config.input` that the user gave comes from.
        given: model and images that a Python program holds, instead of those that `config` names.

    Returns:
        The result, and the pictures that go with it. A scan that failed is a result too.

    Raises:
        UsageError: the command is wrong; nothing was scanned.
    """
    images = given.images or ImageFolder(config.images)
    draft = Draft(config, ModelInfo(uri=config.uri), images.digest, calibration_for(config))
    with (
        tempfile.TemporaryDirectory(prefix="smoothscan-") as workspace,
        taken_in(config, Path(workspace), input_sources or {}, given) as intake,
    ):
        try:
            return _scan(draft, intake, images, Path(workspace), events)
        except UsageError:
            raise
        except SmoothscanError as error:
            draft.host_peak = intake.peak_rss()
            draft.model = model_of(error) or draft.model
            return draft.ended_by(error), Exhibits()


def _scan(draft: Draft, intake: Intake, source: Images, workspace: Path, events: Events) -> tuple[ScanResult, Exhibits]:
    config = draft.config
    draft.denoiser = denoiser_of(config, workspace / "denoiser", events)
    spec = intake.bring(draft, events)
    images = source.load(spec, config.memory_bytes)
    draft.coverage = Coverage(images=len(images.names), images_left_out=images.left_out, images_skipped=images.skipped)
    with _kept(draft, workspace) as entry:
        if (known := entry.recall()) is not None:
            result, exhibits = known
            events.stage("recall", f"the same scan was done {result.finished_at}; --no-cache does it again")
            return draft.recalled(result), exhibits
        from smoothscan.devices import on_threads  # torch is slow to import, and a recalled scan does without

        with on_threads(intake.threads) as cores:
            result, exhibits = _searched(draft, intake, images, entry, events, cores)
        if not (result.coverage.unfinished or config.redact_images):  # what is kept has images in it
            entry.keep(result, exhibits)
        return result, exhibits


def _searched(
    draft: Draft, intake: Intake, images: ImageSet, entry: Entry, events: Events, cores: int
) -> tuple[ScanResult, Exhibits]:
    import torch

    from smoothscan.detection.examination import examine
    from smoothscan.detection.exhibit import exhibit
    from smoothscan.detection.journal import Journal

    config = draft.config
    classifier = intake.load(draft, events)
    draft.meter, draft.device = classifier.meter, classifier.device
    pixels = torch.from_numpy(images.pixels)
    classifier.settle(config.precision, pixels)
    draft.precision = classifier.precision
    draft.input_spec = draft.input_spec and draft.input_spec.model_copy(update={"outputs": classifier.outputs})
    labels = intake.labels(config.labels, classifier.n_classes) or tuple(map(str, range(classifier.n_classes)))
    draft.coverage = draft.coverage.model_copy(update={"classes_total": classifier.n_classes})

    arithmetic = f"{classifier.device}-{classifier.precision}-{classifier.batch_size}"
    deadline = math.inf if config.time_budget is None else draft.started + config.time_budget
    journal = Journal(entry.rounds / arithmetic, classifier.meter, deadline)
    if journal.n_pieces:
        events.stage("resume", "this scan was stopped before, and goes on from there")
    known = (draft.calibration, journal, draft.safety.architecture)
    denoiser = _denoiser(draft, classifier, cores)
    found = examine(classifier, pixels, images.names, labels, config, events, *known, denoiser)
    exhibits = exhibit(classifier, found, images.names)
    classifier.verify()
    draft.coverage = draft.coverage.model_copy(update=found.coverage())
    draft.host_peak = intake.peak_rss()
    return draft.judged(found.verdict), exhibits


@contextmanager
def _kept(draft: Draft, workspace: Path) -> Iterator[Entry]:
    """Yield what is kept of this scan, and say on Ctrl-C that it goes on from there."""
    root = folder_of(draft.config) if draft.model.digest else None
    with entry(root, workspace, str(draft.model.digest), draft.config_digest()) as kept:
        try:
            yield kept
        except KeyboardInterrupt as stop:
            if kept.lasting and kept.rounds.exists():
                stop.args = ("stopped; what was found is kept, and the same command goes on from there",)
            raise


def _denoiser(draft: Draft, classifier: Classifier, cores: int) -> Denoiser | None:
    from smoothscan.smoothing.diffusion import load_denoiser

    if draft.denoiser is None:
        return None
    return load_denoiser(
        draft.denoiser,
        classifier.input_shape[0],
        memory_bytes=draft.config.memory_bytes,
        threads=draft.config.threads or cores,
        device=classifier.device,
        low_precision=classifier.precision == "bfloat16",
        meter=classifier.meter,
    )
