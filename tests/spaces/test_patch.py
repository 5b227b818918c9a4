import pytest
import torch

from smoothscan.config import PROFILES
from smoothscan.smoothing.noise import KeyedNoise
from smoothscan.spaces.patch import Patch

SPACE = Patch()


def at(top, left, side, size=32):
    parameters = torch.rand(4, size, size, generator=torch.Generator().manual_seed(0))
    parameters[-1] = 0
    parameters[-1, top : top + side, left : left + side] = 1
    return parameters


def test_pixels_under_the_patch_are_replaced_and_others_are_not():
    image, patch = torch.rand(3, 32, 32), at(5, 7, 4)
    after = SPACE.apply(image[None, None], patch[None, None])[0, 0]
    changed = (after != image).any(0)
    assert changed.nonzero().min(0).values.tolist() == [5, 7]
    assert changed.nonzero().max(0).values.tolist() == [8, 10]
    assert torch.equal(after[:, 5:9, 7:11], patch[:3, 5:9, 7:11])


def test_budgets_are_areas_that_grow_with_the_image():
    small = SPACE.ladder(PROFILES["standard"], (3, 32, 32)).epsilons
    assert small == (4.0, 9.0, 16.0, 25.0, 36.0)
    assert SPACE.ladder(PROFILES["standard"], (3, 224, 256)).epsilons == tuple(49 * e for e in small)


def test_open_patches_are_drawn_wholly_inside_the_image():
    start = SPACE.nothing((3, 32, 20), 25.0)[None]
    drawn = SPACE.scattered(start, torch.tensor([3]), 7, 50, KeyedNoise(0, (3, 32, 20)))[0]
    for one in drawn:
        rows, columns = one[-1].any(1).nonzero().flatten(), one[-1].any(0).nonzero().flatten()
        assert (len(rows), len(columns)) == (5, 5)
        assert rows[-1] - rows[0] == columns[-1] - columns[0] == 4  # not torn apart at an edge
    assert len({tuple(one[-1].nonzero()[0].tolist()) for one in drawn}) > 20


@pytest.mark.parametrize(("side", "size"), [(6, 32), (5, 33), (1, 4), (4, 4)])
def test_the_places_to_settle_at_cover_the_image(side, size):
    start = SPACE.nothing((3, size, size), float(side * side))[None]
    places = torch.cat(list(SPACE.candidates(start, float(side * side), settled=False)))
    assert places[:, -1].sum((1, 2)).tolist() == [side * side] * len(places)
    assert (places[:, -1].sum(0) > 0).all()


def test_a_smaller_patch_is_a_part_of_the_larger_one():
    parts = torch.cat(list(SPACE.candidates(at(3, 20, 6)[None], 16.0, settled=True)))
    assert len(parts) == 9
    assert len({tuple(part[-1].nonzero()[0].tolist()) for part in parts}) == 9
    for part in parts:
        assert part[-1].sum() == 16
        assert (at(3, 20, 6)[-1] >= part[-1]).all()


def test_it_tells_its_size_and_place():
    assert SPACE.described(at(5, 7, 4), (3, 32, 32)) == "4 by 4 pixels at row 5, column 7"
