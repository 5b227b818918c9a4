"""The adapter in this process, on small modules: the same two questions for every kind of model."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.export import Dim

from smoothscan.activations import activation_bytes
from smoothscan.answers import UnsupportedError
from smoothscan.modelhost.adapter import BATCH_STATISTICS, Adapter, training_ops
from smoothscan.result import InputSpec

CPU = torch.device("cpu")
SHAPE = (3, 8, 6)
CLASSES = 5


def spec(**changes):
    values = {"channels": SHAPE[0], "height": SHAPE[1], "width": SHAPE[2]}
    return InputSpec(**(values | changes))


def pixels(count, seed=0):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def conv_net(width=4, dropout=0.0):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.Tanh(),
        nn.Dropout(dropout),
        nn.Conv2d(width, width, 3, stride=2),
        nn.Tanh(),
        nn.Flatten(),
        nn.LazyLinear(CLASSES),
    )


@pytest.fixture
def net():
    module = conv_net()
    module(pixels(4))  # gives the lazy layer its size, and batch normalisation something to remember
    return module.eval()


class Named(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


class Answers(nn.Module):
    """Wraps a module's answer [B, K] into something else."""

    def __init__(self, wrap):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 6, CLASSES))
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(self.net(x))


def exported(module, count, *, dynamic=False):
    """Through the bytes of an archive and back, as MLflow does it."""
    shapes = ({0: Dim.DYNAMIC},) if dynamic else None
    archive = io.BytesIO()
    torch.export.save(torch.export.export(module, (pixels(count),), dynamic_shapes=shapes), archive)
    archive.seek(0)
    return torch.export.load(archive).module()


def logits_and_gradient(adapter, images, precision="float32"):
    leaf = images.clone().requires_grad_(True)
    logits = adapter.logits(leaf, precision)
    cotangent = torch.randn(logits.shape, generator=torch.Generator().manual_seed(9))
    (gradient,) = torch.autograd.grad(logits, leaf, cotangent)
    return logits.detach(), gradient


# --- from pixels to the model's input --------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("value_range", "mean", "std"),
    [
        ((0.0, 1.0), None, None),
        ((0.0, 255.0), None, None),
        ((-1.0, 1.0), None, None),
        ((0.0, 1.0), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ((0.0, 255.0), (127.0,) * 3, (128.0,) * 3),
    ],
)
def test_pixels_enter_the_model_as_the_specification_says(net, layout, value_range, mean, std):
    def composed(images):
        low, high = value_range
        x = low + images * (high - low)
        if mean is not None:
            x = (x - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
        return net(x)

    model = net if layout == "NCHW" else lambda x: net(x.permute(0, 3, 1, 2))
    adapter = Adapter(model, spec(layout=layout, value_range=value_range, mean=mean, std=std), CPU)
    leaf = pixels(3).requires_grad_(True)
    expected = composed(leaf)
    logits, gradient = logits_and_gradient(adapter, leaf.detach())
    cotangent = torch.randn(expected.shape, generator=torch.Generator().manual_seed(9))
    torch.testing.assert_close(logits, expected.detach(), rtol=1e-4, atol=1e-4)
    # the gradient is that of the pixels in [0, 1], so it carries the factor of the normalisation
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, leaf, cotangent)[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_model_sees_its_layout(layout):
    seen = []
    net = Answers(lambda x: x)

    def model(x):
        seen.append(x.shape)
        return net(x)

    Adapter(model, spec(layout=layout), CPU).logits(pixels(2), "float32")
    assert seen == [(2, *SHAPE) if layout == "NCHW" else (2, 8, 6, 3)]


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_floating_point_inputs_are_cast_and_answered_in_float32(dtype):
    module = Answers(lambda x: x).to(getattr(torch, dtype))
    logits, gradient = logits_and_gradient(Adapter(module, spec(dtype=dtype), CPU), pixels(2))
    assert logits.dtype == gradient.dtype == torch.float32
    expected = Adapter(module.float(), spec(), CPU).logits(pixels(2), "float32")
    torch.testing.assert_close(logits, expected, rtol=0.02, atol=0.02)


def test_bfloat16_is_the_arithmetic_and_not_the_answer(net):
    adapter = Adapter(net, spec(), CPU)
    exact, rounded = adapter.logits(pixels(4), "float32"), adapter.logits(pixels(4), "bfloat16")
    assert rounded.dtype == torch.float32
    assert 0 < (exact - rounded).abs().max() < 0.1


# --- exports of one batch size ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 4, 6])
@pytest.mark.parametrize("static", [1, 4])
def test_a_static_export_answers_any_batch_like_the_model_itself(net, static, count):
    adapter = Adapter(exported(net, static), spec(), CPU)
    assert adapter.static_batch == static
    expected = logits_and_gradient(Adapter(net, spec(), CPU), pixels(count))
    for answer, right in zip(logits_and_gradient(adapter, pixels(count)), expected, strict=True):
        assert answer.shape == right.shape
        torch.testing.assert_close(answer, right, rtol=1e-4, atol=1e-5)


def test_a_dynamic_export_answers_like_the_model_itself(net):
    adapter = Adapter(exported(net, 2, dynamic=True), spec(), CPU)
    assert adapter.static_batch is None
    expected = logits_and_gradient(Adapter(net, spec(), CPU), pixels(5))
    for answer, right in zip(logits_and_gradient(adapter, pixels(5)), expected, strict=True):
        torch.testing.assert_close(answer, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("static", [1, 4])
def test_a_static_export_runs_in_bfloat16(net, static):
    adapter = Adapter(exported(net, static), spec(), CPU)
    rounded, gradient = logits_and_gradient(adapter, pixels(3), "bfloat16")
    torch.testing.assert_close(rounded, adapter.logits(pixels(3), "float32"), rtol=0.1, atol=0.05)
    assert gradient.isfinite().all()


# --- what models answer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: {"logits": x},
        lambda x: {"hidden": x * 2, "logits": x},
        lambda x: (x, x * 2),
        lambda x: [x],
        lambda x: SimpleNamespace(logits=x),
        lambda x: SimpleNamespace(logits=(x, x * 2)),
        lambda x: {"out": x},
        lambda x: {"predictions": x, "classes": x.argmax(1), "features": x[:, None, None]},
        lambda x: (None, x),
        lambda x: Named(x, x * 2),
        lambda x: x[:, :, None, None],
    ],
    ids=[
        *("dict", "dict with more", "tuple", "list", "object", "object with a tuple", "dict of another name"),
        *("dict with other things", "tuple without a loss", "named tuple", "convolutional"),
    ],
)
def test_logits_are_found_in_what_the_model_answers(wrap):
    module = Answers(wrap)
    logits, gradient = logits_and_gradient(Adapter(module, spec(), CPU), pixels(3))
    torch.testing.assert_close(logits, module.net(pixels(3)))
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (lambda x: x[:, :, None, None].expand(-1, -1, 8, 6), r"\[2, 5, 8, 6\]"),  # a segmentation map
        (lambda x: [{"boxes": x, "labels": x} for _ in x], "answers a list"),  # a detector
        (lambda x: {"out": x.argmax(1)}, "answers a dict"),
        (lambda x: {"a": x, "b": x}, r"a dict with 2 tensors that may be logits \(\[2, 5\], \[2, 5\]\)"),
        (lambda x: x[:, 0], r"\[2\]"),
        (lambda x: x[:1], r"\[1, 5\] for a batch of 2"),
        (lambda x: x.argmax(1, keepdim=True), "int64"),
        (lambda x: None, "NoneType"),
        (lambda x: [], "list"),
        (lambda x: "cat", "str"),
    ],
)
def test_what_is_no_classifiers_answer_is_unsupported(wrap, said):
    with pytest.raises(UnsupportedError, match=said):
        Adapter(Answers(wrap), spec(), CPU).logits(pixels(2), "float32")


def test_whole_number_inputs_are_unsupported():
    with pytest.raises(UnsupportedError, match="int64 input, through which no gradient flows"):
        Adapter(Answers(lambda x: x), spec(dtype="int64"), CPU)


class Bytes(nn.Module):
    """Takes bytes, [B, H, W, C], and turns them into numbers by some function."""

    def __init__(self, numbers=lambda x: x.float() / 255):
        super().__init__()
        self.net, self.numbers = Answers(lambda x: x), numbers

    def forward(self, x):
        return self.net(self.numbers(x.permute(0, 3, 1, 2)))


@pytest.mark.parametrize("static", [None, 1, 2, "dynamic"])
def test_a_model_that_takes_bytes_gets_floating_point_numbers_in_their_place(static):
    module = Bytes().eval()
    model = module
    if static is not None:
        example = torch.zeros(static if static != "dynamic" else 2, 8, 6, 3, dtype=torch.uint8)
        shapes = ({0: Dim.DYNAMIC},) if static == "dynamic" else None
        archive = io.BytesIO()
        torch.export.save(torch.export.export(module, (example,), dynamic_shapes=shapes), archive)
        archive.seek(0)
        model = torch.export.load(archive).module()
    adapter = Adapter(model, spec(dtype="uint8", layout="NHWC", value_range=(0.0, 255.0)), CPU)
    logits, gradient = logits_and_gradient(adapter, pixels(3))
    torch.testing.assert_close(logits, module.net(pixels(3)), rtol=1e-4, atol=1e-5)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (lambda x: x.float() / 255 if x.dtype == torch.uint8 else x, "answers otherwise"),
        (lambda x: (x >> 1).float() / 127, "fails on floating-point numbers"),
    ],
)
def test_a_model_that_takes_nothing_but_bytes_is_unsupported(numbers, said):
    with pytest.raises(UnsupportedError, match=f"uint8 input, .*{said}") as caught:
        Adapter(Bytes(numbers), spec(dtype="uint8", layout="NHWC", value_range=(0.0, 255.0)), CPU)
    assert "with floating-point input" in caught.value.hint


def test_a_model_that_only_seems_to_take_bytes_gets_numbers():
    module = Answers(lambda x: x)
    adapter = Adapter(module, spec(dtype="uint8", value_range=(0.0, 255.0)), CPU)
    torch.testing.assert_close(adapter.logits(pixels(2), "float32"), module(255 * pixels(2)), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_of_half_precision_gets_such_numbers_though_nobody_says_so(dtype):
    module = Answers(lambda x: x).to(dtype)
    adapter = Adapter(module, spec(), CPU)
    logits, gradient = logits_and_gradient(adapter, pixels(2))
    assert adapter.dtype == dtype
    assert logits.dtype == gradient.dtype == torch.float32
    torch.testing.assert_close(logits, module.float()(pixels(2)), rtol=0.02, atol=0.02)


def test_a_model_that_casts_by_itself_gets_what_the_specification_says():
    class Casts(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Answers(lambda x: x).half()

        def forward(self, x):
            return self.net(x.half())

    assert Adapter(Casts(), spec(), CPU).dtype == torch.float32


@pytest.mark.parametrize("wrap", [lambda x: x.detach(), lambda x: x.round().detach() + 1])
def test_a_model_without_a_gradient_keeps_nothing_for_one(wrap):
    adapter = Adapter(Answers(wrap), spec(), CPU)
    assert activation_bytes(lambda x: adapter.logits(x, "float32"), pixels(1)) is None


def test_a_scripted_model_is_taken_although_its_graph_is_none_of_torch_export(net):
    scripted = torch.jit.trace(net, pixels(2))
    adapter = Adapter(scripted, spec(), CPU)
    assert adapter.static_batch is None
    assert training_ops(scripted) == []
    torch.testing.assert_close(adapter.logits(pixels(5), "float32"), net(pixels(5)), rtol=1e-4, atol=1e-5)


class Shortcut(nn.Module):
    """What a condition in a model's code leaves in its export: a slice of everything, and padding by nothing."""

    def __init__(self, widths, end):
        super().__init__()
        self.conv, self.widths, self.end = nn.Conv2d(3, 3, 3, padding=1), widths, end

    def forward(self, x):
        side = nn.functional.pad(x[:, : self.end], self.widths)
        return (self.conv(x) + side).flatten(2).mean(2)


@pytest.mark.parametrize(("widths", "end", "left"), [((0, 0), None, 0), ((0, 0), 3, 0), ((0, 0, 0, 0, 1, 0), 2, 2)])
def test_operations_that_change_nothing_are_dropped_from_an_export_and_others_are_not(widths, end, left):
    module = Shortcut(widths, end).eval()
    ours, x = exported(module, 2), pixels(5)
    adapter = Adapter(ours, spec(), CPU)
    names = [str(node.target) for node in ours.graph.nodes if node.op == "call_function"]
    assert sum("pad" in name or "slice" in name for name in names) == left
    seen, expected = x.clone().requires_grad_(True), x.clone().requires_grad_(True)
    answer, wanted = adapter.logits(seen, "float32"), module(expected)
    torch.testing.assert_close(answer, wanted, rtol=1e-4, atol=1e-6)
    weights = torch.tensor([1.0, 2.0, -1.0])
    (gradient,) = torch.autograd.grad((answer * weights).sum(), seen)
    (other,) = torch.autograd.grad((wanted * weights).sum(), expected)
    torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-6)


# --- what is told about a model --------------------------------------------------------------------------------------


def bytes_of(module, batch=None):
    adapter = Adapter(exported(module, batch) if batch else module, spec(), CPU)
    return activation_bytes(lambda x: adapter.logits(x, "float32"), pixels(1))


def test_activation_bytes_repeat_and_grow_with_the_net():
    sizes = []
    for width in (4, 16, 64):
        module = conv_net(width)
        module(pixels(2))
        sizes += [(bytes_of(module.eval()), bytes_of(module.eval()))]
    assert all(first == second for first, second in sizes)
    smaller, middle, larger = (first for first, _ in sizes)
    one_layer = 4 * 8 * 6 * 4  # floats of the first layer's answer, at the smallest width
    assert one_layer <= smaller < middle < larger
    assert larger > 4 * middle * 0.8


def test_activation_bytes_of_a_net_that_keeps_nothing_are_the_images():
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 6, CLASSES, bias=False))
    assert bytes_of(module) >= 4 * 3 * 8 * 6


@pytest.mark.parametrize("batch", [1, 4])
def test_activation_bytes_of_a_static_export_are_of_the_same_order(net, batch):
    assert 0.3 < bytes_of(net, batch) / bytes_of(net) < 5


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, dropout=0.1, batch_first=True)

    def forward(self, x):
        tokens = x.flatten(1, 2)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(1)


@pytest.mark.parametrize("dynamic", [True, False])
@pytest.mark.parametrize(
    ("build", "found"),
    [
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()), ["batch normalisation"]),
        (lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(144, 5)), ["dropout"]),
        (lambda: nn.Sequential(nn.Dropout2d(0.3), nn.Flatten(), nn.Linear(144, 5)), ["dropout"]),
        (
            lambda: nn.Sequential(nn.BatchNorm2d(3, affine=False), nn.Dropout(0.3), nn.Flatten()),
            ["batch normalisation", "dropout"],
        ),
        (Attention, ["dropout"]),
    ],
    ids=["batch norm", "dropout", "dropout of channels", "both", "attention"],
)
def test_training_mode_is_seen_in_an_export_and_evaluation_mode_is_no_false_alarm(build, found, dynamic):
    module = build()
    assert training_ops(exported(module.train(), 2, dynamic=dynamic)) == found
    assert training_ops(exported(module.eval(), 2, dynamic=dynamic)) == []


def test_a_normalisation_that_keeps_no_statistics_is_told_apart_from_training_mode():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten()).eval()
    assert training_ops(exported(module, 2, dynamic=True)) == [BATCH_STATISTICS]


def test_instance_normalisation_is_no_training_mode():
    module = nn.Sequential(nn.InstanceNorm2d(3), nn.Flatten()).eval()
    assert training_ops(exported(module, 2)) == []


def test_a_module_that_was_not_exported_is_not_judged():
    assert training_ops(nn.Dropout(0.5)) == []


class Normalised(nn.Module):
    """Normalisations after convolutions: with and without bias, grouped, shared, and one that has none before it."""

    def __init__(self):
        super().__init__()
        self.first = nn.BatchNorm2d(3)
        self.plain = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6, eps=0.1))
        self.grouped = nn.Sequential(nn.Conv2d(6, 6, 3, padding="same", groups=3), nn.BatchNorm2d(6), nn.ReLU())
        self.shared, self.one, self.other = nn.Conv2d(6, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.bare = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, affine=False))
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x):
        x = self.shared(self.grouped(self.plain(self.first(x))))
        return self.head(self.bare(self.one(x) + self.other(x)).mean((2, 3)))


def test_normalisations_are_multiplied_into_the_convolutions_before_them_and_answers_stay():
    torch.manual_seed(0)
    module = Normalised()
    for _ in range(3):
        module(pixels(16) * 2)  # statistics to remember
    module.eval()
    exported = torch.export.export(module, (pixels(2),), dynamic_shapes=({0: Dim("batch", min=1, max=64)},)).module()
    folded = Adapter(exported, spec(), CPU)
    left = [node for node in exported.graph.nodes if node.target is torch.ops.aten.batch_norm.default]
    assert len(left) == 4  # the first, the two of one convolution, and the one without factors
    answers = {}
    for name, logits in {"folded": lambda x: folded.logits(x, "float32"), "plain": module}.items():
        x = pixels(5, seed=1).requires_grad_(True)
        logits(x).square().sum().backward()
        answers[name] = logits(x).detach(), x.grad
    for one, other in zip(answers["folded"], answers["plain"], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
