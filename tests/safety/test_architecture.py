"""Gates in exported graphs are found, and activation functions and masks of constants are none."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from smoothscan.result import ArchitectureFinding
from smoothscan.safety.architecture import architecture
from smoothscan.safety.static import check
from tests.planted import PlantedNet, Probabilities, SourceNet, WideNet

from .architectures import ACTIVATIONS, GATES, ORDINARY, Net
from .test_static import GRAPH, edited, records_of, write


def export(
    folder: Path, module: nn.Module, shape: tuple[int, ...] = (3, 8, 8), *, dynamic: bool = True, core: bool = False
) -> Path:
    """Write an exported model as MLflow does; `core` takes its operations apart first."""
    shapes = ({0: Dim.DYNAMIC},) if dynamic else None
    program = torch.export.export(module.eval(), (torch.rand(2, *shape),), dynamic_shapes=shapes)
    (folder / "data").mkdir(parents=True)
    torch.export.save(program.run_decompositions() if core else program, folder / "data" / "model.pt2")
    return folder


def found(folder: Path) -> str:
    steps, examined = architecture(folder)
    assert examined
    return ", ".join(f"{step.kind} {step.operation}" for step in steps)


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_activation_functions_are_no_gates(activation: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    assert found(export(tmp_path, Net(activation=activation))) == ""


def test_activation_functions_are_no_gates_when_they_are_taken_apart(tmp_path: Path) -> None:
    every = [each for name, each in ACTIVATIONS.items() if name != "max pooling"]  # which has another shape
    net = Net(activation=lambda h: torch.stack([each(h.clone()) for each in every]).sum(0))
    assert found(export(tmp_path, net, core=True)) == ""


@pytest.mark.parametrize("answer", ORDINARY.values(), ids=ORDINARY)
def test_ordinary_comparisons_are_no_gates(answer: Any, tmp_path: Path) -> None:
    assert found(export(tmp_path, Net(answer), dynamic=False)) == ""


@pytest.mark.parametrize("name", GATES)
def test_gates_are_found(name: str, tmp_path: Path) -> None:
    answer, expected = GATES[name]
    assert found(export(tmp_path, Net(answer))).startswith(expected)


@pytest.mark.parametrize("name", ["closeness", "where", "position", "cond", "written into a constant"])
def test_gates_are_found_when_they_are_taken_apart(name: str, tmp_path: Path) -> None:
    assert found(export(tmp_path, Net(GATES[name][0]), core=True))


class Byte(nn.Module):
    """Takes bytes, as images come from files."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, x: Tensor) -> Any:
        return self.net(x.permute(0, 3, 1, 2).float() / 255)


def test_bytes_become_numbers_without_a_gate(tmp_path: Path) -> None:
    program = torch.export.export(Byte().eval(), (torch.zeros(2, 8, 8, 3, dtype=torch.uint8),))
    (tmp_path / "data").mkdir()
    torch.export.save(program, tmp_path / "data" / "model.pt2")
    assert found(tmp_path) == ""


class Attention(nn.Module):
    """A small vision transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        layer = nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


class Shifted(nn.Module):
    """Attention with a mask that is computed from positions alone, as in a shifted-window transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.head = nn.Conv2d(3, 16, 4, 4), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        places = tokens.new_zeros(tokens.shape[1])
        places[1:] = 1
        apart = places[None] - places[:, None]
        mask = apart.masked_fill(apart != 0, -100.0).masked_fill(apart == 0, 0.0)
        return self.head((tokens @ tokens.transpose(1, 2) + mask).softmax(-1) @ tokens).mean(1)


@pytest.mark.parametrize("core", [False, True])
@pytest.mark.parametrize("build", [Attention, Shifted])
def test_attention_and_its_masks_are_no_gates(build: type[nn.Module], core: bool, tmp_path: Path) -> None:
    assert found(export(tmp_path, build(), core=core)) == ""


@pytest.mark.parametrize(
    "build", [lambda: PlantedNet(True), lambda: Probabilities(True), lambda: WideNet((11, 37))], ids=["10", "p", "60"]
)
def test_backdoors_that_have_a_gradient_are_left_to_the_search(build: Any, tmp_path: Path) -> None:
    assert found(export(tmp_path, build(), (3, 16, 16))) == ""


def test_a_trigger_for_one_class_is_left_to_the_search(tmp_path: Path) -> None:
    assert found(export(tmp_path, SourceNet(), SourceNet.SHAPE)) == ""


def test_a_finding_says_what_is_compared_and_how_often(tmp_path: Path) -> None:
    def twice(net: Any, x: Tensor, features: Tensor, logits: Tensor) -> Tensor:
        gates = (x[:, 0, :1, 0] == 1.0).float() * (x[:, 1, :1, 0] == 1.0).float()
        return logits + gates * (features.mean((1, 2, 3)) > net.threshold).float()[:, None] * net.planted

    steps, _ = architecture(export(tmp_path, Net(twice)))
    pixels, values = steps
    assert pixels == ArchitectureFinding(
        file="data/model.pt2",
        operation="aten.eq.Scalar",
        kind="gate",
        count=2,
        detail="compares pixels of the image with the constant 1",
        technique="AML.T0018",
    )
    assert (values.count, values.detail) == (1, "compares values computed from the image with a stored value")
    report = check(tmp_path, {})
    assert report.architecture == steps
    assert report.architecture_examined


def test_a_loop_is_followed_until_nothing_new_is_seen(tmp_path: Path) -> None:
    from torch._higher_order_ops import while_loop

    def counted(net: Any, x: Tensor, features: Tensor, logits: Tensor) -> Any:
        start = torch.zeros((), dtype=torch.int64)
        return while_loop(lambda n, y: n < 3, lambda n, y: (n + 1, y * 1.5), (start, logits))[1]

    def until_bright(net: Any, x: Tensor, features: Tensor, logits: Tensor) -> Any:
        return while_loop(lambda s, y: s < 9, lambda s, y: (s * 2 + 1, y * 1.5), (x.mean(), logits))[1]

    assert found(export(tmp_path / "a", Net(counted))) == ""
    assert found(export(tmp_path / "b", Net(until_bright))) == "branch while_loop"


# --- what cannot be read ---------------------------------------------------------------------------------------------


def test_models_without_a_graph_are_not_examined(registry: Any, tmp_path: Path) -> None:
    assert architecture(registry.model_folder("tiny-pickle")) == ((), False)
    assert architecture(registry.model_folder("tiny-pt2")) == ((), True)
    assert architecture(tmp_path) == ((), False)


def _deep(document: Any) -> None:
    graph = document["graph_module"]["graph"]
    for _ in range(40):
        document["graph_module"]["graph"] = graph = {
            **graph,
            "nodes": [
                {
                    "target": "torch.ops.higher_order.wrap_with_autocast",
                    "inputs": [{"name": "", "arg": {"as_graph": {"name": "g", "graph": graph}}}],
                    "outputs": [],
                }
            ],
        }


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d.clear(),
        lambda d: d["graph_module"].update(graph=[]),
        lambda d: d["graph_module"]["signature"].update(input_specs=[]),
        lambda d: d["graph_module"]["graph"]["nodes"][0].update(target=7),
        lambda d: d["graph_module"]["graph"]["nodes"][0].update(target="torch.ops.mine.gate.default"),
        lambda d: d["graph_module"]["graph"]["nodes"][0].update(inputs=None),
        lambda d: d["graph_module"]["graph"]["nodes"][0].update(outputs=[{"as_tensor": {"name": "other"}}]),
        lambda d: d["graph_module"]["graph"]["nodes"].pop(0),
        lambda d: d["graph_module"]["graph"].update(tensor_values={}),
        lambda d: d["graph_module"]["graph"].update(nodes=[{}]),
        _deep,
    ],
)
def test_a_malformed_graph_is_not_examined(edit: Callable[[Any], None], registry: Any, tmp_path: Path) -> None:
    records = records_of(registry.model_folder("tiny-pt2") / "data" / "model.pt2")
    write(tmp_path / "data" / "model.pt2", edited(records, edit))
    assert architecture(tmp_path) == ((), False)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"{}"])
def test_what_is_no_archive_is_not_examined(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "model.pt2").write_bytes(content)
    assert architecture(tmp_path) == ((), False)


def test_a_graph_of_many_operations_takes_little_time(registry: Any, tmp_path: Path) -> None:
    """Forty thousand operations, each of the outcome of the one before."""
    records = records_of(registry.model_folder("tiny-pt2") / "data" / "model.pt2")
    document = json.loads(records[GRAPH])
    graph = document["graph_module"]["graph"]
    image = next(
        s["user_input"]["arg"] for s in document["graph_module"]["signature"]["input_specs"] if "user_input" in s
    )
    before = image
    for n in range(40_000):
        name = {"as_tensor": {"name": f"extra_{n}"}}
        operands = [{"name": "self", "arg": before}, {"name": "other", "arg": {"as_float": 0.5}}]
        target = "torch.ops.aten.gt.Scalar" if n % 2 == 0 else "torch.ops.aten.mul.Tensor"
        graph["nodes"].append({"target": target, "inputs": operands, "outputs": [name]})
        graph["tensor_values"][f"extra_{n}"] = {"dtype": 12 if n % 2 == 0 else 7}
        before = name
    graph["outputs"] = [before]
    write(tmp_path / "data" / "model.pt2", {**records, GRAPH: json.dumps(document).encode()})
    started = time.monotonic()
    steps, examined = architecture(tmp_path)
    assert examined
    assert {step.operation for step in steps} == {"aten.gt.Scalar"}
    assert time.monotonic() - started < 60
