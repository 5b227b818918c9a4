"""From image files to bytes on disk."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smoothscan.errors import ImagesError, OutputError
from smoothscan.events import Silent
from smoothscan.sources.images import list_images
from smoothscan.training.images import choose, files_digest, load
from smoothscan.training.settings import Settings

from .conftest import Ready
from .pictures import draw


class Listener(Silent):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def stage(self, name: str, detail: str = "") -> None:
        self.heard.append(f"{name}: {detail}")

    def warning(self, message: str) -> None:
        self.heard.append(message)


@pytest.mark.parametrize(
    ("size", "chosen"),
    [
        ((32, 32), (32, 32)),
        ((28, 28), (28, 28)),
        ((30, 18), (28, 16)),
        ((224, 224), (64, 64)),
        ((300, 200), (96, 64)),
        ((6, 40), (8, 40)),
    ],
)
def test_the_size_is_that_of_the_images(tmp_path: Path, size: tuple[int, int], chosen: tuple[int, int]) -> None:
    paths = list_images(draw(tmp_path / "images", 3, *size))
    assert choose(paths, None, None) == (chosen, 3)
    assert choose(paths, (12, 8), 1) == ((12, 8), 1), "what the user wants"


def test_one_odd_image_does_not_decide_the_size(tmp_path: Path) -> None:
    folder = draw(tmp_path / "images", 5, 32, 32)
    draw(tmp_path / "odd", 1, 500, 500)
    (tmp_path / "odd" / "image_000.png").rename(folder / "a.png")
    (folder / "b.png").write_bytes(b"no image")
    assert choose(list_images(folder), None, None) == ((32, 32), 3)


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_grey_images_are_grey_however_they_are_stored(tmp_path: Path, kind: str) -> None:
    folder = draw(tmp_path / "images", 3, mode="L", kind=kind)
    with Image.open(folder / f"image_000.{kind}") as image:
        image.convert("RGB").save(folder / f"image_000.{kind}")
    assert choose(list_images(folder), None, None)[1] == 1
    with Image.open(draw(tmp_path / "colour", 1) / "image_000.png") as image:
        image.save(folder / "one_of_colour.png")
    assert choose(list_images(folder), None, None)[1] == 3


def test_images_that_cannot_be_read_choose_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(ImagesError, match="None of the images"):
        choose(list_images(tmp_path), None, None)


def test_pixels_are_those_of_the_files_in_their_order(ready: Ready, tmp_path: Path) -> None:
    _, images = ready(count=70)
    assert images.pixels.shape == (70, 3, 8, 8)
    for index, path in enumerate(list_images(tmp_path / "images")):
        with Image.open(path) as image:
            assert np.array_equal(images.pixels[index], np.asarray(image).transpose(2, 0, 1))


def test_a_tenth_is_held_out(ready: Ready) -> None:
    _, images = ready(count=75)
    assert len(images.held_out) == 7
    assert sorted([*images.training, *images.held_out]) == list(range(75))


def test_files_that_are_no_images_are_skipped_and_told(tmp_path: Path) -> None:
    folder = draw(tmp_path / "images", 70)
    (folder / "image_000.png").write_bytes(b"no image")
    (folder / "image_069.png").write_bytes((folder / "image_001.png").read_bytes()[:60])
    events = Listener()
    images = load(list_images(folder), Settings(8, 8, 3, 1, 0, "x"), tmp_path, events)
    assert len(images.pixels) == 68
    assert "2 of 70 images cannot be used: image_000.png: no readable image; image_069.png: " in events.heard[-1]


def test_images_are_decoded_once(tmp_path: Path) -> None:
    folder, settings = draw(tmp_path / "images", 70), Settings(8, 8, 3, 1, 0, "x")
    paths = list_images(folder)
    first = load(paths, settings, tmp_path, Silent())
    (folder / "image_000.png").unlink()
    events = Listener()
    again = load(paths, settings, tmp_path, events)
    assert events.heard == []
    assert again.digest == first.digest
    assert np.array_equal(first.pixels, again.pixels)
    other = load(paths[1:], Settings(8, 8, 1, 1, 0, "x"), tmp_path, events)
    assert other.pixels.shape == (69, 1, 8, 8), "another size or colour is another file"


def test_too_few_images(tmp_path: Path) -> None:
    paths = list_images(draw(tmp_path / "images", 63))
    with pytest.raises(ImagesError, match="Only 63 of 63 images can be used; a training needs at least 64"):
        load(paths, Settings(8, 8, 3, 1, 0, "x"), tmp_path, Silent())


def test_a_full_disk_is_a_clear_error(tmp_path: Path) -> None:
    paths = list_images(draw(tmp_path / "images", 70))
    (tmp_path / "images.bin").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left on device") as error:
        load(paths, Settings(32, 32, 3, 1, 0, "x"), tmp_path, Silent())
    assert "--output" in error.value.hint
    assert not (tmp_path / "images.json").exists()


def test_the_digest_of_files_covers_names_sizes_and_times(tmp_path: Path) -> None:
    folder = draw(tmp_path / "images", 3)
    digests = {files_digest(list_images(folder))}
    os.utime(folder / "image_000.png", ns=(1, 1))
    digests.add(files_digest(list_images(folder)))
    (folder / "image_001.png").rename(folder / "image_009.png")
    digests.add(files_digest(list_images(folder)))
    assert len(digests) == 3
    moved = folder.rename(tmp_path / "elsewhere")
    assert files_digest(list_images(moved)) in digests
