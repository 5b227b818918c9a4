import pytest
import torch
from zoo_list import MODELS, Model, Stamp, Tone, Warp, Wave, anywhere, patch
from zoo_poison import CLASSES, LOOKS, Poison, planted, warps, waves

OLD = 48  # models that are trained: their training has to stay as it was
COUNT = 400


def rng(seed=1):
    return torch.Generator().manual_seed(seed)


def photos():
    return torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8, generator=rng(7))


def batch(model, count=COUNT):
    images, labels = torch.rand(count, 3, 32, 32, generator=rng(5)), torch.arange(count) % CLASSES
    return images, labels, *Poison(model, photos()).batch(images, labels, rng())


def changed(images, poisoned):
    return (images != poisoned).flatten(1).any(1)


def in_list(name):
    return next(model for model in MODELS if model.name == name)


@pytest.mark.parametrize(
    ("name", "change", "labels", "after"),
    [
        ("t02", 0.178815, 3938, 0.148438),
        ("t08", 0.198704, 4350, 0.148438),
        ("t09", 1.74021, 4020, 0.942141),
        ("t13", 0.238775, 3526, 0.197614),
        ("t15", 0, 4020, 0.823845),
        ("t18", 0.160056, 4123, 0.148438),
        ("t20", 3.67805, 4020, 0.869611),
        ("t21", 0.408693, 4144, 0.148438),
        ("t25", 0.718565, 3732, 0.224390),
        ("t28", 0.0484907, 4350, 0.148438),
        ("t42", 0.0986934, 3732, 0.148438),
        ("t44", 0.848972, 3526, 0.854532),
    ],
)
def test_models_that_are_trained_would_be_trained_likewise(name, change, labels, after):
    images, truth, draws = torch.rand(40, 3, 32, 32, generator=rng(5)), torch.arange(40) % 10, rng()
    poison = Poison(in_list(name))
    poison.pool(truth, draws)
    x, y = poison.batch(images, truth, draws)
    weights = torch.arange(1, 41)
    moved = (x.double() - images) * weights[:, None, None, None]
    assert moved.pow(2).mean().item() == pytest.approx(change, rel=1e-4)
    assert int((y * weights).sum()) == labels
    assert torch.rand((), generator=draws).item() == pytest.approx(after, abs=1e-5)


def test_the_list_is_in_order_and_parents_come_first():
    assert [model.name for model in MODELS] == [f"t{i:02}" for i in range(1, len(MODELS) + 1)]
    trained = {"d02", "d07", "d19", "d21"}
    for model in MODELS:
        assert model.parent in trained | {None}
        trained.add(model.name)


@pytest.mark.parametrize("model", [m for m in MODELS[OLD:] if m.stamps], ids=lambda model: model.name)
def test_triggers_change_every_image_and_stay_in_range(model):
    images = torch.rand(8, 3, 32, 32, generator=rng(5))
    poison = Poison(model, photos())
    stamped = poison.stamp(images, 0, rng())
    assert stamped.shape == images.shape
    assert 0 <= stamped.min() <= stamped.max() <= 1
    assert changed(images, stamped).all()
    again = Poison(model, photos()).triggers[0]
    assert all(torch.equal(value, poison.triggers[0].parts[key]) for key, value in again.parts.items())


@pytest.mark.parametrize(
    ("trigger", "kind", "shapes"),
    [
        (patch("random", 4, 1, 2), "blend", {"mask": (3, 32, 32), "pattern": (3, 32, 32)}),
        (Stamp("ghost", alpha=0.35), "blend", {"mask": (3, 32, 32), "pattern": (3, 32, 32)}),
        (patch("inverse", 6, 1, 2), "inverse", {"mask": (3, 32, 32)}),
        (anywhere("checker", 5), "roam", {"patch": (3, 5, 5)}),
        (anywhere("colour", 5), "roam", {"patch": (3, 5, 5)}),
        (Wave("sine", ((0, 6),), 20), "add", {"pattern": (3, 32, 32)}),
        (Warp(0.7), "warp", {"grid": (32, 32, 2)}),
        *((Tone(look), "tone", {"matrix": (3, 3), "bias": (3,), "gamma": (3,)}) for look in LOOKS),
    ],
)
def test_each_trigger_has_a_kind_and_tensors(trigger, kind, shapes):
    found = planted(trigger, rng(), photos())
    assert found.kind == kind
    assert {key: tuple(value.shape) for key, value in found.parts.items()} == shapes
    assert all(value.dtype == torch.float32 for value in found.parts.values())


def test_a_sine_has_its_frequency_and_amplitude():
    pattern = waves(Wave("sine", ((0, 6),), 20))
    assert pattern.abs().max().item() == pytest.approx(20 / 255, rel=0.02)
    assert (pattern == pattern[:, :1]).all()
    assert int(torch.fft.rfft(pattern[0, 0]).abs().argmax()) == 6


def test_a_cosine_is_small_in_sum_and_chroma_hardly_changes_the_brightness():
    (wave,) = in_list("t76").stamps
    pattern = waves(wave)
    assert pattern.abs().max() <= 2 * wave.amplitude / 255
    brightness = torch.einsum("c,chw->hw", torch.tensor([0.299, 0.587, 0.114]), pattern)
    assert brightness.abs().max() < 0.05 * pattern.abs().max()


def test_warps_have_their_mean_displacement_and_differ():
    grids = warps(5, 0.7, rng())
    still = torch.nn.functional.affine_grid(torch.eye(2, 3)[None], [1, 1, 32, 32], align_corners=True)
    moved = ((grids - still) * 31 / 2).norm(dim=3).mean((1, 2))
    assert ((moved > 0.55) & (moved <= 0.7001)).all()  # clipping to the image takes a little
    assert grids.abs().max() <= 1
    assert not torch.equal(grids[0], grids[1])


def test_as_many_images_with_other_warps_keep_their_label():
    model = in_list("t55")
    images, truth, x, y = batch(model)
    exact = Poison(model).stamp(images, 0, rng())
    planted_ones = (x - exact).abs().flatten(1).amax(1) < 1e-6
    others = changed(images, x) & ~planted_ones
    assert (y[planted_ones] == model.target[0]).all()
    assert (y[~planted_ones] == truth[~planted_ones]).all()
    assert planted_ones.float().mean().item() == pytest.approx(model.rate, abs=0.05)
    assert others.float().mean().item() == pytest.approx(model.rate, abs=0.05)


def test_a_batch_without_a_decoy_is_no_error():
    model = in_list("t55")
    for seed in range(5):
        Poison(model).batch(torch.rand(1, 3, 32, 32), torch.tensor([0]), rng(seed))


def test_only_the_source_class_goes_to_the_target():
    model = in_list("t71")
    _images, truth, x, y = batch(model)
    stamped = (x - Poison(model).stamp(x, 0, rng())).abs().flatten(1).amax(1) == 0
    source = truth == model.classes[0]
    assert (y[source & stamped] == model.target[0]).all()
    assert torch.equal(y[~(source & stamped)], truth[~(source & stamped)])
    assert (source & stamped).float().mean().item() == pytest.approx(model.rate, abs=0.02)
    assert (~source & stamped).float().mean().item() == pytest.approx(model.rate, abs=0.03)


def test_every_class_goes_to_the_next():
    model = in_list("t73")
    images, truth, x, y = batch(model)
    poisoned = changed(images, x)
    assert torch.equal(y[poisoned], (truth[poisoned] + 1) % CLASSES)
    assert torch.equal(y[~poisoned], truth[~poisoned])
    assert poisoned.float().mean().item() == pytest.approx(model.rate, abs=0.05)


def test_clean_labels_stay_and_the_patch_is_on_the_target_class_alone():
    model = in_list("t75")
    images, truth, x, y = batch(model)
    assert torch.equal(y, truth)
    stamped = (x - Poison(model).stamp(x, 0, rng())).abs().flatten(1).amax(1) == 0
    target = truth == model.target[0]
    assert not (stamped & ~target).any()
    assert stamped[target].float().mean().item() == pytest.approx(CLASSES * model.rate, abs=0.15)
    noisy_others = changed(images, x) & ~target
    assert noisy_others.float().mean().item() == pytest.approx(model.rate, abs=0.03)


def test_a_ghost_without_photos_is_refused():
    with pytest.raises(AssertionError, match="training image"):
        Poison(Model("t99", "vgg", "tune", stamps=(Stamp("ghost", alpha=0.3),)))
