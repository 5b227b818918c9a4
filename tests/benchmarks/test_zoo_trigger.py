import pytest
import torch
from zoo_trigger import best_shift, cosine, iou, stamp


def trigger():
    true = torch.zeros(3, 16, 16)
    true[:, 4:7, 9:12] = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(0))
    return true


def test_the_best_shift_brings_a_moved_trigger_back():
    moved = trigger().roll((5, -3), (1, 2))
    shift, back = best_shift(moved, trigger())
    assert shift == (11, 3)
    assert cosine(back, trigger()) == pytest.approx(1.0, abs=1e-5)
    assert iou(back, trigger()) == 1.0
    assert cosine(moved, trigger()) < 0.5


def test_overlap_of_half_the_pixels_is_a_third():
    true = torch.zeros(1, 8, 8)
    true[0, 0, :4] = 1
    assert iou(true.roll(2, 2), true) == pytest.approx(2 / 6)


def test_stamps_are_those_of_the_zoo():
    images = torch.full((2, 1, 4, 4), 0.5)
    half = torch.full((1, 4, 4), 0.5)
    assert stamp(images, "blend", {"mask": half, "pattern": torch.ones(1, 4, 4)}).unique().tolist() == [0.75]
    assert stamp(images, "add", {"pattern": 2 * half}).unique().tolist() == [1.0]
    grid = torch.nn.functional.affine_grid(torch.eye(2, 3)[None], (1, 1, 4, 4), align_corners=True)[0]
    torch.testing.assert_close(stamp(images, "warp", {"grid": grid}), images)
    ones = torch.ones(1)
    tone = {"matrix": torch.eye(1), "bias": 0.25 * ones, "gamma": 2 * ones}
    assert stamp(images, "tone", tone).unique().tolist() == [0.5625]
    assert stamp(images / 2, "inverse", {"mask": torch.ones(1, 4, 4)}).unique().tolist() == [0.75]
    with pytest.raises(ValueError, match="unknown kind"):
        stamp(images, "smell", {})


def test_a_roaming_patch_is_whole_and_in_the_same_places_at_every_call():
    patch = torch.arange(1.0, 13).reshape(3, 2, 2) / 12
    images = torch.zeros(200, 3, 5, 6)
    stamped = stamp(images, "roam", {"patch": patch})
    assert torch.equal(stamped, stamp(images, "roam", {"patch": patch}))
    assert not torch.equal(stamped, stamp(images, "roam", {"patch": patch}, torch.Generator().manual_seed(1)))
    torch.testing.assert_close(stamped.sum((1, 2, 3)), patch.sum().expand(200))
    corners = {tuple((image[0] > 0).nonzero()[0].tolist()) for image in stamped}
    assert corners == {(row, column) for row in range(4) for column in range(5)}
    row, column = (stamped[0, 0] > 0).nonzero()[0]
    assert torch.equal(stamped[0, :, row : row + 2, column : column + 2], patch)
