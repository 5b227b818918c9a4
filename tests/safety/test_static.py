from __future__ import annotations

import io
import json
import os
import pickle
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smoothscan.safety import inspection as inspection_module
from smoothscan.safety import pt2, static
from smoothscan.safety.inspection import Inspection
from smoothscan.safety.interface import Opinion, Piece
from smoothscan.safety.pt2 import archive_findings
from smoothscan.safety.static import check
from smoothscan.sandbox.process import Finished

from .corpus import onnx_file

Records = dict[str, bytes]
GRAPH = "model/models/model.json"
SAMPLES = "model/data/sample_inputs/model.pt"
CONFIG = "model/data/weights/model_weights_config.json"


class Bomb:
    """A pickle of this makes a folder in the current one when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("exploded",))


def records_of(path: Path) -> Records:
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def write(path: Path, records: Records, compression: int = zipfile.ZIP_STORED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return path


def torch_save(pickled: bytes, name: str = "archive/data.pkl") -> bytes:
    """A checkpoint as torch.save writes it, with a pickle of our own."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, pickled)
        archive.writestr("archive/data/0", b"1234")
    return buffer.getvalue()


@pytest.fixture
def honest(registry: Any) -> Records:
    """What torch.export.save really writes."""
    return records_of(registry.model_folder("tiny-pt2") / "data" / "model.pt2")


def edited(records: Records, edit: Callable[[Any], None], name: str = GRAPH) -> Records:
    document = json.loads(records[name])
    edit(document)
    return {**records, name: json.dumps(document).encode()}


def test_exported_models_are_data(registry: Any) -> None:
    for name in ("tiny-pt2", "tiny-static"):
        report = check(registry.model_folder(name), {"flavors": {"pytorch": {"code": None}}})
        assert report.findings == ()
        assert not report.needs_model_code


def test_a_pickled_model_with_code_is_not(registry: Any) -> None:
    report = check(registry.model_folder("tiny-pickle"), {"flavors": {"pytorch": {"code": "code"}}})
    assert report.needs_model_code
    assert "pickle" in report.findings[0]
    assert "tiny_net.TinyNet" in report.findings[0]
    assert report.findings[1] == "1 code file(s) are imported from 'code': 'tiny_net.py'"


def test_nothing_is_run(tmp_path: Path, honest: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "model.pth").write_bytes(pickle.dumps(Bomb()))
    write(tmp_path / "data" / "model.pt2", {**honest, SAMPLES: torch_save(pickle.dumps(Bomb(), 2))})
    report = check(tmp_path, {})
    assert "posix.mkdir" in report.findings[0]
    assert "posix.mkdir" in report.findings[1]
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04nonsense", b"\xff" * 100])
def test_a_broken_pickle_is_still_a_pickle(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "model.pth").write_bytes(content)
    assert check(tmp_path, {}).needs_model_code


@pytest.mark.parametrize(
    ("flavors", "files", "needed"),
    [
        ({"pytorch": {"code": "code"}}, ["code/a.py"], True),
        ({"pytorch": {"code": "code"}}, ["code/deep/a.so"], True),
        ({"pytorch": {"code": "code"}}, ["code/labels.txt"], False),
        ({"pytorch": {"code": None}, "python_function": {"code": "code"}}, ["code/a.py"], True),
        ({"pytorch": {"code": None}}, ["requirements.txt", "conda.yaml", "input_example.json"], False),
        ({"pytorch": {"code": "../outside"}}, [], True),
        ({"pytorch": {"code": ["code"]}}, ["code/a.py"], True),
        ({"python_function": {"loader_module": "theirs"}}, [], True),
        ({"python_function": {"loader_module": "mlflow.pytorch"}}, [], False),
        (None, [], False),
    ],
)
def test_shipped_code(flavors: Any, files: list[str], needed: bool, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert check(tmp_path, {"flavors": flavors}).needs_model_code is needed


def set_symbol(text: str) -> Callable[[Any], None]:
    def edit(document: Any) -> None:
        document["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]["as_expr"]["expr_str"] = text

    return edit


def set_target(text: str) -> Callable[[Any], None]:
    def edit(document: Any) -> None:
        document["graph_module"]["graph"]["nodes"][0]["target"] = text

    return edit


def set_guard(text: str) -> Callable[[Any], None]:
    return lambda document: document.update(guards_code=[text])


def set_tree(text: str) -> Callable[[Any], None]:
    return lambda document: document["graph_module"]["module_call_graph"][0]["signature"].update(in_spec=text)


def set_argument(text: str) -> Callable[[Any], None]:
    return lambda document: document["graph_module"]["graph"]["inputs"][0]["as_tensor"].update(name=text)


@pytest.mark.parametrize(
    "edit",
    [
        set_symbol("__import__('os').mkdir('exploded') or Symbol('s77')"),
        set_symbol('Max(\'__import__("os").mkdir("exploded")\', 1)'),
        set_symbol("S.__class__"),
        set_symbol("[x for x in (1,)]"),
        set_symbol("s77 + (lambda: 1)()"),
        set_symbol("("),
        set_symbol("-" * 9000 + "1"),
        set_symbol("1+" * 40_000 + "1"),
        set_guard("__import__('os').mkdir('exploded') is None"),
        set_guard("L['x'].__class__ == 1"),
        set_guard("L['it\\'s') or exec(1) or ('x'].size()[0] == 2"),
        set_guard("L['x'].size()[exec('1')] == 2"),
        set_guard("math.__loader__ == 1"),
        set_target("torch.hub.os.system"),
        set_target("torch.ops.load_library"),
        set_target("torch.ops.aten.from_file.default"),
        set_target("torch.ops.aten.__class__"),
        set_target("_operator.methodcaller"),
        set_target("#torch.export.custom"),
        set_target("builtins.eval"),
        set_tree('[1, {"type": "collections.defaultdict", "context": "{}", "children_spec": []}]'),
        set_tree("nonsense"),
        set_argument("x=__import__('os').mkdir('exploded')"),
        lambda document: document["graph_module"]["graph"]["tensor_values"].update({"a=b()": {}}),
    ],
)
def test_code_in_the_graph_is_found(edit: Callable[[Any], None], honest: Records, tmp_path: Path) -> None:
    findings = archive_findings(write(tmp_path / "model.pt2", edited(honest, edit)))
    assert len(findings) == 1
    assert GRAPH in findings[0]
    assert len(findings[0]) < 400


@pytest.mark.parametrize(
    "edit",
    [
        set_symbol("Max(1, 2*Symbol('s77', positive=True, integer=True)) + FloorDiv(s1, 2) - 3"),
        set_guard("(L['x'].size()[0] // 2) <= L['x'].size()[0] and L['x'].stride()[1] != 1"),
        set_guard("math.ceil(L['x'].size()[0]) == 4"),
        set_target("torch.ops.aten._softmax.default"),
        set_target("torch.ops.aten.__and__.Tensor"),
        set_target("_operator.getitem"),
        set_target("torch.sym_max"),
        set_target("torch.ops.higher_order.wrap_with_set_grad_enabled"),
    ],
)
def test_ordinary_graphs_are_not_found(edit: Callable[[Any], None], honest: Records, tmp_path: Path) -> None:
    assert archive_findings(write(tmp_path / "model.pt2", edited(honest, edit))) == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (SAMPLES, torch_save(pickle.dumps(Bomb(), 2)), "refers to 'posix.mkdir'"),
        (SAMPLES, torch_save(pickle.dumps(Bomb(), 4)), "opcode STACK_GLOBAL"),
        (SAMPLES, torch_save(b"nonsense"), "no readable pickle"),
        (SAMPLES, torch_save(pickle.dumps([1]), "archive/constants.pkl"), "no file of torch.save"),
        (SAMPLES, pickle.dumps([1]), "neither text, JSON nor a listed tensor"),
        (SAMPLES, b"PK\x03\x04 and no more", "begins like an archive"),
        ("model/data/aotinductor/model/model.so", b"\x7fELF", "neither text"),
        ("model/data/weights/weight_9", b"\x80\x02.", "neither text"),
        ("model/data/constants/custom_obj_0", pickle.dumps(Bomb()), "neither text"),
        ("model/extra/notes.json", b"no json", "is no JSON"),
        ("model/extra/deep.json", b"[" * 100_000 + b"]" * 100_000, "is no JSON"),
        ("model/version", b"cos\nsystem\n", "short text"),
        ("model/BYTEORDER", b"little", "appears twice"),
    ],
)
def test_records_that_are_no_data_are_named(
    name: str, content: bytes, said: str, honest: Records, tmp_path: Path
) -> None:
    findings = archive_findings(write(tmp_path / "model.pt2", {**honest, name: content}))
    assert any(said in finding and name.split("/")[-1] in finding for finding in findings)


def test_tensors_and_containers_in_a_pickle_are_data(honest: Records, tmp_path: Path) -> None:
    content = torch_save(pickle.dumps((OrderedDict(), [1, 2.5, "a", None, True], {"b": (3,)}), 2))
    assert archive_findings(write(tmp_path / "model.pt2", {**honest, SAMPLES: content})) == []


def test_a_weight_that_the_archive_wants_unpickled_is_read(honest: Records, tmp_path: Path) -> None:
    def pickled(document: Any) -> None:
        next(iter(document["config"].values()))["use_pickle"] = True

    findings = archive_findings(write(tmp_path / "model.pt2", edited(honest, pickled, CONFIG)))
    assert len(findings) == 1
    assert "weight_0" in findings[0]


def test_a_second_configuration_can_not_excuse_a_pickle(honest: Records, tmp_path: Path) -> None:
    config = json.loads(honest[CONFIG])
    next(iter(config["config"].values()))["use_pickle"] = True
    other = CONFIG.replace("model_weights", "other_weights")
    findings = archive_findings(write(tmp_path / "model.pt2", {**honest, other: json.dumps(config).encode()}))
    assert any("weight_0" in finding for finding in findings)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06"])
def test_what_is_no_archive(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.pt2").write_bytes(content)
    assert "cannot be read as an archive" in archive_findings(tmp_path / "model.pt2")[0]


def test_bombs_are_not_unpacked(honest: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pt2, "MAX_JSON_BYTES", 2**20)
    sparse = {**honest, "model/extra/bomb.json": b"[" + b" " * 2**26 + b"]"}
    path = write(tmp_path / "model.pt2", sparse, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**20
    findings = archive_findings(path)
    assert any("bomb.json" in finding and "at most 1 MiB" in finding for finding in findings)


def test_many_findings_are_cut(honest: Records, tmp_path: Path) -> None:
    many = {f"model/data/{number}": b"?" for number in range(50)}
    assert len(archive_findings(write(tmp_path / "model.pt2", {**honest, **many}))) == pt2.MAX_FINDINGS


def test_too_many_records_are_not_looked_at(honest: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pt2, "MAX_RECORDS", 5)
    assert "more than the 5" in archive_findings(write(tmp_path / "model.pt2", honest))[0]


def plain(folder: Path, **files: bytes) -> Path:
    for name, content in {"MLmodel": b"flavors: {}\n", **files}.items():
        (folder / name).write_bytes(content)
    return folder


EMPTY = b'{"files": {}, "scanners": {}, "architecture": [], "architecture_examined": false}'


@pytest.mark.parametrize(
    ("code", "output", "said"),
    [
        (0, b"", "no answer that can be read"),
        (0, b"{}", "no answer that can be read"),
        (0, EMPTY.replace(b"{}", b'{"MLmodel": 1}', 1), "no answer that can be read"),
        (0, b"[" * 100_000, "no answer that can be read"),
        (0, EMPTY, "no scanner understands this file"),
        (None, EMPTY, "took more than"),
        (-9, EMPTY, "ended with status -9"),
    ],
)
def test_scanners_that_come_to_no_end_leave_every_file_unexamined(
    code: int | None, output: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static, "run", lambda *_, **__: Finished(code, output, ""))
    report = check(plain(tmp_path, **{"labels.txt": b"cat\n"}), {})
    assert report.unexamined == ("MLmodel", "labels.txt")
    assert [finding.split(": ")[0] for finding in report.findings] == ["MLmodel", "labels.txt"]
    assert all(said in finding for finding in report.findings)
    assert report.needs_model_code
    assert not report.architecture_examined


def test_a_process_that_does_not_start_leaves_every_file_unexamined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Finished:
        raise OSError("no memory")

    monkeypatch.setattr(static, "run", fail)
    report = check(plain(tmp_path), {})
    assert report.findings == ("MLmodel: the scanners gave no answer that can be read (OSError)",)


def test_what_the_scanners_say_of_an_architecture_is_plain_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = {"file": "a", "operation": "\x1b[2J", "kind": "gate", "count": 1, "detail": "d", "technique": "AML.T0018"}
    output = EMPTY.replace(b"[]", json.dumps([step]).encode()).replace(b"false", b"true")
    monkeypatch.setattr(static, "run", lambda *_, **__: Finished(0, output, ""))
    report = check(plain(tmp_path), {})
    assert report.architecture_examined
    assert report.architecture[0].operation == "?[2J"


def test_the_order_of_findings(tmp_path: Path) -> None:
    files = {"a.py": b"1\n", "blob.xyz": b"\1\2", "evil.pkl": pickle.dumps(Bomb())}
    report = check(plain(tmp_path, **files), {})
    assert report.unexamined == ("blob.xyz",)
    assert report.findings[0] == report.dangerous[0]
    assert report.findings[0].startswith("evil.pkl: ")
    assert report.findings[len(report.dangerous)] == "blob.xyz: no scanner understands this file"
    assert "evil.pkl is a pickle" in " ".join(report.findings[len(report.dangerous) :])
    assert {"pickle", "picklescan", "fickling", "program", "text"} == report.scanners.keys()


def test_what_is_no_plain_file_is_dangerous(tmp_path: Path) -> None:
    plain(tmp_path)
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "folder").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe")
    report = check(tmp_path, {})
    assert report.dangerous == ("folder is no plain file", "link is no plain file", "pipe is no plain file")


def test_names_and_words_of_the_author_are_made_harmless(tmp_path: Path) -> None:
    name = "a\x1b[31m\nb" + "x" * 150 + ".xyz"
    member = write(tmp_path / "c.zip", {"\x1b]0;" + "y" * 5000: pickle.dumps(Bomb())})
    assert member.exists()
    report = check(plain(tmp_path, **{name: b"\1"}), {})
    for text in (*report.findings, *report.dangerous, *report.unexamined, *report.scanners):
        assert text.isprintable()
        assert len(text) <= 403


def test_findings_are_bounded_in_number(tmp_path: Path) -> None:
    report = check(plain(tmp_path, **{f"{number:03}.pkl": pickle.dumps(Bomb()) for number in range(120)}), {})
    assert len(report.dangerous) == static.MAX_FINDINGS + 1
    assert report.dangerous[-1].endswith("more of the kind")


def test_a_scanner_that_fails_does_not_approve(tmp_path: Path) -> None:
    class Broken:
        name = "broken"
        version = "1"

        def examine(self, piece: Piece) -> Opinion | None:
            raise RecursionError

    inspection = Inspection()
    inspection.examiners = (Broken(),)
    account = inspection.account(plain(tmp_path), "MLmodel")
    assert not account.understood
    assert account.unread == ["MLmodel"]
    assert account.failures == ["MLmodel: the scanner broken failed (RecursionError)"]


def test_a_scanner_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        name = "slow"
        version = "1"

        def examine(self, piece: Piece) -> Opinion | None:
            time.sleep(60)
            return Opinion()

    monkeypatch.setattr(inspection_module, "SECONDS", 0.1)
    inspection = Inspection()
    inspection.examiners = (Slow(),)
    assert not inspection.account(plain(tmp_path), "MLmodel").understood


def test_archives_in_archives_are_opened_to_a_depth(tmp_path: Path) -> None:
    content = b"text"
    for depth in range(inspection_module.MAX_DEPTH + 1):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("a.txt" if depth == 0 else "a.zip", content)
        content = buffer.getvalue()
    report = check(plain(tmp_path, **{"a.zip": content}), {})
    assert report.unexamined == ("a.zip",)


def test_numbers_beside_a_graph_are_understood_with_it(tmp_path: Path) -> None:
    files = {"model.onnx": onnx_file(location="model.data"), "model.data": bytes(range(16)), "other.data": b"\1"}
    report = check(plain(tmp_path, **files), {})
    assert report.unexamined == ("other.data",)
    assert report.dangerous == ()


def test_a_graph_cannot_excuse_what_promises_to_be_something_else(tmp_path: Path) -> None:
    files = {"model.onnx": onnx_file(location="extra.7z"), "extra.7z": b"7z\xbc\xaf\x27\x1c" + b"\0" * 60}
    assert check(plain(tmp_path, **files), {}).unexamined == ("extra.7z",)
