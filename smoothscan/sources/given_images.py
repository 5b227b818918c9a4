"""Images that a Python program holds in memory: an array or tensor of all of them, or pictures of Pillow."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smoothscan.errors import ImagesError
from smoothscan.result import InputSpec
from smoothscan.sources.images import ImageSet, UnusableImageError, chosen, fitted, plain

_ROOM = 1e-5
"""How far rounding may take a value out of [0, 1]."""
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in grey, as Pillow has them."""
_WANTED = (
    "Pass a folder, an array or tensor [N, C, H, W] in [0, 1] (or of uint8), or a list of Pillow's pictures; not "
    "normalised, for what the model takes is stated apart (value_range, mean, std)."
)


def given_images(images: Any) -> GivenArray | GivenPictures:
    """Take images that are in memory.

    Args:
        images: numpy array or torch tensor, [N, C, H, W] or [N, H, W, C], floating-point in [0, 1] or uint8; or a
            sequence of Pillow's pictures, or of arrays [C, H, W].

    Raises:
        ImagesError: it is something else; the message says what is wrong with it.
    """
    if isinstance(images, (list, tuple)):
        if not images:
            raise ImagesError("There are no images: the list is empty.", _WANTED)
        if all(isinstance(image, Image.Image) for image in images):
            return GivenPictures(images)
        arrays = [_array(image) for image in images]
        if len({array.shape for array in arrays}) > 1:
            raise ImagesError("The images of the list have different sizes.", "Pass them as Pillow's pictures instead.")
        return GivenArray(np.stack(arrays))
    return GivenArray(_array(images))


class GivenArray:
    """Images in one array.

    Args:
        array: [N, C, H, W] or [N, H, W, C], in [0, 1] or of uint8.

    Raises:
        ImagesError: it is no such array.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        if array.ndim != 4 or not array.size:
            raise ImagesError(f"The images have the shape {list(array.shape)}, not [N, C, H, W].", _WANTED)
        first, last = array.shape[1] in (1, 3), array.shape[3] in (1, 3)
        if first == last:
            what = "may be channels" if first else "is 1 or 3, the number of channels"
            which = "Both the second and the last axis" if first else "Neither the second nor the last axis"
            raise ImagesError(f"The images have the shape {list(array.shape)}. {which} {what}.", _WANTED)
        self.array = array if first else array.transpose(0, 3, 1, 2)
        _check_values(array)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        return self.array.shape[1:]

    def __len__(self) -> int:
        return len(self.array)

    @property
    def digest(self) -> str:
        """`sha256:<hex>` over shape, data type and values."""
        sha = hashlib.sha256(f"{self.array.dtype.str} {self.array.shape}\0".encode())
        sha.update(np.ascontiguousarray(self.array).data)
        return "sha256:" + sha.hexdigest()

    def load(self, spec: InputSpec, memory_bytes: int) -> ImageSet:
        """See `load_images`; here values are floating-point numbers throughout."""
        positions = chosen(len(self), spec, memory_bytes)
        values = self.array[positions].astype(np.float32)  # a copy, whatever becomes of the caller's
        if self.array.dtype == np.uint8:
            values /= 255
        values = _with_channels(values.clip(0, 1), spec.channels)
        names = _names(len(self))
        if values.shape[1:] != (spec.channels, spec.height, spec.width):
            values = np.stack([_resized(image, names[i], spec) for i, image in zip(positions, values, strict=True)])
        return ImageSet(tuple(names[i] for i in positions), values, (), len(self) - len(positions))


class GivenPictures:
    """Pictures of Pillow.

    Args:
        pictures: at least one.
    """

    def __init__(self, pictures: Sequence[Image.Image]) -> None:
        self.pictures = pictures

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Channels, height and width where all are alike, else None."""
        sizes = {(1 if p.mode in ("1", "L", "LA", "I", "I;16", "F") else 3, p.height, p.width) for p in self.pictures}
        return sizes.pop() if len(sizes) == 1 else None

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def digest(self) -> str:
        """`sha256:<hex>` over modes, sizes and values."""
        sha = hashlib.sha256()
        for picture in self.pictures:
            sha.update(f"{picture.mode} {picture.size}\0".encode() + picture.tobytes())
        return "sha256:" + sha.hexdigest()

    def load(self, spec: InputSpec, memory_bytes: int) -> ImageSet:
        """See `load_images`."""
        positions, names = chosen(len(self), spec, memory_bytes), _names(len(self))
        pixels, skipped = {}, []
        for i in positions:
            try:
                values = fitted(plain(self.pictures[i], spec.channels), names[i], spec)
            except (UnusableImageError, OSError, ValueError) as error:  # a file that is broken is read only now
                skipped.append(f"{names[i]}: {error}")
            else:
                pixels[names[i]] = values
        if not pixels:
            raise ImagesError(f"None of {len(self)} pictures can be used: {'; '.join(skipped[:3])}.", _WANTED)
        return ImageSet(tuple(pixels), np.stack(list(pixels.values())), tuple(skipped), len(self) - len(positions))


def _array(images: Any) -> NDArray[Any]:
    """Return an array or tensor as an array; torch is not imported for it."""
    if isinstance(images, Image.Image):
        raise ImagesError("Arrays and pictures are mixed, or there is a single picture.", _WANTED)
    if hasattr(images, "detach"):
        images = images.detach().cpu()
        images = images.float() if images.is_floating_point() else images
    if not hasattr(images, "__array__"):
        raise ImagesError(f"The images are a {type(images).__name__}.", _WANTED)
    return np.asarray(images)


def _check_values(array: NDArray[Any]) -> None:
    if array.dtype == np.uint8:
        return
    if array.dtype.kind != "f":
        raise ImagesError(f"The images are of the data type {array.dtype}.", _WANTED)
    if not np.isfinite(array).all():
        raise ImagesError("Some of the images have values that are NaN or infinite.", _WANTED)
    low, high = float(array.min()), float(array.max())
    if low < -_ROOM or high > 1 + _ROOM:
        raise ImagesError(
            f"The values of the images reach from {low:.3g} to {high:.3g}, not from 0 to 1.",
            "Divide by 255, or convert to uint8." if low >= 0 and high <= 255 else _WANTED,
        )


def _with_channels(values: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    if values.shape[1] == channels:
        return values
    if channels == 3:
        return np.repeat(values, 3, axis=1)
    grey: NDArray[np.float32] = np.einsum("nchw,c->nhw", values, _GREY)[:, None]
    return grey


def _resized(image: NDArray[np.float32], name: str, spec: InputSpec) -> NDArray[np.float32]:
    one = spec.model_copy(update={"channels": 1})
    return np.concatenate([fitted(Image.fromarray(channel), name, one) for channel in image]).clip(0, 1)


def _names(count: int) -> list[str]:
    return [f"image {i:0{len(str(count - 1))}}" for i in range(count)]
