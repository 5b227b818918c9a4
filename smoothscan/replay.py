"""Triggers of an earlier scan on another version of the model: the order of it, and what counts as still working."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from smoothscan.config import ScanConfig
from smoothscan.errors import InconclusiveError, ReplayError, SmoothscanError, UsageError
from smoothscan.events import Events
from smoothscan.intake import Intake
from smoothscan.intake.files import from_files
from smoothscan.result import ErrorInfo, InputSpec, ModelInfo, SafetyReport
from smoothscan.sources import model_of
from smoothscan.sources.images import ImageSet, list_images, load_images
from smoothscan.sources.saved_triggers import Saved, SavedTrigger
from smoothscan.verdict.budget import binomial_interval
from smoothscan.verification import Outcome, Replayed, Verification

if TYPE_CHECKING:
    import torch

    from smoothscan.classifier.interface import Classifier

KEPT = 0.5
"""Share of its earlier rate at which a trigger still works."""
LEAST_IMAGES = 10
"""Fewest images that say anything about a trigger that was not held to be one."""


@dataclass
class _Known:
    """What is known while it runs."""

    config: ScanConfig
    """What was asked for."""
    model: ModelInfo
    """The model, as far as it is pinned."""
    safety: SafetyReport = field(default_factory=SafetyReport)
    """What was seen in its files."""
    input_spec: InputSpec | None = None
    """How images are handed to it."""
    images: ImageSet | None = None
    """The images."""
    started: float = field(default_factory=time.monotonic)
    """Start, on the monotonic clock."""


def replay(
    config: ScanConfig, saved: Saved, events: Events, *, input_sources: Mapping[str, str] | None = None
) -> Verification:
    """Put saved triggers on clean images, and count which of these the model of `config` gives to their class.

    Args:
        config: which model, and how it is loaded; what it says of the search does not matter.
        saved: the triggers.
        events: told how far it is.
        input_sources: where each part of `config.input` comes from.

    Returns:
        What became of each trigger. A model that could not be examined gives a result, too.

    Raises:
        UsageError: the command is wrong; nothing was done.
    """
    paths, known = list_images(config.images), _Known(config, ModelInfo(uri=config.uri))
    triggers: tuple[Replayed, ...] = ()
    ending: SmoothscanError | None = None
    with (
        tempfile.TemporaryDirectory(prefix="smoothscan-") as workspace,
        from_files(Path(workspace), config, input_sources or {}) as intake,
    ):
        try:
            triggers = _replay(known, saved, intake, paths, events)
        except UsageError:
            raise
        except SmoothscanError as error:
            known.model = model_of(error) or known.model
            ending = error
    return Verification(
        status="completed" if ending is None else ending.status,
        model=known.model,
        earlier=saved.result.model,
        earlier_verdict=saved.result.verdict,
        earlier_finished_at=saved.result.finished_at,
        flagged=saved.flagged,
        triggers=triggers,
        not_replayed=saved.missing,
        outcome=_overall(triggers, saved, ending),
        images=0 if known.images is None else len(_usable(known.images, saved)),
        images_skipped=() if known.images is None else known.images.skipped,
        input_spec=known.input_spec,
        safety=known.safety,
        error=ending and ErrorInfo(type=type(ending).__name__, message=ending.message, hint=ending.hint),
        seconds=time.monotonic() - known.started,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _replay(
    known: _Known, saved: Saved, intake: Intake, paths: tuple[Path, ...], events: Events
) -> tuple[Replayed, ...]:
    """The order of a scan, up to where the search would begin."""
    config, spec = known.config, intake.bring(known, events)
    _same_size(saved, spec)
    known.images = images = load_images(paths, spec, config.memory_bytes)

    import torch

    from smoothscan.devices import on_threads

    with on_threads(intake.threads):
        classifier = intake.load(known, events)
        pixels = torch.from_numpy(images.pixels)
        classifier.settle(config.precision, pixels)
        known.input_spec = spec.model_copy(update={"outputs": classifier.outputs})
        events.stage("replay", f"{len(saved.triggers)} saved triggers")
        triggers = replayed(classifier, pixels[_usable(images, saved)], saved.triggers, flagged=saved.flagged)
        classifier.verify()
    return triggers


def replayed(
    classifier: Classifier, images: torch.Tensor, triggers: Sequence[SavedTrigger], *, flagged: bool
) -> tuple[Replayed, ...]:
    """Count what triggers do on images of this model's size.

    Args:
        classifier: the model.
        images: clean images that no trigger was made from, [N, C, H, W] in [0, 1].
        triggers: the triggers.
        flagged: whether the earlier scan held them to be triggers.

    Raises:
        ReplayError: a trigger does not fit to the model's images or classes.
    """
    clean = classifier.predict(images)
    return tuple(_one(classifier, images, clean, trigger, flagged=flagged) for trigger in triggers)


def _one(
    classifier: Classifier, images: torch.Tensor, clean: torch.Tensor, saved: SavedTrigger, *, flagged: bool
) -> Replayed:
    import torch

    from smoothscan.spaces import SPACES
    from smoothscan.spaces.interface import Trigger

    space, t = SPACES[saved.space], saved.index
    if space.nothing(classifier.input_shape, 1.0).shape != saved.parameters.shape or t >= classifier.n_classes:
        raise ReplayError(
            f"The saved trigger for class {t} fits neither {classifier.n_classes} classes nor images of this size.",
            "Scan this version: smoothscan check.",
        )
    trigger = Trigger(space, torch.from_numpy(saved.parameters))
    chosen = torch.nonzero(clean != t if saved.source is None else clean == saved.source).flatten()
    parts = torch.split(chosen, classifier.batch_size) if len(chosen) else ()
    seen = torch.cat([clean[:0], *(classifier.predict(trigger.on(images[part])) for part in parts)])
    hits, n = int((seen == t).sum()), len(chosen)
    interval = binomial_interval(hits, n) if n else (0.0, 1.0)
    if not flagged:
        threshold, led_to = saved.interval[1], None
        outcome: Outcome = "undecided" if n < LEAST_IMAGES else "works" if interval[0] > threshold else "gone"
    else:
        threshold = KEPT * saved.rate
        led_to = None if interval[0] > threshold else _elsewhere(seen, clean[chosen], t, threshold)
        outcome = "works" if led_to is not None else _outcome(interval, threshold)
    return Replayed(
        index=t,
        label=saved.label,
        source=saved.source,
        space=saved.space,
        description=saved.description,
        earlier_rate=saved.rate,
        earlier_ci=saved.interval,
        hits=hits,
        n_images=n,
        rate=hits / n if n else 0.0,
        ci=interval,
        threshold=threshold,
        led_to=led_to,
        outcome=outcome,
    )


def _outcome(interval: tuple[float, float], threshold: float) -> Outcome:
    if interval[0] > threshold:
        return "works"
    return "gone" if interval[1] < threshold else "undecided"


def _elsewhere(seen: torch.Tensor, clean: torch.Tensor, target: int, threshold: float) -> int | None:
    """Return another class to which a trigger now leads: versions may number their classes differently."""
    moved = seen[(seen != clean) & (seen != target)]
    if not len(moved):
        return None
    other = int(moved.mode().values)
    interval = binomial_interval(int((moved == other).sum()), int((clean != other).sum()))
    return other if interval[0] > threshold else None


def _overall(triggers: Sequence[Replayed], saved: Saved, ending: SmoothscanError | None) -> Outcome | None:
    if ending is not None:
        return "undecided" if isinstance(ending, InconclusiveError) else None
    outcomes = {trigger.outcome for trigger in triggers}
    if "works" in outcomes:
        return "works"
    return "undecided" if "undecided" in outcomes or saved.missing else "gone"


def _usable(images: ImageSet, saved: Saved) -> list[int]:
    """Return the positions of the images that no trigger was made from."""
    used = {name for trigger in saved.triggers for name in trigger.made_from}
    return [position for position, name in enumerate(images.names) if name not in used]


def _same_size(saved: Saved, spec: InputSpec) -> None:
    """Refuse a model of other images before it is loaded."""
    before = saved.result.input_spec
    if before is None:
        return
    there, here = ((one.channels, one.height, one.width) for one in (before, spec))
    if there != here:
        raise ReplayError(
            "The triggers were found on images of {}x{}x{}, and this version takes {}x{}x{}.".format(*there, *here),
            "They cannot be put on its images. Scan this version: smoothscan check.",
        )
