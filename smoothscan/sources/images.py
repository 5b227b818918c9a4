"""From image files to pixels of the model's size, in [0, 1]. Labels are not needed."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from smoothscan.errors import ImagesError, UnsupportedModelError
from smoothscan.result import InputSpec
from smoothscan.suggestions import close_to

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif"})
MAX_PIXELS = 100_000_000
"""Largest image that is decoded, in pixels."""
MOST_IMAGES = 500
"""Most images of a scan: 95 % intervals are at most 9 points wide, and tests take two thirds of a search's time."""
LEAST_IMAGES = 64
"""Images that are read even if memory is short."""
_MOST_LOOKED_AT = 10_000
"""Most entries of a folder that are looked at for the sake of a message."""
_COPIES = 6
"""Arrays of the size of all images that a scan has at once: the images, held-out ones, noise, and steps between."""
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF")
_CROP_FRACTION = 0.875
"""Share of the resized image that the centre crop keeps (224 of 256, as the evaluation of ImageNet models does)."""


@dataclass(frozen=True)
class ImageSet:
    """The usable images of a folder."""

    names: tuple[str, ...]
    """File names relative to the folder, sorted; one for each image."""
    pixels: NDArray[np.float32]
    """[N, C, H, W] in [0, 1]."""
    skipped: tuple[str, ...]
    """`name: reason` of each file that could not be used."""
    left_out: int
    """Further files that were not looked at."""


class Images(Protocol):
    """Clean images, wherever they are."""

    @property
    def digest(self) -> str:
        """`sha256:<hex>` over the images, whatever a model would make of them."""

    def load(self, spec: InputSpec, memory_bytes: int) -> ImageSet:
        """Bring them to a model's size; see `load_images`."""


class ImageFolder:
    """The image files of a folder.

    Args:
        folder: the folder.

    Raises:
        ImagesError: see `list_images`.
    """

    def __init__(self, folder: Path) -> None:
        self.paths = list_images(folder)

    @cached_property
    def digest(self) -> str:
        """See `images_digest`."""
        return images_digest(self.paths)

    def load(self, spec: InputSpec, memory_bytes: int) -> ImageSet:
        """See `load_images`."""
        return load_images(self.paths, spec, memory_bytes)


def list_images(folder: Path) -> tuple[Path, ...]:
    """Return the image files of a folder by their endings, sorted by name.

    A folder that has only sub-folders (one for each class, as in ImageFolder data sets) is searched through.

    Raises:
        ImagesError: the folder does not exist, is no folder, can not be read or has no image files.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise ImagesError(f"The image folder {folder} {what}.", _meant(folder))
    try:
        found = sorted(_image_files(folder)) or sorted(path for sub in folder.iterdir() for path in _tree(sub))
    except OSError as error:
        raise ImagesError(f"The image folder {folder} can not be read: {error.strerror}.") from error
    if not found:
        raise ImagesError(
            f"The image folder {folder} has no image files{_instead(folder)}.",
            f"Files are recognised by their endings: {', '.join(sorted(SUFFIXES))}.",
        )
    return tuple(found)


def _meant(folder: Path) -> str:
    """Return what to do about a folder that is none: take one beside it that is called nearly so, if there is one."""
    try:
        beside = [each.name for each in islice(folder.absolute().parent.iterdir(), _MOST_LOOKED_AT) if each.is_dir()]
    except OSError:
        beside = []
    found = close_to(folder.name, beside)
    question = "" if found is None else f"Did you mean {folder.parent / found}? "
    return f"{question}Pass a folder of clean images with --images."


def _instead(folder: Path) -> str:
    """Return in words what lies in a folder without images; empty if nothing does."""
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    endings = Counter(path.suffix.lower() or "no ending" for path in islice(files, _MOST_LOOKED_AT))
    found = ", ".join(f"{n:,} with {ending}" for ending, n in endings.most_common(3))
    return f"; its files: {found}" if found else ""


def _image_files(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]


def _tree(folder: Path) -> list[Path]:
    if not folder.is_dir() or folder.name.startswith("."):
        return []
    below = [Path(parent) for parent, _, _ in os.walk(folder)]
    return [path for parent in below for path in _image_files(parent)]


def images_digest(paths: Sequence[Path]) -> str:
    """Return `sha256:<hex>` over the names and bytes of image files, whatever a model would make of them.

    Args:
        paths: image files, as `list_images` returns them.
    """
    root, sha = _root(paths), hashlib.sha256()
    for path in sorted(paths):
        sha.update(path.relative_to(root).as_posix().encode("utf-8", "surrogateescape") + b"\0")
        try:
            with path.open("rb") as file:
                sha.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:  # the scan will skip it and say so
            sha.update(f"unreadable: {error.errno}".encode())
    return "sha256:" + sha.hexdigest()


def load_images(paths: Sequence[Path], spec: InputSpec, memory_bytes: int = 2**29) -> ImageSet:
    """Decode images and bring them to the model's size.

    Of more images than fit, or than make a difference, every n-th is taken.

    Orientation marks of cameras are applied; of an animation the first frame is taken; transparency is dropped. A
    file that can not be used is skipped with its reason.

    Args:
        paths: image files, as `list_images` returns them.
        spec: size, channels and way of resizing. Normalisation is not applied: pixels stay in [0, 1].
        memory_bytes: memory that all images may take while they are worked on.

    Raises:
        ImagesError: no image can be used, or one has another size and `spec.resize` is `none`.
        UnsupportedModelError: the model takes neither grey nor RGB images.
    """
    positions = chosen(len(paths), spec, memory_bytes)
    root = _root(paths)
    pixels: dict[str, NDArray[np.float32]] = {}
    skipped = []
    ordered = sorted(paths)
    for path in (ordered[i] for i in positions):
        name = path.relative_to(root).as_posix()
        try:
            pixels[name] = load_pixels(path, name, spec)
        except UnusableImageError as error:
            skipped.append(f"{name}: {error}")
    if not pixels:
        shown = "; ".join(skipped[:3]) + ("; ..." if len(skipped) > 3 else "")
        raise ImagesError(f"None of {len(paths)} images can be used: {shown}.", "Pass clean images with --images.")
    names = tuple(sorted(pixels))
    stacked = np.stack([pixels[name] for name in names])
    return ImageSet(names, stacked, tuple(skipped), len(paths) - len(positions))


def chosen(count: int, spec: InputSpec, memory_bytes: int) -> list[int]:
    """Return the positions of the images that a scan looks at; of too many every n-th.

    Args:
        count: how many there are.
        spec: their size and channels.
        memory_bytes: memory that all of them may take while they are worked on.

    Raises:
        UnsupportedModelError: the model takes neither grey nor RGB images.
    """
    if spec.channels not in (1, 3):
        raise UnsupportedModelError(f"The model takes {spec.channels} channels; images have 1 (grey) or 3 (RGB).")
    each = spec.channels * spec.height * spec.width * np.dtype(np.float32).itemsize
    most = min(max(memory_bytes // (_COPIES * each), LEAST_IMAGES), MOST_IMAGES, count)
    return [i * count // most for i in range(most)]


class UnusableImageError(Exception):
    """A file is no image, or one that can not be used; in words why."""


@contextmanager
def _told() -> Iterator[None]:
    """Turn whatever a decoder raises on a broken file into one kind of error."""
    try:
        yield
    except (ImagesError, UnusableImageError):
        raise
    except UnidentifiedImageError as error:
        raise UnusableImageError("no readable image") from error
    except Exception as error:  # decoders raise all sorts of errors on broken files
        raise UnusableImageError(_reason(error)) from error


def look(path: Path) -> tuple[int, int, bool]:
    """Return height and width in pixels of an image as it is, and whether it is grey, in whichever way it is stored.

    Raises:
        UnusableImageError: it can not be decoded.
    """
    with _told():
        image = _decoded(path, 3)
        grey = image.mode == "F" or not np.ptp(np.asarray(image), axis=2).any()
        return image.height, image.width, bool(grey)


def load_pixels(path: Path, name: str, spec: InputSpec) -> NDArray[np.float32]:
    """Decode one image and bring it to a size.

    Args:
        path: the file.
        name: what messages call it.
        spec: size, channels and way of resizing.

    Returns:
        [C, H, W] in [0, 1].

    Raises:
        UnusableImageError: it can not be decoded.
        ImagesError: it has another size and `spec.resize` is `none`.
    """
    with _told():
        return _pixels(path, name, spec)


def _decoded(path: Path, channels: int) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # notes on odd metadata, and on sizes that are judged here
        with Image.open(path, formats=_FORMATS) as file:
            if file.width * file.height > MAX_PIXELS:
                raise UnusableImageError(f"{file.width}x{file.height} pixels are more than {MAX_PIXELS}")
            file.load()
            return plain(file, channels)


def _pixels(path: Path, name: str, spec: InputSpec) -> NDArray[np.float32]:
    return fitted(_decoded(path, spec.channels), name, spec)


def fitted(image: Image.Image, name: str, spec: InputSpec) -> NDArray[np.float32]:
    """Bring an image of mode L or RGB with values 0 to 255, or of mode F with values 0 to 1, to a size.

    Returns:
        [C, H, W] in [0, 1].

    Raises:
        ImagesError: it has another size and `spec.resize` is `none`.
        UnusableImageError: it can not be brought to that size.
    """
    if spec.resize == "none" and image.size != (spec.width, spec.height):
        raise ImagesError(
            f"The image {name} has {image.width}x{image.height} pixels (width x height), "
            f"the model takes {spec.width}x{spec.height}.",
            "Pass images of the model's size, or --resize crop or --resize stretch.",
        )
    values = np.asarray(_fit(image, spec.height, spec.width, spec.resize), dtype=np.float32)
    if image.mode != "F":
        values /= 255
    if values.ndim == 2:
        return np.repeat(values[None], spec.channels, axis=0)
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def plain(image: Image.Image, channels: int) -> Image.Image:
    """Return an image of mode L or RGB with values 0 to 255, or, from 16 bits, of mode F with values 0 to 1.

    Raises:
        UnusableImageError: the range of its values is not known.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise UnusableImageError("pixels are floating-point numbers of unknown range")
    if image.mode.startswith("I"):
        values = np.asarray(image, dtype=np.float32)
        if values.min() < 0 or values.max() > 65535:
            raise UnusableImageError("pixels have more than 16 bits")
        return Image.fromarray(values / 65535)
    return image.convert("L" if channels == 1 else "RGB")


def _fit(image: Image.Image, height: int, width: int, how: str) -> Image.Image:
    """Bring an image to a size; bilinear with antialiasing, as torchvision does it."""
    if image.size == (width, height):
        return image
    if how == "stretch":
        return image.resize((width, height), Image.Resampling.BILINEAR)
    cover_height, cover_width = round(height / _CROP_FRACTION), round(width / _CROP_FRACTION)
    if cover_height * image.width >= cover_width * image.height:  # the height decides
        size = (cover_height * image.width // image.height, cover_height)
    else:
        size = (cover_width, cover_width * image.height // image.width)
    if size[0] * size[1] > MAX_PIXELS:
        raise UnusableImageError(f"{image.width}x{image.height} pixels are too narrow")
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    return image.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + width, top + height))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)[:200] or type(error).__name__


def _root(paths: Sequence[Path]) -> Path:
    """Return the folder that names of images are relative to."""
    return Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
