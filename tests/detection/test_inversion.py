import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.config import PROFILES
from smoothscan.detection.inversion import SHORTLIST, Inverter, Manner, views
from smoothscan.smoothing.noise import KeyedNoise
from smoothscan.smoothing.smoothed import SmoothedClassifier
from smoothscan.spaces import SPACES
from smoothscan.spaces.frequency import wave
from tests.planted import CLASSES, SHAPE, TARGET, PlantedNet, images, patch, templates

PROFILE = PROFILES["standard"]


def search(net, targets, epsilon, sources, **changes):
    return found(net, targets, epsilon, sources, **changes).parameters


def found(net, targets, epsilon, sources, space="l2", start=None, passes=None, **changes):
    inverter = Inverter(
        (SmoothedClassifier(net, 0.12, 0.2),),
        SPACES[space],
        PROFILE.model_copy(update=changes),
        KeyedNoise(0, tuple(sources.shape[1:])),
        lambda count: None if passes is None else passes.append(count),
    )
    return inverter.invert(sources[:, None], torch.tensor(targets), start, epsilon=epsilon, first_step=0)


def source(t):
    return images(CLASSES)[(t + 1) % CLASSES]


def test_it_finds_the_planted_patch():
    (delta,) = search(PlantedNet(backdoored=True), [TARGET], 0.35, source(TARGET)[None])
    assert float((delta * patch()).sum() / delta.norm()) > 0.7


def test_without_a_backdoor_it_finds_the_class():
    (delta,) = search(PlantedNet(backdoored=False), [TARGET], 0.35, source(TARGET)[None])
    assert float((delta * patch()).sum() / delta.norm()) < 0.2
    assert float((delta * templates()[TARGET]).sum() / delta.norm()) > 0.4


@pytest.mark.parametrize("epsilon", [0.1, 0.8])
@pytest.mark.parametrize("varied", [False, True])
def test_the_budget_is_kept_and_without_views_the_pixel_range_of_the_image(epsilon, varied):
    sources = torch.stack([source(0), source(1).clamp(0.45, 0.55), torch.ones(SHAPE)])
    delta = search(PlantedNet(backdoored=True), [0, 1, TARGET], epsilon, sources, views=varied)
    assert (delta.flatten(1).norm(dim=1) <= epsilon * (1 + 1e-5)).all()
    assert delta[2].abs().max() > 0
    if not varied:
        assert (sources + delta).min() >= -1e-6
        assert (sources + delta).max() <= 1 + 1e-6


def test_an_image_without_room_for_the_trigger_gives_it_away_all_the_same():
    """The patch brightens pixels that are white in this image already; the views make room for it."""
    white = torch.where(patch() > 0, torch.ones(SHAPE), source(TARGET))[None]
    net = PlantedNet(backdoored=True)
    (with_views,) = search(net, [TARGET], 0.35, white)
    (without,) = search(net, [TARGET], 0.35, white, views=False)
    brightening = patch().clamp_min(0)
    assert float((with_views * brightening).sum()) > 0.05
    assert float((without * brightening).sum()) <= 1e-6


@given(st.integers(1, 9))
def test_views_go_from_flat_to_full_contrast_and_keep_the_mean(count):
    image = source(0)[None]
    (seen,) = views(image[None], torch.tensor([3]), 5, count, KeyedNoise(0, SHAPE), Manner())
    assert seen.shape == (count, *SHAPE)
    assert seen.mean((1, 2, 3)) == pytest.approx([float(image.mean())] * count, abs=1e-5)
    spread = seen.flatten(1).std(dim=1)
    assert spread[0] == pytest.approx(0, abs=1e-5)
    assert (spread.diff() >= -1e-5).all()
    if count > 2:
        assert float(spread[-1]) == pytest.approx(float(image.std()), rel=1e-4)


def test_a_class_is_inverted_the_same_alone_and_among_others():
    net = PlantedNet(backdoored=True)
    together = search(net, [0, TARGET], 0.35, torch.stack([source(0), source(TARGET)]), steps=8)
    alone = search(net, [TARGET], 0.35, source(TARGET)[None], steps=8)
    torch.testing.assert_close(together[1], alone[0], rtol=1e-4, atol=1e-5)


def test_a_model_without_gradient_leaves_the_image_alone():
    flat = found(lambda x: x.flatten(1)[:, :CLASSES] * 0, [0], 0.5, source(0)[None], steps=3)
    assert flat.parameters.abs().max() == 0
    assert flat.silent.tolist() == [1]


def test_where_there_is_a_gradient_no_step_is_silent():
    assert found(PlantedNet(backdoored=True), [0, 1], 0.5, torch.stack([source(0)] * 2), steps=3).silent.tolist() == [
        0,
        0,
    ]


def test_several_images_take_turns_as_views_and_each_is_seen_with_contrast():
    own = torch.stack([source(t) for t in (1, 2, 3)])[None]
    noise = KeyedNoise(0, SHAPE)
    last = [views(own, torch.tensor([0]), step, 2 * len(own[0]) + 2, noise, Manner())[0, -1] for step in range(3)]
    # circular shifts keep the mean of each channel, which tells the images apart
    means = {tuple(round(v, 4) for v in view.mean((1, 2)).tolist()) for view in last}
    assert means == {tuple(round(v, 4) for v in image.mean((1, 2)).tolist()) for image in own[0]}


def test_a_patch_is_searched_everywhere_then_settles_and_shrinks_to_a_part_of_itself():
    passes, shape = [], (3, 32, 32)
    net, image = PlantedNet(backdoored=False, shape=shape), images(1, shape=shape)
    large = found(net, [TARGET], 25, image, "patch", passes=passes).parameters
    assert large[0, -1].sum() == 25
    assert len(passes) > PROFILE.steps  # the places it settles on one of cost forward passes
    contrast = (large[:, :3] - 0.5) * large[:, 3:]
    assert (contrast * templates(shape)[TARGET]).sum() > 0.2  # it pulls towards the class from where it lies
    small = found(net, [TARGET], 9, image, "patch", start=large).parameters
    assert small[0, -1].sum() == 9
    assert (large[0, -1] >= small[0, -1]).all()


def test_a_search_begins_with_the_best_of_the_dictionary_and_keeps_it_if_steps_make_it_worse():
    net, image = PlantedNet(backdoored=False), source(TARGET)[None]
    inverter = Inverter(
        (SmoothedClassifier(net, 0.12, 0.2),), SPACES["frequency"], PROFILE, KeyedNoise(0, SHAPE), lambda count: None
    )
    entries = SPACES["frequency"].dictionary(SHAPE, 0.8)
    own = torch.zeros((CLASSES, 1), dtype=torch.long)
    shortlist = inverter.screened(entries, image, own, torch.arange(CLASSES))
    assert shortlist.shape == (CLASSES, SHORTLIST, 2 + 2 * SHAPE[0])
    own = wave(shortlist[TARGET], *SHAPE[1:])
    others = wave(shortlist[TARGET + 1], *SHAPE[1:])
    toward = templates()[TARGET]
    assert (own * toward).sum((1, 2, 3)).mean() > 0.05 > (others * toward).sum((1, 2, 3)).mean()
    (kept,) = inverter.invert(
        image[:, None], torch.tensor([TARGET]), None, epsilon=0.8, first_step=0, shortlist=shortlist[[TARGET]]
    ).parameters
    assert kept[:2].tolist() in shortlist[TARGET, :, :2].tolist()
    assert float((wave(kept, *SHAPE[1:]) * toward).sum()) >= 0.9 * float((own[0] * toward).sum())
