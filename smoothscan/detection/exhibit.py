"""Chooses the pictures that a reader needs to believe the verdict, or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from smoothscan.classifier.interface import Classifier
from smoothscan.detection.examination import Examination
from smoothscan.detection.pairs import PairSearch
from smoothscan.detection.subjects import Subjects
from smoothscan.exhibits import ClassExhibit, Exhibits, HeldOutExample
from smoothscan.result import PairsResult
from smoothscan.spaces.interface import Trigger

CLASSES = 100
"""Classes that there are pictures of at most, flagged ones apart: a thousand of 224x224 pixels fill a gigabyte."""
PAIRS = 6
"""Flagged pairs of source and target class that are shown; the most anomalous ones."""
EXAMPLES = 6
"""Held-out images shown for a class; the first ones in order, so that nothing is hand-picked."""


def exhibit(classifier: Classifier, found: Examination, names: Sequence[str]) -> Exhibits:
    """Return what was recovered for the most suspect classes, with held-out examples for those that decide.

    Args:
        classifier: the base classifier.
        found: what examining it gave.
        names: file names of the images, [N].
    """
    verdict, subjects = found.verdict, found.subjects
    highest = max(verdict.classes, key=lambda c: c.score).index
    shown = {*verdict.target_classes, highest}
    held_out = subjects.held_out
    gallery = _Gallery(classifier, subjects, names)
    ranked = sorted(verdict.classes, key=lambda c: (not c.flagged, -c.score))
    most = max(CLASSES, len(verdict.target_classes))
    classes = {
        t: gallery.of(
            found.search.triggers[t, verdict.reported],
            t,
            subjects.sources(t),
            held_out[subjects.clean[held_out] != t] if t in shown else held_out[:0],
        )
        for t in sorted(c.index for c in ranked[:most])
    }
    return Exhibits(classes, {} if found.pairs is None else _pairs(gallery, found.pairs, verdict.pairs))


def _pairs(gallery: _Gallery, search: PairSearch, result: PairsResult | None) -> dict[tuple[int, int], ClassExhibit]:
    exhibits = {}
    for pair in result.flagged[:PAIRS] if result else ():
        row = search.counts.sources.tolist().index(pair.source)
        size = search.counts.epsilons.tolist().index(pair.epsilon)
        exhibits[pair.source, pair.target] = gallery.of(
            search.triggers[row, pair.target, size],
            pair.target,
            search.synthesis[row],
            torch.tensor(search.held_out[row]),
        )
    return exhibits


@dataclass(frozen=True)
class _Gallery:
    """Makes the pictures of one trigger at a time."""

    classifier: Classifier
    subjects: Subjects
    names: Sequence[str]

    def of(self, trigger: Trigger, target: int, sources: Sequence[int], held_out: Tensor) -> ClassExhibit:
        """Return the pictures of a trigger on the first of the images that it was made from, and of held-out ones."""
        source = sources[0]
        image, space = self.subjects.images[source], trigger.space
        perturbed = trigger.on(image[None])
        picture = space.picture(trigger.parameters, self.classifier.input_shape)
        added = space.name == "l2"
        return ClassExhibit(
            index=target,
            perturbation=(trigger.parameters if added else perturbed[0] - image).numpy(),
            picture=None if picture is None else picture.numpy(),
            description=space.described(trigger.parameters, self.classifier.input_shape),
            synthesis_image=image.numpy(),
            synthesis_name=self.names[source],
            synthesis_prediction=int(self.subjects.clean[source]),
            perturbed_prediction=int(self.classifier.predict(perturbed)[0]),
            made_from=tuple(self.names[i] for i in sources),
            parameters=None if added else trigger.parameters.numpy(),
            examples=_examples(self.classifier, self.subjects, trigger, held_out[:EXAMPLES], self.names),
        )


def _examples(
    classifier: Classifier, subjects: Subjects, trigger: Trigger, positions: Tensor, names: Sequence[str]
) -> tuple[HeldOutExample, ...]:
    if not len(positions):
        return ()
    perturbed = trigger.on(subjects.images[positions])
    predictions = classifier.predict(perturbed)
    return tuple(
        HeldOutExample(names[i], subjects.images[i].numpy(), after.numpy(), int(subjects.clean[i]), int(prediction))
        for i, after, prediction in zip(positions.tolist(), torch.unbind(perturbed), predictions, strict=True)
    )
