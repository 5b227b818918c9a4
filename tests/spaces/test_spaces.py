"""What holds in every space."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.config import PROFILES
from smoothscan.smoothing.noise import KeyedNoise
from smoothscan.spaces import SPACES, applicable
from smoothscan.spaces.interface import Trigger
from smoothscan.vocabulary import SPACES as WORDS

SHAPES = [(3, 32, 32), (1, 28, 28), (3, 24, 40), (4, 17, 16)]
CASES = [(space.name, shape) for shape in SHAPES for space in applicable(list(SPACES), shape)]


def images(shape, count=3):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))


def drawn(space, shape, epsilon, count=2):
    """Random parameters at the budget, with the discrete part settled."""
    nothing = torch.stack([space.nothing(shape, epsilon)] * count)
    if (entries := space.dictionary(shape, epsilon)) is not None:
        nothing = entries[len(entries) // 2 :][:count]
    noise = torch.randn(nothing.shape, generator=torch.Generator().manual_seed(1))
    moved = nothing + 3 * space.radius(shape, epsilon) * noise
    if space.name == "patch":
        moved[:, -1] = nothing[:, -1]
    if space.name == "frequency":
        moved[:, :2] = nothing[:, :2]
    candidates = space.candidates(moved, epsilon, settled=False)
    return space.retract(moved if candidates is None else list(candidates)[-1], epsilon, shape)


def test_every_space_has_a_name_and_words():
    assert list(SPACES) == list(WORDS)
    assert all(space.title == WORDS[name].title for name, space in SPACES.items())


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_budgets_ascend_and_the_search_begins_at_one_of_them(name, shape):
    ladder = SPACES[name].ladder(PROFILES["standard"], shape)
    assert list(ladder.epsilons) == sorted(set(ladder.epsilons))
    assert ladder.epsilons[0] > 0
    assert 0 <= ladder.first < len(ladder.epsilons)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_images_with_triggers_keep_shape_and_range(name, shape):
    space = SPACES[name]
    epsilon = space.ladder(PROFILES["standard"], shape).epsilons[-1]
    trigger = Trigger(space, drawn(space, shape, epsilon)[0])
    after = trigger.on(images(shape))
    assert after.shape == (3, *shape)
    assert after.min() >= 0
    assert after.max() <= 1 + 1e-6
    assert not torch.allclose(after, images(shape))


@pytest.mark.parametrize("name", [name for name in SPACES if name != "patch"])
def test_nothing_changes_nothing(name):
    space = SPACES[name]
    after = Trigger(space, space.nothing((3, 32, 32), 1.0)).on(images((3, 32, 32)))
    torch.testing.assert_close(after, images((3, 32, 32)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", SPACES)
def test_each_image_may_have_a_trigger_of_its_own(name):
    space, shape = SPACES[name], (3, 32, 32)
    epsilon = space.ladder(PROFILES["standard"], shape).epsilons[-1]
    two = drawn(space, shape, epsilon)
    x = images(shape, 2)
    together = space.apply(x[:, None], two[:, None])[:, 0]
    alone = torch.stack([Trigger(space, p).on(image[None])[0] for p, image in zip(two, x, strict=True)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("name", SPACES)
def test_gradients_reach_the_parameters_but_not_the_discrete_part(name):
    space, shape = SPACES[name], (3, 32, 32)
    epsilon = space.ladder(PROFILES["standard"], shape).epsilons[-1]
    small = 1.0 if name in ("patch", "frequency") else 0.1
    parameters = small * drawn(space, shape, epsilon)
    parameters.requires_grad_(True)
    weights = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(2))
    (space.apply(0.25 + 0.5 * images(shape, 2)[:, None], parameters[:, None]) * weights).sum().backward()
    assert parameters.grad.abs().flatten(1).max(1).values.min() > 0
    if name == "patch":
        assert parameters.grad[:, -1].abs().max() == 0
    if name == "frequency":
        assert parameters.grad[:, :2].abs().max() == 0


@given(st.sampled_from(list(SPACES)), st.floats(0.1, 5.0))
def test_retracting_brings_parameters_to_the_budget_and_leaves_smaller_ones_alone(name, factor):
    space, shape = SPACES[name], (3, 32, 32)
    epsilon = space.ladder(PROFILES["standard"], shape).epsilons[0]
    inside = drawn(space, shape, epsilon)
    torch.testing.assert_close(space.retract(inside, epsilon, shape), inside, atol=1e-5, rtol=1e-4)
    if name in ("l2", "smooth", "warp", "tone"):
        size = space.retract(factor * inside, epsilon, shape).flatten(1).norm(dim=1)
        expected = inside.flatten(1).norm(dim=1) * min(factor, 1.0)
        # what was drawn is at the budget, so only shrinking is seen
        torch.testing.assert_close(size, expected, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("name", SPACES)
def test_a_control_is_no_larger_and_is_the_same_every_time(name):
    space, shape, noise = SPACES[name], (3, 32, 32), KeyedNoise(0, (3, 32, 32))
    parameters = drawn(space, shape, space.ladder(PROFILES["standard"], shape).epsilons[-1])[0]
    control = space.control(parameters, 4, noise)
    assert not torch.equal(control, parameters)
    assert torch.equal(control, space.control(parameters, 4, noise))
    if name == "patch":
        assert torch.equal(control[-1], parameters[-1])
    else:
        assert control.norm() == pytest.approx(float(parameters.norm()))


@pytest.mark.parametrize("shape", SHAPES[:3])
@pytest.mark.parametrize("name", SPACES)
def test_a_trigger_can_be_shown_and_told(name, shape):
    space = SPACES[name]
    parameters = drawn(space, shape, space.ladder(PROFILES["standard"], shape).epsilons[-1])[0]
    picture = space.picture(parameters, shape)
    assert (picture is None) == (name == "l2")
    if picture is not None:
        assert picture.shape == shape
        assert picture.min() >= 0
        assert picture.max() <= 1
    assert len(space.described(parameters, shape)) > 10
