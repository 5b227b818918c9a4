"""Arrays to pictures: perturbations around mid-grey, PNG and JPEG bytes, data URIs."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from smoothscan.exhibits import ClassExhibit, Image

SMALL = 96
"""Longest side, in pixels, up to which a picture is shown pixel by pixel and stored without loss."""


def amplification(perturbation: NDArray[np.float32]) -> float:
    """Return the factor that stretches a perturbation to the full range around mid-grey; 1 for none at all."""
    largest = float(np.max(np.abs(np.nan_to_num(perturbation)), initial=0.0))
    return 0.5 / largest if largest > 0 else 1.0


def amplified(perturbation: NDArray[np.float32]) -> Image:
    """Return a perturbation as an image: mid-grey is no change, black and white are its largest changes.

    Args:
        perturbation: delta, [C, H, W] in [-1, 1].

    Returns:
        [C, H, W] in [0, 1].
    """
    scaled: Image = (0.5 + amplification(perturbation) * np.nan_to_num(perturbation)).astype(np.float32)
    return scaled


def of_trigger(exhibit: ClassExhibit) -> Image:
    """Return the trigger by itself, [C, H, W] in [0, 1]; nothing of the user's image is in it."""
    return amplified(exhibit.perturbation) if exhibit.picture is None else exhibit.picture


def png(image: Image, at_least: int = 0) -> bytes:
    """Return an image as PNG.

    Args:
        image: [C, H, W] in [0, 1].
        at_least: the longer side in pixels that the picture has at least; whole-number enlargement without smoothing.

    Returns:
        The file.
    """
    picture = _picture(image)
    factor = -(-at_least // max(picture.size))
    if factor > 1:
        picture = picture.resize((picture.width * factor, picture.height * factor), Pillow.Resampling.NEAREST)
    return _encode(picture, "PNG", optimize=True)


def data_uri(image: Image, longest: int) -> str:
    """Return an image as a data URI, for a page that holds its own pictures.

    Small pictures are stored exactly, as PNG. Larger ones are photographs, for which JPEG takes a tenth of the space.

    Args:
        image: [C, H, W] in [0, 1].
        longest: longer side in pixels that the picture may have; larger ones are reduced.

    Returns:
        `data:image/png;base64,...` or `data:image/jpeg;base64,...`.
    """
    picture = _picture(image)
    if max(picture.size) <= SMALL:
        return _uri("image/png", _encode(picture, "PNG", optimize=True))
    picture.thumbnail((longest, longest), Pillow.Resampling.LANCZOS)
    return _uri("image/jpeg", _encode(picture, "JPEG", quality=82, optimize=True))


def _picture(image: Image) -> Pillow.Image:
    pixels = np.rint(255 * np.clip(np.nan_to_num(image), 0, 1)).astype(np.uint8)
    if pixels.shape[0] == 3:
        return Pillow.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    # One channel is grey; of any other number no true picture can be made, but the grey mean shows where things are.
    return Pillow.fromarray(pixels.mean(axis=0).round().astype(np.uint8))


def _encode(picture: Pillow.Image, file_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, file_format, **options)
    return stream.getvalue()


def _uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"
