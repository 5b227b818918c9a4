"""What has to be settled before anything is searched: trigger spaces, and which image plays which part."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from smoothscan.classifier.interface import Classifier
from smoothscan.config import IN_FULL, ScanConfig
from smoothscan.detection.probe import check_enough, synthesis_images
from smoothscan.detection.screening import LEAST, screening_images
from smoothscan.detection.subjects import Subjects
from smoothscan.errors import ConfigError
from smoothscan.smoothing.noise import KeyedNoise
from smoothscan.spaces import applicable
from smoothscan.spaces.interface import Space


@dataclass(frozen=True)
class Prepared:
    """What the searches of one scan have in common."""

    spaces: tuple[Space, ...]
    """Trigger spaces that images of this shape can have triggers of; at least one."""
    noise: KeyedNoise
    """Source of all noise."""
    subjects: Subjects
    """The images, by their part in it."""

    @property
    def screened(self) -> bool:
        """Whether the classes are too many to search each of them in full."""
        return bool(self.subjects.screening)


def prepare(classifier: Classifier, pixels: Tensor, config: ScanConfig) -> Prepared:
    """Settle what is searched, and on which images.

    Args:
        classifier: the base classifier.
        pixels: clean images, [N, C, H, W] in [0, 1].
        config: profile, spaces, pairs, seed and number of synthesis images.

    Raises:
        TooFewImagesError: the images do not support a statistic.
        ConfigError: nothing, or not what was asked for, can be searched for in such a model.
    """
    profile, k = config.search(), classifier.n_classes
    spaces = applicable(profile.spaces, classifier.input_shape)
    if not spaces:
        raise ConfigError("Grey images have no colours to search for a filter.", "Choose other spaces with --spaces.")
    if config.pairs and k > IN_FULL:
        raise ConfigError(
            f"Pairs of classes are searched in models with up to {IN_FULL} classes; this one has {k}.",
            "Leave out --pairs.",
        )
    noise, clean = KeyedNoise(config.seed, classifier.input_shape), classifier.predict(pixels)
    many = k > IN_FULL and not profile.exhaustive
    check_enough(clean, k, config.synthesis_images, LEAST if many else 0)
    chosen = synthesis_images(classifier, pixels, clean, noise, config.synthesis_images)
    screening = screening_images(len(pixels), chosen) if many else ((), ())
    return Prepared(tuple(spaces), noise, Subjects(pixels, clean, chosen, config.synthesis_images, *screening))
