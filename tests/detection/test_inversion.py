import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.config import PROFILES
from smoothscan.detection.inversion import invert, project, views
from smoothscan.smoothing.noise import KeyedNoise
from smoothscan.smoothing.smoothed import SmoothedClassifier
from tests.planted import CLASSES, SHAPE, TARGET, PlantedNet, images, patch, templates

PROFILE = PROFILES["standard"]


def search(net, targets, epsilon, sources, **changes):
    return found(net, targets, epsilon, sources, **changes).deltas


def found(net, targets, epsilon, sources, **changes):
    smoothed = SmoothedClassifier(net, 0.12, 0.2)
    return invert(
        smoothed,
        sources[:, None],
        torch.tensor(targets),
        torch.zeros_like(sources),
        epsilon=epsilon,
        profile=PROFILE.model_copy(update=changes),
        noise=KeyedNoise(0, SHAPE),
        first_step=0,
        on_step=lambda passes: None,
    )


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
    (seen,) = views(image[None], torch.tensor([3]), 5, count, KeyedNoise(0, SHAPE))
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
    assert flat.deltas.abs().max() == 0
    assert flat.silent.tolist() == [3]


def test_where_there_is_a_gradient_no_step_is_silent():
    assert found(PlantedNet(backdoored=True), [0, 1], 0.5, torch.stack([source(0)] * 2), steps=3).silent.tolist() == [
        0,
        0,
    ]


def test_several_images_take_turns_as_views_and_each_is_seen_with_contrast():
    own = torch.stack([source(t) for t in (1, 2, 3)])[None]
    noise = KeyedNoise(0, SHAPE)
    last = [views(own, torch.tensor([0]), step, 2 * len(own[0]) + 2, noise)[0, -1] for step in range(3)]
    # circular shifts keep the mean of each channel, which tells the images apart
    means = {tuple(round(v, 4) for v in view.mean((1, 2)).tolist()) for view in last}
    assert means == {tuple(round(v, 4) for v in image.mean((1, 2)).tolist()) for image in own[0]}


@given(st.floats(1e-3, 10), st.floats(1e-3, 10))
def test_projection_shrinks_to_the_ball_and_never_grows(norm, epsilon):
    delta = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    delta = delta / delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1) * norm
    projected = project(delta, epsilon)
    assert projected.flatten(1).norm(dim=1) == pytest.approx([min(norm, epsilon)] * 2, rel=1e-4)
