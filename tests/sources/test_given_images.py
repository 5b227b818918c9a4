"""Images that a program holds: what is taken, and what is wrong with what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from smoothscan.errors import ImagesError, UnsupportedModelError
from smoothscan.result import InputSpec
from smoothscan.sources.given_images import given_images
from smoothscan.sources.images import load_images

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (5, 3, 8, 6), np.uint8)
SPEC = InputSpec(channels=3, height=8, width=6)
LOTS = 2**29


def pictures() -> list[Image.Image]:
    return [Image.fromarray(image.transpose(1, 2, 0)) for image in BYTES]


@pytest.mark.parametrize(
    "same",
    [
        BYTES,
        BYTES.transpose(0, 2, 3, 1),
        BYTES / np.float32(255),
        torch.from_numpy(BYTES) / 255,
        (torch.from_numpy(BYTES) / 255).double().requires_grad_(True),
        list(BYTES),
        list(torch.from_numpy(BYTES)),
        pictures(),
    ],
    ids=["bytes", "channels last", "floats", "tensor", "double", "list", "list of tensors", "pictures"],
)
def test_the_same_images_in_every_form_are_the_same_pixels(same: Any) -> None:
    given = given_images(same)
    assert (len(given), given.shape) == (5, (3, 8, 6))
    loaded = given.load(SPEC, LOTS)
    assert loaded.names == tuple(f"image {i}" for i in range(5))
    assert loaded.pixels.dtype == np.float32
    np.testing.assert_allclose(loaded.pixels, BYTES / 255, atol=1e-6)


def test_what_is_loaded_is_a_copy() -> None:
    values = BYTES / np.float32(255)
    loaded = given_images(values).load(SPEC, LOTS)
    values[:] = 0
    assert loaded.pixels.any()


def test_arrays_are_resized_as_files_are(tmp_path: Path) -> None:
    for i, picture in enumerate(pictures()):
        picture.save(tmp_path / f"{i}.png")
    for how in ("crop", "stretch"):
        spec = SPEC.model_copy(update={"height": 16, "width": 16, "resize": how})
        files = load_images(sorted(tmp_path.iterdir()), spec).pixels
        np.testing.assert_allclose(given_images(BYTES).load(spec, LOTS).pixels, files, atol=1.5 / 255)
        np.testing.assert_array_equal(given_images(pictures()).load(spec, LOTS).pixels, files)
    with pytest.raises(ImagesError, match="6x8 pixels"):
        given_images(BYTES).load(spec.model_copy(update={"resize": "none"}), LOTS)


def test_grey_and_coloured_images_become_each_other() -> None:
    grey = SPEC.model_copy(update={"channels": 1})
    values = given_images(BYTES).load(grey, LOTS).pixels
    np.testing.assert_allclose(values, given_images(pictures()).load(grey, LOTS).pixels, atol=1 / 255)
    assert given_images(values).load(SPEC, LOTS).pixels.shape == (5, 3, 8, 6)
    with pytest.raises(UnsupportedModelError, match="4 channels"):
        given_images(BYTES).load(SPEC.model_copy(update={"channels": 4}), LOTS)


def test_of_too_many_every_nth_is_taken() -> None:
    many = np.zeros((1200, 1, 2, 2), np.uint8)
    loaded = given_images(many).load(InputSpec(channels=1, height=2, width=2), LOTS)
    assert (len(loaded.names), loaded.left_out) == (500, 700)
    assert loaded.names[:3] == ("image 0000", "image 0002", "image 0004")


def test_the_digest_is_of_every_pixel() -> None:
    for images in (BYTES, pictures()):
        first = given_images(images).digest
        assert first.startswith("sha256:")
        assert first == given_images(images.copy()).digest
        assert first != given_images(images[::-1]).digest
    other = BYTES.copy()
    other[3, 2, 1, 0] ^= 1
    assert given_images(other).digest != given_images(BYTES).digest


def test_a_broken_picture_is_skipped_and_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    pictures()[0].save(path)
    path.write_bytes(path.read_bytes()[:-30])
    floats = Image.fromarray(np.ones((8, 6), np.float32))
    loaded = given_images([pictures()[0], Image.open(path), floats]).load(SPEC, LOTS)
    assert loaded.names == ("image 0",)
    assert [line.partition(":")[0] for line in loaded.skipped] == ["image 1", "image 2"]
    with pytest.raises(ImagesError, match="None of 1 pictures"):
        given_images([floats]).load(SPEC, LOTS)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ([], "the list is empty"),
        (np.zeros((3, 8, 8)), r"the shape \[3, 8, 8\]"),
        (np.zeros((0, 3, 8, 8)), r"the shape \[0, 3, 8, 8\]"),
        (np.zeros((9, 8, 8, 4)), "Neither the second nor the last axis is 1 or 3"),
        (np.zeros((9, 3, 8, 3)), "Both the second and the last axis may be channels"),
        (np.zeros((9, 3, 8, 8), np.int64), "data type int64"),
        (np.full((9, 3, 8, 8), np.nan), "NaN"),
        (np.full((9, 3, 8, 8), 255.0), "reach from 255 to 255"),
        (np.full((9, 3, 8, 8), -2.0), "reach from -2 to -2"),
        ([np.zeros((3, 8, 8)), np.zeros((3, 9, 8))], "different sizes"),
        ([np.zeros((3, 8, 8)), Image.new("L", (8, 8))], "mixed"),
        (Image.new("L", (8, 8)), "a single picture"),
        (42, "are a int"),
        (iter([]), "are a list_iterator"),
    ],
)
def test_what_is_no_images_is_told(images: Any, says: str) -> None:
    with pytest.raises(ImagesError, match=says) as caught:
        given_images(images)
    assert caught.value.hint


def test_values_of_bytes_in_floats_are_recognised() -> None:
    with pytest.raises(ImagesError) as caught:
        given_images(BYTES.astype(np.float32))
    assert caught.value.hint == "Divide by 255, or convert to uint8."
