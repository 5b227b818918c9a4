from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smoothscan.errors import ImagesError, UnsupportedModelError
from smoothscan.result import InputSpec
from smoothscan.sources import images
from smoothscan.sources.images import images_digest, list_images, load_images


def spec(height: int = 32, width: int = 32, channels: int = 3, resize: str = "crop") -> InputSpec:
    return InputSpec(channels=channels, height=height, width=width, resize=resize)


def gradient(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 255 / width, y * 255 / height, 0 * x], axis=-1).astype(np.uint8))


def test_images_are_listed_by_ending_and_sorted(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpeg", "c.tif", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.jpeg", "b.PNG", "c.tif"]


def test_class_folders_are_searched_only_if_there_is_nothing_else(tmp_path: Path) -> None:
    for name in ("dog/1.png", "cat/2.png", "cat/deep/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        gradient(32, 32).save(tmp_path / name)
    paths = list_images(tmp_path)
    assert load_images(paths, spec()).names == ("cat/2.png", "cat/deep/3.png", "dog/1.png")
    gradient(32, 32).save(tmp_path / "top.png")
    assert [path.name for path in list_images(tmp_path)] == ["top.png"]


def test_a_folder_that_is_called_nearly_so_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "clean-images").mkdir()
    (tmp_path / "clean-image.png").touch()
    with pytest.raises(ImagesError) as caught:
        list_images(tmp_path / "cleen-images")
    assert caught.value.hint.startswith(f"Did you mean {tmp_path / 'clean-images'}? Pass a folder")


def test_what_lies_there_instead_of_images_is_named(tmp_path: Path) -> None:
    for name in ("a.npy", "b.npy", "c.NPY", "README", ".hidden"):
        (tmp_path / name).touch()
    with pytest.raises(ImagesError, match=r"no image files; its files: 3 with \.npy, 1 with no ending"):
        list_images(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"), [("nowhere", "does not exist"), ("file", "is a file"), ("empty", "no image")]
)
def test_folders_without_images(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImagesError, match=message) as caught:
        list_images(tmp_path / name)
    assert caught.value.exit_code == 2
    assert caught.value.hint


def test_an_image_of_the_right_size_keeps_its_pixels(image_folder: Path) -> None:
    paths = list_images(image_folder)
    loaded = load_images(paths, spec())
    assert loaded.pixels.shape == (12, 3, 32, 32)
    assert loaded.pixels.dtype == np.float32
    assert loaded.names == tuple(path.name for path in paths)
    expected = np.asarray(Image.open(paths[3])).transpose(2, 0, 1)
    assert np.array_equal(np.rint(loaded.pixels[3] * 255), expected)
    assert loaded.skipped == ()


def test_the_digest_covers_names_and_pixels_but_not_the_place(image_folder: Path, tmp_path: Path) -> None:
    first = images_digest(list_images(image_folder))
    copy = shutil.copytree(image_folder, tmp_path / "copy")
    assert images_digest(list_images(copy)) == first
    (copy / "image_00.png").rename(copy / "image_0.png")
    assert images_digest(list_images(copy)) != first
    (copy / "image_0.png").rename(copy / "image_00.png")
    pixels = np.asarray(Image.open(copy / "image_05.png")).copy()
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(copy / "image_05.png")
    assert images_digest(list_images(copy)) != first


def test_crop_follows_the_usual_recipe(tmp_path: Path) -> None:
    gradient(500, 375).save(tmp_path / "a.png")
    got = load_images([tmp_path / "a.png"], spec(224, 224)).pixels[0]
    # Shorter side to 256 = round(224 / 0.875), then the central 224: columns 58 to 281 of 341, rows 16 to 239.
    resized = gradient(500, 375).resize((341, 256), Image.Resampling.BILINEAR)
    expected = np.asarray(resized)[16:240, 58:282]
    assert np.array_equal(np.rint(got * 255), expected.transpose(2, 0, 1))


@pytest.mark.parametrize("size", [(500, 375), (100, 400), (20, 30), (32, 33)])
def test_crop_of_other_shapes_keeps_proportions(size: tuple[int, int], tmp_path: Path) -> None:
    gradient(*size).save(tmp_path / "a.png")
    got = load_images([tmp_path / "a.png"], spec(96, 48)).pixels[0]
    assert got.shape == (3, 96, 48)
    slope_x = (got[0, 48, 40] - got[0, 48, 8]) / 32 * size[0]
    slope_y = (got[1, 80, 24] - got[1, 16, 24]) / 64 * size[1]
    assert slope_x == pytest.approx(slope_y, rel=0.15)
    assert got[0].mean() == pytest.approx(0.5, abs=0.05)  # the middle is in the middle


def test_stretch_keeps_the_borders(tmp_path: Path) -> None:
    gradient(400, 100).save(tmp_path / "a.png")
    got = load_images([tmp_path / "a.png"], spec(32, 32, resize="stretch")).pixels[0]
    assert got[0, 16, 0] < 0.05 < 0.95 < got[0, 16, 31]
    assert got[1, 0, 16] < 0.05 < 0.95 < got[1, 31, 16]


def test_none_refuses_another_size_and_says_everything(image_folder: Path) -> None:
    gradient(40, 30).save(image_folder / "odd.png")
    with pytest.raises(ImagesError, match=r"odd\.png has 40x30 .* takes 32x32") as caught:
        load_images(list_images(image_folder), spec(resize="none"))
    assert "--resize crop" in caught.value.hint


def test_one_corrupt_image_is_named_and_skipped(image_folder: Path) -> None:
    (image_folder / "bad.png").write_bytes(b"no image")
    whole = (image_folder / "image_03.png").read_bytes()
    (image_folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    loaded = load_images(list_images(image_folder), spec())
    assert len(loaded.names) == 12
    assert [text.split(": ")[0] for text in loaded.skipped] == ["bad.png", "cut.png"]
    assert loaded.skipped[0] == "bad.png: no readable image"


def test_huge_images_are_skipped_without_decoding(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    for name, side in (("bomb.png", 60_000), ("large.png", 12_000)):
        header = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
        body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        (image_folder / name).write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    loaded = load_images(list_images(image_folder), spec())
    assert len(loaded.names) == 12
    assert [text.split(": ")[0] for text in loaded.skipped] == ["bomb.png", "large.png"]
    assert "12000x12000 pixels are more than" in loaded.skipped[1]


def test_a_hair_of_an_image_is_skipped(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 100_000)
    gradient(20_000, 2).save(image_folder / "hair.png")
    assert load_images(list_images(image_folder), spec()).skipped == ("hair.png: 20000x2 pixels are too narrow",)


def test_files_that_only_claim_to_be_images_are_not_decoded(image_folder: Path) -> None:
    gradient(32, 32).save(image_folder / "x.eps")
    (image_folder / "x.eps").rename(image_folder / "x.png")
    assert load_images(list_images(image_folder), spec()).skipped == ("x.png: no readable image",)


def test_no_usable_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ImagesError, match=r"None of 1 images can be used: a\.png"):
        load_images(list_images(tmp_path), spec())


def test_the_orientation_of_cameras_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate clockwise by 90 degrees to see it upright
    gradient(32, 32).save(tmp_path / "a.png", exif=exif)
    turned = load_images([tmp_path / "a.png"], spec()).pixels[0]
    assert turned[1, 16, 0] > 0.9 > 0.1 > turned[1, 16, 31]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "CMYK", "LA", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_modes_become_grey_or_rgb(mode: str, channels: int, tmp_path: Path) -> None:
    grey = np.full((32, 32), 255, np.uint8)
    grey[:16] = 0
    if mode == "I;16":
        picture = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        picture = Image.fromarray(grey).convert("RGB").convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    picture.save(path)
    got = load_images([path], spec(channels=channels)).pixels[0]
    assert got.shape == (channels, 32, 32)
    assert np.allclose(got, np.broadcast_to(grey / 255, got.shape), atol=0.01)


def test_sixteen_bits_are_kept_through_resizing(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    got = load_images([tmp_path / "a.png"], spec(32, 32, channels=1, resize="stretch")).pixels[0, 0]
    assert got.min() >= 0
    assert got.max() <= 1
    assert np.unique(got).size > 900


def test_floating_point_images_are_skipped(image_folder: Path) -> None:
    Image.fromarray(np.zeros((32, 32), np.float32)).save(image_folder / "x.tif")
    assert "floating-point" in load_images(list_images(image_folder), spec()).skipped[0]


def test_other_channel_counts_are_unsupported(image_folder: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="4 channels"):
        load_images(list_images(image_folder), spec(channels=4))


def test_of_too_many_images_some_from_all_over_the_folder_are_taken(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = list_images(image_folder)
    monkeypatch.setattr(images, "MOST_IMAGES", 5)
    loaded = load_images(paths, spec())
    assert loaded.names == tuple(paths[i].name for i in (0, 2, 4, 7, 9))
    assert loaded.left_out == 7

    monkeypatch.setattr(images, "MOST_IMAGES", 500)
    monkeypatch.setattr(images, "LEAST_IMAGES", 3)
    room = 8 * 6 * 3 * 32 * 32 * 4  # for eight images, six arrays of each
    assert (len(load_images(paths, spec(), room).names), load_images(paths, spec(), room).left_out) == (8, 4)
    assert len(load_images(paths, spec(), 0).names) == 3
    assert load_images(paths, spec()).left_out == 0
