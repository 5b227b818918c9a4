"""Models whose files attack whoever opens them: refused before anything is loaded."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.stores import example_batch

from .conftest import Outcome, World, unharmed

Check = Callable[..., Outcome]
Build = Callable[[Path, World], None]


class Calls:
    """Its pickle calls a function when it is loaded."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def command(world: World) -> str:
    return f"touch {world.outside}/pwned"


def zipped(records: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def checkpoint(pickled: bytes) -> bytes:
    return zipped({"archive/data.pkl": pickled, "archive/version": b"3\n"})


def pth(folder: Path, content: bytes) -> None:
    (folder / "data" / "model.pt2").unlink(missing_ok=True)
    (folder / "data" / "model.pth").write_bytes(content)


def system_pickle(folder: Path, world: World) -> None:
    pth(folder, checkpoint(pickle.dumps(Calls(os.system, command(world)))))


def eval_pickle(folder: Path, world: World) -> None:
    pth(folder, checkpoint(pickle.dumps(Calls(eval, f"__import__('os').system({command(world)!r})"), protocol=0)))


def bare_pickle(folder: Path, world: World) -> None:
    pth(folder, pickle.dumps(Calls(exec, f"open({str(world.outside / 'pwned')!r}, 'w')")))


def second_pickle(folder: Path, world: World) -> None:
    pth(folder, pickle.dumps({"weights": 1}) + pickle.dumps(Calls(os.system, command(world))))


def exits_in_pickle(folder: Path, _world: World) -> None:
    pth(folder, checkpoint(pickle.dumps(Calls(os._exit, 0))))


def nested(folder: Path, world: World) -> None:
    inner = checkpoint(pickle.dumps(Calls(os.system, command(world))))
    pth(folder, zipped({"archive/data.pkl": pickle.dumps({}), "archive/inner.zip": zipped({"inner.pth": inner})}))


def inside_pt2(folder: Path, world: World) -> None:
    archive = folder / "data" / "model.pt2"
    with zipfile.ZipFile(archive) as given:
        records = {info.filename: given.read(info) for info in given.infolist()}
    name = next((name for name in records if "sample_inputs" in name), "model/data/sample_inputs/model.pt")
    archive.write_bytes(zipped({**records, name: checkpoint(pickle.dumps(Calls(os.system, command(world)), 2))}))


def code_in_graph(folder: Path, world: World) -> None:
    archive = folder / "data" / "model.pt2"
    with zipfile.ZipFile(archive) as given:
        records = {info.filename: given.read(info) for info in given.infolist()}
    name = next(name for name in records if name.endswith("models/model.json"))
    document = json.loads(records[name])
    document["range_constraints"] = {"s0": {"min_val": 0, "max_val": 2}}
    hint = {"as_expr": {"expr_str": f"__import__('os').system({command(world)!r})", "hint": None}}
    document["graph_module"]["graph"].setdefault("sym_int_values", {})["s0"] = hint
    archive.write_bytes(zipped({**records, name: json.dumps(document).encode()}))


def bomb(folder: Path, _world: World) -> None:
    pth(folder, zipped({"archive/data.pkl": pickle.dumps({}), "archive/data/0": bytes(2**29)}, zipfile.ZIP_DEFLATED))


def traversal(folder: Path, _world: World) -> None:
    pth(folder, zipped({"archive/data.pkl": pickle.dumps({}), "../../../../outside/pwned": b"x"}))


def link_in_archive(folder: Path, world: World) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        link = zipfile.ZipInfo("archive/data/0")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, str(world.secret))
    pth(folder, buffer.getvalue())


def link_in_folder(folder: Path, world: World) -> None:
    (folder / "data" / "extra.json").symlink_to(world.secret)


def huge_tensor(folder: Path, _world: World) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)


def huge_header(folder: Path, _world: World) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")


def disguised(folder: Path, world: World) -> None:
    (folder / "README.md").write_bytes(pickle.dumps(Calls(os.system, command(world))))


def renamed(folder: Path, world: World) -> None:
    (folder / "weights.safetensors").write_bytes(pickle.dumps(Calls(os.system, command(world))))


def library(folder: Path, _world: World) -> None:
    (folder / "helper.so").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(200))


def unknown(folder: Path, _world: World) -> None:
    (folder / "weights.dat").write_bytes(bytes(range(256)) * 64)


def truncated(folder: Path, _world: World) -> None:
    archive = folder / "data" / "model.pt2"
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])


CASES: tuple[tuple[Build, str], ...] = (
    (system_pickle, "system"),
    (eval_pickle, "eval"),
    (bare_pickle, "exec"),
    (second_pickle, "system"),
    (exits_in_pickle, "_exit"),
    (nested, "system"),
    (inside_pt2, "system"),
    (code_in_graph, "not plain arithmetic"),
    (bomb, "archive"),
    (traversal, "outside/pwned"),
    (link_in_archive, "link"),
    (huge_tensor, "model.safetensors"),
    (huge_header, "model.safetensors"),
    (disguised, "README.md"),
    (renamed, "weights.safetensors"),
    (library, "helper.so"),
    (unknown, "weights.dat"),
    (truncated, "model.pt2"),
)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ordinary model in MLflow's default format."""
    import mlflow.pytorch

    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 10)).eval()
    folder = tmp_path_factory.mktemp("exported") / "model"
    mlflow.pytorch.save_model(
        net, folder, serialization_format="pt2", input_example=example_batch(2), pip_requirements=["torch"]
    )
    return folder


@pytest.mark.parametrize(("build", "said"), CASES, ids=[build.__name__ for build, _ in CASES])
def test_hostile_files_are_refused_before_anything_is_loaded(
    build: Build, said: str, exported: Path, check: Check, world: World
) -> None:
    outcome = check(copied(exported, world, build))
    assert (outcome.code, outcome.result.status) == (3, "refused"), outcome.output
    assert said in " ".join((*outcome.result.reasons, *outcome.result.safety.findings))
    assert outcome.result.safety.dangerous or outcome.result.safety.unexamined
    assert not outcome.result.safety.model_code_executed
    assert "--allow-model-code" in outcome.output
    assert outcome.seconds < 60
    unharmed(world, outcome)


def test_a_link_out_of_the_folder_is_not_followed(exported: Path, check: Check, world: World) -> None:
    outcome = check(copied(exported, world, link_in_folder))
    assert (outcome.code, outcome.result.status) == (3, "failed"), outcome.output
    assert "symbolic link" in outcome.output
    unharmed(world, outcome)


def copied(model: Path, world: World, build: Build) -> Path:
    import shutil

    folder = world.folder / "model"
    shutil.copytree(model, folder)
    build(folder, world)
    return folder
