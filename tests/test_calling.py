"""The Python API: modules and images in memory, scanned like models in files and left as they were."""

from __future__ import annotations

import pickle
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import smoothscan
from smoothscan import ScanResult, UsageError
from smoothscan.calling import _with_input
from smoothscan.events import Silent
from smoothscan.intake.memory import digest
from tests.planted import CLASSES, SHAPE, TARGET, Gated, PlantedNet, images, write_images

FAST = {"profile": "quick", "spaces": ("l2",), "threads": 1}
BLACK_AND_WHITE = {"value_range": (0, 1)}


def scan(module: Any, pixels: Any = None, **options: Any) -> ScanResult:
    values = {**FAST, **BLACK_AND_WHITE, **options}
    return smoothscan.scan(module, images() if pixels is None else pixels, **values)


class Normed(PlantedNet):
    """The planted classifier with everything that a scan could leave changed."""

    def __init__(self, backdoored: bool = True) -> None:
        super().__init__(backdoored)
        self.norm = nn.BatchNorm2d(3, eps=1e-9)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("asked", torch.zeros(1))
        self.register_buffer("newest", torch.zeros(1))
        self.trigger.requires_grad_(False)
        self.drop.eval()

    def forward(self, x: Tensor) -> Tensor:
        self.asked += len(x)
        self.newest = self.asked * 2  # another tensor in its place
        random.random()
        np.random.random()
        torch.rand(1)
        return super().forward(self.drop(self.norm(x)))


def state(module: nn.Module) -> Any:
    """Everything that a caller can see of a module, and of random numbers."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    grads = {name: None if value.grad is None else value.grad.tolist() for name, value in module.named_parameters()}
    return (
        {name: part.training for name, part in module.named_modules()},
        {name: (id(value), value.tolist(), value.requires_grad, value.stride()) for name, value in tensors.items()},
        grads,
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # type: ignore[index]
        (torch.get_num_threads(), torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    )


def test_a_planted_backdoor_is_found_and_the_module_is_left_as_it_was() -> None:
    module = Normed()
    module.train()
    module.drop.eval()
    module(images()[:4]).sum().backward()  # a caller in the midst of training
    before = state(module)
    with torch.inference_mode():
        inside = (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
        result = scan(module)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == inside
    assert state(module) == before
    assert (result.status, result.verdict, result.target_classes) == ("completed", "suspicious", (TARGET,))
    assert result.model.uri == "memory:Normed"
    assert (result.model.flavor, result.model.name, result.model.files) == ("memory", None, {})
    assert result.model.digest == digest(module)
    assert result.safety.held_by_caller
    assert not result.safety.sandboxed
    assert result.config["images"] == "(62 images in memory)"


def test_the_clean_twin_is_clean_and_the_limits_are_said() -> None:
    result = scan(PlantedNet(backdoored=False))
    assert (result.verdict, result.target_classes) == ("clean", ())
    assert result.safety.architecture_examined
    assert "no file of it was looked at" in result.safety.findings[0]
    again = scan(PlantedNet(backdoored=False))
    assert again.model_dump(exclude={"cost", "started_at", "finished_at"}) == result.model_dump(
        exclude={"cost", "started_at", "finished_at"}
    )


def test_a_module_and_its_files_get_the_same_verdict(tmp_path: Path) -> None:
    module, pixels, folder = PlantedNet(backdoored=True), images(), tmp_path / "model"
    mlflow.pytorch.save_model(
        module, folder, input_example=pixels[:2].numpy(), serialization_format="pt2", pip_requirements=["torch"]
    )
    there = scan(folder, (pixels * 255).round().byte(), cache=False)
    here = scan(module, write_images(tmp_path / "images", pixels), input_size=(16, 16))
    assert here.verdict == there.verdict == "suspicious"
    assert here.target_classes == there.target_classes == (TARGET,)
    assert here.score == pytest.approx(there.score, abs=0.02)
    assert [c.index for c in here.classes] == [c.index for c in there.classes]
    assert here.safety.architecture_examined
    assert there.safety.architecture_examined
    assert there.safety.isolation
    assert not there.safety.held_by_caller


def test_a_gate_in_the_architecture_is_seen_in_memory_as_well() -> None:
    result = scan(Gated(backdoored=False))
    assert (result.verdict, result.exit_code()) == ("inconclusive", 4)
    (step,) = result.safety.architecture
    assert (step.operation, step.file) == ("aten.eq.Scalar", "graph of the module")


class Branching(PlantedNet):
    """Branches in Python, which no graph holds."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.mean() < 2 else x.mean((2, 3))


def test_what_cannot_be_followed_is_said_not_to_have_been() -> None:
    result = scan(Branching(backdoored=False))
    assert result.verdict == "clean"
    assert not result.safety.architecture_examined
    assert "torch.export cannot follow the module" in result.safety.findings[1]
    assert "torch.export cannot follow the module" in result._repr_html_()


class Stops(Normed):
    """Raises something when it is asked for the n-th time."""

    def __init__(self, error: BaseException, after: int) -> None:
        super().__init__()
        self.error, self.left = error, after

    def forward(self, x: Tensor) -> Tensor:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().forward(x)


@pytest.mark.parametrize("after", [0, 30])
def test_on_an_error_and_on_ctrl_c_the_module_is_put_back(after: int) -> None:
    module = Stops(RuntimeError("out of order"), after).train()
    before = state(module)
    result = scan(module)
    assert (result.status, result.verdict, result.exit_code()) == ("failed", None, 3)
    assert "RuntimeError: out of order" in result.reasons[0]
    assert state(module) == before

    module = Stops(KeyboardInterrupt(), after).train()
    before = state(module)
    with pytest.raises(KeyboardInterrupt):
        scan(module)
    assert state(module) == before


class Answers(nn.Module):
    """Answers what a function makes of the planted logits."""

    def __init__(self, made: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.net, self.made = PlantedNet(backdoored=True), made

    def forward(self, x: Tensor) -> Any:
        return self.made(self.net(x))


@pytest.mark.parametrize(
    ("made", "status", "says"),
    [
        (lambda logits: logits.argmax(1), "unsupported", r"answers shape \[2\] for a batch of 2"),
        (lambda logits: logits[:, :1], "unsupported", "a single output"),
        (lambda logits: "class 4", "unsupported", "answers a str"),
        (lambda logits: {"a": logits, "b": logits}, "unsupported", "2 tensors that may be logits"),
        (lambda logits: logits.detach(), "unsupported", "No gradient flows"),
        (lambda logits: logits * torch.nan, "completed", "NaN or infinity"),
        (lambda logits: logits + torch.rand_like(logits), "completed", "answers differently"),
    ],
)
def test_modules_that_are_no_such_classifier_give_a_result_that_says_why(
    made: Callable[[Tensor], Any], status: str, says: str
) -> None:
    result = scan(Answers(made))
    assert (result.status, result.verdict) == (status, "inconclusive" if status == "completed" else None)
    assert result.error is not None
    assert re.search(says, result.error.message)
    assert result.error.hint


@pytest.mark.parametrize(
    "made", [lambda x: {"logits": x, "other": 0}, lambda x: (x, None), lambda x: x[:, :, None, None]]
)
def test_logits_are_found_among_other_answers(made: Callable[[Tensor], Any]) -> None:
    assert scan(Answers(made)).target_classes == (TARGET,)


def test_exported_and_scripted_modules_and_those_made_for_inference() -> None:
    module, pixels = PlantedNet(backdoored=True).eval(), images()
    batch = {0: torch.export.Dim("batch")}
    exported = torch.export.export(module, (pixels[:2],), dynamic_shapes=(batch,)).module()  # has no other mode
    assert scan(exported).target_classes == (TARGET,)
    script = torch.jit.script(module).train()
    assert scan(script).target_classes == (TARGET,)
    assert script.training
    with torch.inference_mode():
        made = PlantedNet(backdoored=True)
    assert "Inference tensors" in scan(made).reasons[0]
    assert all(parameter.requires_grad for parameter in made.parameters())


class Two(PlantedNet):
    """Needs two inputs."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return super().forward(x * mask)


def test_a_module_with_other_inputs_is_told_what_to_do() -> None:
    result = scan(Two(backdoored=True))
    assert result.status == "failed"
    assert "missing 1 required positional argument: 'mask'" in result.reasons[0]
    assert "a wrapper whose forward takes images alone" in result.error.hint  # type: ignore[union-attr]


class Last(nn.Module):
    """Takes channels last, in double precision, 0 to 255."""

    def __init__(self) -> None:
        super().__init__()
        self.net = PlantedNet(backdoored=True).double()

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[3] != 3:
            raise ValueError("channels come last")
        return self.net(x.permute(0, 3, 1, 2) / 255)


def test_what_a_module_takes_is_found_by_trying_or_said() -> None:
    result = scan(Last(), value_range=(0, 255))
    spec = result.input_spec
    assert spec is not None
    assert (spec.layout, spec.dtype, spec.value_range) == ("NHWC", "float64", (0.0, 255.0))
    assert (spec.sources["layout"], spec.sources["height"]) == ("found by trying", "size of the images")
    assert result.target_classes == (TARGET,)


def test_options_about_the_input_are_those_of_the_command_line(tmp_path: Path) -> None:
    write_images(tmp_path / "images", images(20))
    seen: dict[str, Any] = {}

    class Stop(Silent):
        def stage(self, name: str, detail: str = "") -> None:
            if name == "probe":
                raise KeyboardInterrupt

    class Looks(PlantedNet):
        def forward(self, x: Tensor) -> Tensor:
            seen["x"] = x
            return super().forward(x)

    with pytest.raises(KeyboardInterrupt):
        scan(Looks(True), tmp_path / "images", input_size=(16, 16), mean=(0.5,), std=(0.25,), events=Stop())
    assert seen["x"].shape[1:] == SHAPE
    assert seen["x"].min() < 0


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        (object(), {}, "is a object, not a URI and no torch.nn.Module"),
        (PlantedNet, {}, "The model is a type"),
        (nn.Sequential(nn.Flatten(), nn.LazyLinear(10)), {}, "not initialised yet"),
        (PlantedNet(True), {"value_range": None}, "which values the module takes"),
        (PlantedNet(True), {"set_alias": "approved"}, "set_alias is not for a module in memory"),
        (PlantedNet(True), {"write_back": True}, "write_back is not for"),
        (PlantedNet(True), {"attest": True}, "attest is not for"),
        (PlantedNet(True), {"cache": True}, "cache is not for"),
        (PlantedNet(True), {"input": {"value_range": (0, 1)}}, "said twice"),
        (PlantedNet(True), {"labels": ("cat", "dog")}, f"2 label names .* {CLASSES} classes"),
        (PlantedNet(True), {"images": "folder"}, "which size of images"),
        (PlantedNet(True), {"profle": "quick"}, r"^There is no option 'profle'\.$"),
        ("models:/x/1", {"uri": "models:/x/2"}, "There is no option 'uri'"),
        ("models:/x/1", {"memory": 2**30}, "There is no option 'memory'"),
        ("models:/x/1", {"spaces": "l2"}, r"^spaces: should be a list, such as \['l2'\]$"),
        ("models:/x/1", {"seed": -1, "profile": "x"}, "^profile: .*'quick', .*; seed: .* greater than or equal to 0$"),
        ("models:/x/1", {"input_size": "32x32"}, "^input_size is '32x32', which is no size in pixels.$"),
        ("models:/x/1", {"input_size": (1, 2, 3)}, "^input_size is "),
        ("models:/x/1", {"input_size": 0}, "^input_size: .* greater than 0$"),
        ("models:/x/1", {"std": (1.0,)}, "^the model's input: mean and std go together"),
    ],
)
def test_what_cannot_be_asked_for_is_a_usage_error(
    model: Any, options: dict[str, Any], says: str, tmp_path: Path
) -> None:
    options = dict(options)
    pixels = images(12) if options.pop("images", None) is None else write_images(tmp_path, images(12))
    with pytest.raises(UsageError, match=says) as caught:
        scan(model, pixels, **options)
    assert caught.value.hint
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"), [("profle", "profile"), ("memory", "memory_bytes"), ("input-size", "input_size")]
)
def test_who_mistypes_an_option_is_asked_which_one_was_meant(name: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        scan("models:/x/1", **{name: 1})
    assert caught.value.hint == f"Did you mean {meant}?"


@pytest.mark.parametrize("size", [16, np.int64(16), (16, 16), [16, 16], torch.Size([16, 16])])
def test_a_number_or_a_pair_is_a_size(size: Any) -> None:
    asked = _with_input({"input_size": size, "channels": 3})["input"]
    assert (asked.height, asked.width, asked.channels) == (16, 16, 3)


def test_reports_are_written_for_a_module_as_well(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = {**FAST, **BLACK_AND_WHITE, "labels": [f"<b>{t}</b>" for t in range(CLASSES)]}
    result = smoothscan.check(PlantedNet(backdoored=True), images(), out, **options)
    assert result.gate is not None
    assert (result.gate.passed, result.gate.exit_code) == (False, 1)
    assert result.write_back.status == "off"
    assert ScanResult.model_validate_json((out / "result.json").read_text()) == result
    page = (out / "report.html").read_text()
    assert "not looked at: a Python program handed the model over" in page
    assert "in a process that this machine cannot confine" not in page
    assert (out / "perturbations").is_dir()


def test_pictures_travel_with_a_result_and_are_no_part_of_it() -> None:
    result = scan(PlantedNet(backdoored=True))
    assert result.pictures[0].title == "perturbation for 4"
    read = ScanResult.model_validate_json(result.model_dump_json())
    assert read.pictures == ()
    assert read == result
    assert read != result.model_copy(update={"verdict": "clean"})
    assert "pictures" not in str(ScanResult.model_json_schema())
    there = pickle.loads(pickle.dumps(result))
    assert (there, there.pictures) == (result, result.pictures)
    assert there._repr_html_() == result._repr_html_()
    redacted = scan(PlantedNet(backdoored=True), redact_images=True)
    assert [picture.title for picture in redacted.pictures] == ["perturbation for 4"]
    assert repr(result) == "<ScanResult memory:PlantedNet: suspicious target_classes=(4) score=0.563>"
    assert str(result).startswith(repr(result) + "\n  Class 4: a perturbation of L2 norm ")


def test_a_digest_is_of_weights_and_names() -> None:
    first, second = nn.Linear(4, 2), nn.Linear(4, 2)
    second.load_state_dict(first.state_dict())
    assert digest(first) == digest(second)
    assert digest(first) != digest(first.half())
    with torch.no_grad():
        second.bias[0] += 1e-3
    assert digest(second) not in (digest(first), digest(nn.Sequential(second)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_a_module_is_scanned_where_it_is_and_a_copy_where_it_is_asked_for() -> None:
    module = PlantedNet(backdoored=True)
    assert scan(module, device="cuda").cost.device.startswith("cuda")
    assert module.head.device.type == "cpu"
    result = scan(module.cuda())
    assert (result.cost.device, result.target_classes) == ("cuda:0", (TARGET,))
