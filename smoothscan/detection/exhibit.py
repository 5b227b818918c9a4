"""Chooses the pictures that a reader needs to believe the verdict, or not."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from smoothscan.classifier.interface import Classifier
from smoothscan.detection.examination import Examination
from smoothscan.detection.subjects import Subjects
from smoothscan.exhibits import ClassExhibit, Exhibits, HeldOutExample
from smoothscan.spaces.interface import Trigger

EXAMPLES = 6
"""Held-out images shown for a class; the first ones in order, so that nothing is hand-picked."""


def exhibit(classifier: Classifier, found: Examination, names: Sequence[str]) -> Exhibits:
    """Return what was recovered for every class, with held-out examples for those that decide the verdict.

    Args:
        classifier: the base classifier.
        found: what examining it gave.
        names: file names of the images, [N].
    """
    verdict, subjects = found.verdict, found.subjects
    highest = max(verdict.classes, key=lambda c: c.score).index
    shown = {*verdict.target_classes, highest}
    exhibits = {}
    for t in range(classifier.n_classes):
        trigger = found.search.triggers[t, verdict.reported]
        source = subjects.sources(t)[0]
        image = subjects.images[source]
        perturbed = trigger.on(image[None])
        picture = trigger.space.picture(trigger.parameters, classifier.input_shape)
        exhibits[t] = ClassExhibit(
            index=t,
            perturbation=(trigger.parameters if trigger.space.name == "l2" else perturbed[0] - image).numpy(),
            picture=None if picture is None else picture.numpy(),
            description=trigger.space.described(trigger.parameters, classifier.input_shape),
            synthesis_image=image.numpy(),
            synthesis_name=names[source],
            synthesis_prediction=int(subjects.clean[source]),
            perturbed_prediction=int(classifier.predict(perturbed)[0]),
            examples=_examples(classifier, subjects, trigger, t, names) if t in shown else (),
        )
    return Exhibits(exhibits)


def _examples(
    classifier: Classifier, subjects: Subjects, trigger: Trigger, target: int, names: Sequence[str]
) -> tuple[HeldOutExample, ...]:
    held_out = subjects.held_out
    positions = held_out[subjects.clean[held_out] != target][:EXAMPLES]
    perturbed = trigger.on(subjects.images[positions])
    predictions = classifier.predict(perturbed)
    return tuple(
        HeldOutExample(names[i], subjects.images[i].numpy(), after.numpy(), int(subjects.clean[i]), int(prediction))
        for i, after, prediction in zip(positions.tolist(), torch.unbind(perturbed), predictions, strict=True)
    )
