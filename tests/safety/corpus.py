"""Files for the static check, hostile and ordinary. Made when they are asked for; nothing here runs when it is read."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import pickletools
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

Expected = Literal["dangerous", "code", "clean", "unexamined"]
COMMAND = "echo exploded > exploded"


@dataclass(frozen=True)
class Fixture:
    """A file of a model."""

    name: str
    """What it shows."""
    file: str
    """Path in the model's folder."""
    make: Callable[[], bytes]
    """Its bytes."""
    expected: Expected
    """What the static check has to say."""


class Call:
    """A pickle of this calls a function when it is loaded."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def os_system(protocol: int = 2) -> bytes:
    import os

    return pickle.dumps(Call(os.system, COMMAND), protocol)


def named(module: str, name: str, *arguments: str) -> bytes:
    """A pickle that calls something by name; the argument is text."""
    texts = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in arguments)
    return (
        b"\x80\x04"
        + b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name))
        + b"\x93("
        + texts
        + b"tR."
    )


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def checkpoint(pickled: bytes, **members: bytes) -> bytes:
    """A file of torch.save with a pickle of our own."""
    more = {f"archive/{name}": content for name, content in members.items()}
    return zipped({"archive/data.pkl": pickled, "archive/version": b"3\n", **more})


def tensor_pickle(numel: int, size: int, stride: int = 1, key: str = "0") -> bytes:
    """The pickle of one tensor as torch.save writes it, with sizes of our own."""

    def number(n: int) -> bytes:
        return b"\x8a\x09" + n.to_bytes(9, "little")

    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00" + key.encode()
    storage += b"X\x03\x00\x00\x00cpu" + number(numel) + b"tQ"
    rest = b"K\x00" + number(size) + b"\x85" + number(stride) + b"\x85\x89ccollections\nOrderedDict\n)R"
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"tR."


def legacy(pickled: bytes | None = None, obj: Any = None) -> bytes:
    """A file as torch.save wrote it before it wrote archives; the fourth of its pickles may be of our own."""
    import torch

    buffer = io.BytesIO()
    torch.save(obj if obj is not None else [1], buffer, _use_new_zipfile_serialization=False)
    if pickled is None:
        return buffer.getvalue()
    content = buffer.getvalue()
    ends = []
    reader = io.BytesIO(content)
    for _ in range(4):
        list(pickletools.genops(reader))
        ends.append(reader.tell())
    return content[: ends[2]] + pickled + content[ends[3] :]


def saved(obj: Any) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(obj, buffer)
    return buffer.getvalue()


def exported() -> bytes:
    import torch
    from torch import nn

    buffer = io.BytesIO()
    program = torch.export.export(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval(), (torch.rand(2, 3, 2, 2),))
    torch.export.save(program, buffer)
    return buffer.getvalue()


def exported_with(place: str, content: Callable[[], bytes]) -> bytes:
    """An exported archive in which the records that end so are replaced."""
    with zipfile.ZipFile(io.BytesIO(exported())) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    root = next(iter(members)).split("/")[0]
    matching = [name for name in members if name.endswith(place)] or [f"{root}/{place}"]
    return zipped({**members, **dict.fromkeys(matching, content())})


OF_TORCHVISION = "\n    _0 = __torch__.torchvision.ops.misc.Conv2dNormActivation\n"
"""Code that names a class whose path looks like an operator's."""


def traced() -> bytes:
    """A TorchScript archive of a trace."""
    import torch
    from torch import nn

    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.rand(2, 3, 2, 2)), buffer)
    return buffer.getvalue()


def scripted(more: str = "") -> bytes:
    """A TorchScript archive, with more code behind its own."""
    import torch
    from torch import nn

    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(12, 3))), buffer)
    with zipfile.ZipFile(buffer) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    name = next(name for name in members if name.endswith(".py"))
    return zipped({**members, name: members[name] + more.encode()}) if more else buffer.getvalue()


def safetensors_file(header: Any = None, data: bytes = b"\0" * 16, length: int | None = None) -> bytes:
    described = {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}} if header is None else header
    text = described if isinstance(described, bytes) else json.dumps(described).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def with_link() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", tensor_pickle(1, 1))
        link = zipfile.ZipInfo("archive/data/0")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, b"/etc/passwd")
    return buffer.getvalue()


def twice() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1], 2))
        archive.writestr("archive/DATA.pkl", os_system())
    return buffer.getvalue()


def encrypted() -> bytes:
    content = bytearray(checkpoint(os_system()))
    content[6] |= 1
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    first = content.index(b"PK\x01\x02")
    content[first + 8] |= 1
    return bytes(content)


def tar(name: str, content: bytes, link: str | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        if link:
            info.type, info.linkname, info.size = tarfile.SYMTYPE, link, 0
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def message(number: int, *contents: bytes | str | int) -> bytes:
    """Fields of a protocol buffer."""
    fields = b""
    for content in contents:
        if isinstance(content, int):
            fields += varint(number << 3) + varint(content)
        else:
            raw = content.encode() if isinstance(content, str) else content
            fields += varint(number << 3 | 2) + varint(len(raw)) + raw
    return fields


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def onnx_file(domain: str = "", location: str = "", raw: bytes = b"\0" * 16) -> bytes:
    """A graph of one operator and one tensor of four numbers, inside or in a file beside it."""
    numbers = (
        message(13, message(1, "location") + message(2, location)) + message(14, 1) if location else message(9, raw)
    )
    tensor = message(1, 4) + message(2, 1) + message(8, "weight") + numbers
    node = message(1, "x", "weight") + message(2, "y") + message(4, "Add") + message(7, domain)
    return message(1, 8) + message(7, message(1, node) + message(2, "graph") + message(5, tensor)) + message(8, b"")


def two_directories() -> bytes:
    """An archive whose end states one directory, which torch believes, with another where Python looks for it."""
    honest, evil = checkpoint(pickle.dumps([1], 2)), checkpoint(os_system())
    begin = honest.index(b"PK\x01\x02")
    stated = struct.unpack("<4s4H2LH", evil[-22:])
    end = struct.pack("<4s4H2LH", *stated[:5], len(honest) - 22 - begin, stated[6], 0)
    return evil[:-22] + honest[:-22] + end


def pickle_and_tar() -> bytes:
    """A pickle of a text, which torch reads as the tar archive that the text is."""
    inside = tar("pickle", os_system())
    prefix = b"\x80\x02B" + struct.pack("<I", len(inside) - 7)
    header = bytearray(prefix + inside[7:512])
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + inside[512:] + b"."


def png(behind: bytes = b"") -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue() + behind


def bytecode() -> bytes:
    import importlib.util
    import marshal

    return importlib.util.MAGIC_NUMBER + b"\0" * 12 + marshal.dumps(compile("1", "a", "exec"))


def array(values: Any) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, np.array(values, dtype=object if isinstance(values[0], dict) else None), allow_pickle=True)
    return buffer.getvalue()


def nested() -> bytes:
    content = os_system()
    return b"\x80\x04ctorch.storage\n_load_from_bytes\nB" + struct.pack("<I", len(content)) + content + b"\x85R."


def other_target() -> bytes:
    """The graph of an exported archive that names an operator outside of torch's."""
    return json.dumps({"graph_module": {"graph": {"nodes": [{"target": "torch.hub.os.system"}]}}}).encode()


def sample_inputs() -> bytes:
    return checkpoint(os_system())


CALLS = (
    *(("os", "system"), ("posix", "system"), ("nt", "system"), ("subprocess", "Popen"), ("builtins", "exec")),
    *(("builtins", "compile"), ("builtins", "open"), ("builtins", "__import__"), ("__builtin__", "eval")),
    *(
        ("socket", "create_connection"),
        ("sys", "exit"),
        ("shutil", "rmtree"),
        ("ctypes", "CDLL"),
        ("runpy", "run_path"),
    ),
    *(("importlib", "import_module"), ("webbrowser", "open"), ("pty", "spawn"), ("requests", "get")),
    *(("urllib.request", "urlopen"), ("pickle", "loads"), ("torch", "load"), ("torch.hub", "load")),
    *(("operator", "attrgetter"), ("_operator", "methodcaller"), ("types", "CodeType"), ("marshal", "loads")),
    *(("cProfile", "run"), ("timeit", "timeit"), ("pdb", "run"), ("code", "interact"), ("pydoc", "pipepager")),
    *(("imaplib", "IMAP4_stream"), ("logging", "FileHandler"), ("asyncio", "run"), ("trace", "Trace.run")),
    *(("multiprocessing.util", "spawnv_passfds"), ("test.support.script_helper", "assert_python_ok")),
    *(("numpy.f2py.crackfortran", "getlincoef"), ("numpy.testing._private.utils", "runstring")),
    *(("torch.utils.collect_env", "run"), ("torch.serialization", "os.system"), ("pandas", "read_pickle")),
    *(("dill", "loads"), ("joblib", "load"), ("site", "execsitecustomize"), ("zipimport", "zipimporter")),
    *(("platform", "popen"), ("tempfile", "mktemp"), ("linecache", "getlines"), ("smtplib", "SMTP")),
)
"""Names that no ordinary model calls."""


def bad(name: str, file: str, make: Callable[[], bytes], expected: Expected = "dangerous") -> Fixture:
    return Fixture(name, file, make, expected)


def hostile() -> Iterator[Fixture]:
    """Files that an attacker would send."""
    yield from hostile_by_hand()
    yield from hostile_by_torch()


def hostile_by_hand() -> Iterator[Fixture]:
    """Those that are made without torch, and in no time."""
    for protocol in (0, 2, 4, 5):
        yield bad(f"os.system, protocol {protocol}", "data/model.pth", lambda p=protocol: os_system(p))
        yield bad(f"eval, protocol {protocol}", "data/model.pth", lambda p=protocol: pickle.dumps(Call(eval, "1"), p))
    yield bad("os.system by INST", "data/model.pth", lambda: b"(S'true'\nios\nsystem\n.")
    yield bad("os.system by OBJ", "data/model.pth", lambda: b"(cos\nsystem\nS'true'\no.")
    indirect = b"\x80\x04\x8c\x02os\x940\x8c\x06system\x940h\x00h\x01\x93\x8c\x04true\x85R."
    yield bad("os.system through the memo", "data/model.pth", lambda: indirect)
    computed = b"\x80\x04\x8c\x02osc_operator\nadd\n\x8c\x03sys\x8c\x03tem\x86R\x93\x8c\x04true\x85R."
    yield bad("os.system, its name put together", "data/model.pth", lambda: computed)
    getter = b"cbuiltins\ngetattr\n("
    walked = b"\x80\x04" + getter + getter + b"ctorch\nserialization\n\x8c\x02ostR\x8c\x06systemtR\x8c\x01a\x85R."
    yield bad("os.system by getattr", "data/model.pth", lambda: walked)
    yield bad("a class of torch is changed", "data/model.pth", lambda: b"\x80\x02ctorch.nn\nModule\n}U\x01aNsb.")
    yield bad("an extension code", "data/model.pth", lambda: b"\x80\x02\x82\x01.")
    yield bad(
        "partial of os.system", "data/model.pth", lambda: named("functools", "partial")[:-4] + b"(cos\nsystem\ntR."
    )
    for module, name in CALLS:
        yield bad(f"{module}.{name}", "data/model.pth", lambda m=module, n=name: named(m, n, "true"))
    yield bad("os.system in a string that torch loads", "data/model.pth", nested)
    yield bad("os.system in torch.save", "data/model.pth", lambda: checkpoint(os_system()))
    yield bad("os.system in torch.save, other extension", "data/weights.bin", lambda: checkpoint(os_system(4)))
    yield bad("os.system in an extra record", "data/model.pth", lambda: checkpoint(pickle.dumps([1], 2), a=os_system()))
    yield bad("os.system in a zip in a zip", "extra.zip", lambda: zipped({"a.zip": zipped({"b.pkl": os_system()})}))
    yield bad("os.system in tar", "extra.tar", lambda: tar("a.pkl", os_system()))
    yield bad("os.system in gzip", "extra.pkl.gz", lambda: gzip.compress(os_system()))
    yield bad("os.system named .txt", "notes.txt", lambda: os_system(0))
    yield bad("os.system named .md", "README.md", lambda: os_system(4))
    yield bad("os.system named .safetensors", "model.safetensors", lambda: os_system(2))
    yield bad("os.system without extension", "weights", lambda: os_system(0))
    yield bad("a second, hostile pickle", "data/model.pth", lambda: pickle.dumps([1], 2) + os_system())
    yield bad("os.system and bytes behind it", "data/model.pth", lambda: os_system() + b"\0" * 100)
    yield bad("os.system, cut off", "data/model.pth", lambda: os_system()[:-1])
    yield bad(
        "an archive cut off", "data/model.pth", lambda: checkpoint(tensor_pickle(1, 1), **{"data/0": b"1234"})[:-30]
    )
    yield bad(
        "a wrong checksum",
        "data/model.pth",
        lambda: checkpoint(os_system(0)).replace(b"exploded > e", b"exploded ; e", 1),
    )
    yield bad("a zip bomb", "data/model.pth", lambda: zipped({"archive/data.pkl": bytes(2**26)}, zipfile.ZIP_DEFLATED))
    yield bad("a gzip bomb", "extra.gz", lambda: gzip.compress(bytes(2**26)))
    yield bad("a member outside of its folder", "extra.zip", lambda: zipped({"../../.bashrc": b"text"}))
    yield bad("a member with an absolute name", "extra.zip", lambda: zipped({"/etc/cron.d/a": b"text"}))
    yield bad("a member that is a link", "data/model.pth", with_link)
    yield bad("a link in tar", "extra.tar", lambda: tar("a", b"", "/etc/passwd"))
    yield bad("two members of one name", "data/model.pth", twice)
    yield bad("two directories in one archive", "data/model.pth", two_directories)
    yield bad("a pickle that is a tar archive", "data/model.pth", pickle_and_tar)
    yield bad("an encrypted member", "data/model.pth", encrypted)
    yield bad(
        "a storage of terabytes", "data/model.pth", lambda: checkpoint(tensor_pickle(2**40, 1), **{"data/0": b"1234"})
    )
    yield bad(
        "a tensor beyond its storage",
        "data/model.pth",
        lambda: checkpoint(tensor_pickle(1, 2**40), **{"data/0": b"1234"}),
    )
    for name, content in (
        ("a header beyond the file", lambda: safetensors_file(length=2**40)),
        (
            "overlapping tensors",
            lambda: safetensors_file({n: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for n in "ab"}),
        ),
        ("a tensor beyond the file", lambda: safetensors_file(data=b"")),
        ("no header", lambda: safetensors_file(b"no json")),
        ("bytes behind the tensors", lambda: safetensors_file(data=b"\0" * 99)),
    ):
        yield bad(f"safetensors with {name}", "model.safetensors", content)
    yield bad("a native library", "code/fast.so", lambda: b"\x7fELF\x02\x01\x01" + b"\0" * 60)
    yield bad("a native library, renamed", "labels.txt", lambda: b"\x7fELF\x02\x01\x01" + b"\0" * 60)
    yield bad("bytecode", "code/net.pyc", bytecode)
    yield bad("an array of objects", "example.npy", lambda: array([{"a": 1}]))
    yield bad("a zip behind a picture", "logo.png", lambda: png(zipped({"a.pkl": os_system()})))
    yield bad("YAML that makes objects", "conda.yaml", lambda: b"a: !!python/object/apply:os.system ['true']\n")
    yield bad("ONNX with numbers from elsewhere", "model.onnx", lambda: onnx_file(location="../../etc/passwd"))
    yield bad("ONNX with numbers that are not there", "model.onnx", lambda: onnx_file(location="model.data"))
    yield bad("ONNX with a tensor of another size", "model.onnx", lambda: onnx_file(raw=b"1234"))
    yield bad("a pickle named .onnx", "model.onnx", lambda: os_system())
    yield bad("a 7z archive", "extra.7z", lambda: b"7z\xbc\xaf\x27\x1c" + b"\0" * 60, "unexamined")
    yield bad("random bytes", "data/blob.bin", lambda: bytes(range(256)) * 4, "unexamined")


def hostile_by_torch() -> Iterator[Fixture]:
    """Those that begin as something that torch wrote."""
    yield bad("os.system in legacy torch.save", "data/model.pth", lambda: legacy(os_system()))
    yield bad(
        "os.system in pt2, sample inputs",
        "data/model.pt2",
        lambda: exported_with("sample_inputs/model.pt", sample_inputs),
    )
    yield bad("os.system in pt2, a weight", "data/model.pt2", lambda: exported_with("data/weights/weight_9", os_system))
    yield bad(
        "code in the graph of pt2",
        "data/model.pt2",
        lambda: exported_with(
            "models/model.json",
            lambda: json.dumps({"graph_module": {"graph": {"nodes": [{"target": "torch.hub.os.system"}]}}}).encode(),
        ),
    )
    yield bad("a pickle cut off", "data/model.pth", lambda: saved_module_pickle()[:-20])
    yield bad("TorchScript that writes a file", "data/model.pth", lambda: scripted("\n    torch.save(x, 'a')\n"))


def saved_module_pickle() -> bytes:
    with zipfile.ZipFile(io.BytesIO(saved(ordinary_module()))) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


def ordinary_module() -> Any:
    """A module with one layer of every common kind, and attributes that people give them."""
    import argparse
    import functools
    import pathlib

    import numpy as np
    import torch
    from torch import nn

    net = nn.Sequential(*layers())
    net.act = functools.partial(nn.functional.leaky_relu, negative_slope=0.1)  # type: ignore[assignment]
    net.pool = torch.relu  # type: ignore[assignment]
    net.again = net[0].forward
    net.hparams = argparse.Namespace(rate=0.1, path=pathlib.PurePosixPath("data"))
    net.mean = np.array([0.5, 0.5, 0.5])
    net.scale = np.float32(2)
    net.dtype = torch.float16  # type: ignore[assignment]
    net.device = torch.device("cpu")  # type: ignore[assignment]
    net.classes = {"cat", "dog"}
    net.register_buffer("complex", torch.zeros(2, dtype=torch.complex64))
    return net


def layers() -> list[Any]:
    from torch import nn

    return [
        *(nn.Conv2d(3, 8, 3), nn.Conv1d(3, 8, 3), nn.Conv3d(3, 4, 1), nn.ConvTranspose2d(3, 4, 2), nn.Linear(4, 4)),
        *(nn.BatchNorm2d(8), nn.BatchNorm1d(8), nn.LayerNorm(8), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8)),
        *(
            nn.ReLU(),
            nn.ReLU6(),
            nn.GELU(),
            nn.SiLU(),
            nn.Hardswish(),
            nn.LeakyReLU(),
            nn.ELU(),
            nn.Sigmoid(),
            nn.Tanh(),
        ),
        *(nn.Softmax(1), nn.LogSoftmax(1), nn.PReLU(), nn.Mish(), nn.Softplus(), nn.Hardtanh(), nn.Identity()),
        *(
            nn.MaxPool2d(2),
            nn.AvgPool2d(2),
            nn.AdaptiveAvgPool2d(1),
            nn.AdaptiveMaxPool2d(1),
            nn.Dropout(),
            nn.Dropout2d(),
        ),
        *(nn.Flatten(), nn.Unflatten(1, (2, 4)), nn.Upsample(scale_factor=2), nn.PixelShuffle(2), nn.ZeroPad2d(1)),
        *(nn.Embedding(4, 4), nn.LSTM(4, 4), nn.GRU(4, 4), nn.RNN(4, 4), nn.MultiheadAttention(8, 2)),
        *(nn.TransformerEncoderLayer(8, 2), nn.ModuleList([nn.Linear(1, 1)]), nn.ModuleDict({"a": nn.Linear(1, 1)})),
        *(nn.ParameterList([nn.Parameter()]), nn.Bilinear(2, 2, 2), nn.CosineSimilarity(), nn.LazyLinear(3)),
        *(nn.CrossEntropyLoss(), nn.UpsamplingNearest2d(scale_factor=2), nn.LocalResponseNorm(2), nn.Fold((4, 4), 2)),
    ]


def graph_module() -> bytes:
    import torch
    from torch import nn

    return saved(torch.fx.symbolic_trace(nn.Sequential(nn.Linear(2, 2), nn.ReLU())))


def quantized() -> bytes:
    import torch
    from torch import nn

    return saved(torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 4)), {nn.Linear}))


def training_checkpoint() -> bytes:
    import torch
    from torch import nn

    net = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return saved({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "loss": 0.5})


def pyfunc() -> bytes:
    """A model of a user as MLflow pickles it, with functions of its own."""
    import types

    import cloudpickle

    module = types.ModuleType("__main__")
    source = (
        "import os, json, time, enum\nimport numpy as np\nimport torch\nfrom functools import partial\n"
        "from os.path import join\nimport mlflow.pyfunc\n"
        "class Size(enum.Enum):\n    small = 1\n"
        "def prepare(x, scale=2): return np.asarray(x) * scale\n"
        "class Wrapper(mlflow.pyfunc.PythonModel):\n"
        "    def __init__(self):\n        self.net = torch.nn.Linear(2, 2); self.size = Size.small\n"
        "        self.prepare = partial(prepare, scale=3)\n"
        "        self.later = lambda x: join('a', os.getcwd(), json.dumps(x))\n"
        "    def predict(self, context, model_input, params=None):\n"
        "        return self.net(torch.tensor(self.prepare(model_input)))\n"
    )
    exec(compile(source, "model.py", "exec"), vars(module))
    return bytes(cloudpickle.dumps(module.Wrapper()))


def ordinary() -> Iterator[Fixture]:
    """Files that models of good people have."""
    yield Fixture("a module with all kinds of layers", "data/model.pth", lambda: saved(ordinary_module()), "code")
    yield Fixture("the same, legacy format", "data/model.pth", lambda: legacy(obj=ordinary_module()), "code")
    yield Fixture("the same, plain pickle", "model.pkl", lambda: pickle.dumps(ordinary_module()), "code")
    yield Fixture("a traced graph of torch.fx", "data/model.pth", graph_module, "code")
    yield Fixture("a quantised module", "data/model.pth", quantized, "code")
    yield Fixture("a pyfunc by cloudpickle", "python_model.pkl", pyfunc, "code")
    yield Fixture("TorchScript", "data/model.pth", scripted, "code")
    yield Fixture("a trace that notes its inputs", "data/model.pth", traced, "code")
    yield Fixture("TorchScript with torchvision's classes", "data/model.pth", lambda: scripted(OF_TORCHVISION), "code")
    yield Fixture("Python code", "code/net.py", lambda: b"import os\nos.system('true')\n", "code")
    yield Fixture("a state dict", "data/model.pth", lambda: saved(state()), "clean")
    yield Fixture("a state dict, legacy format", "weights.pth", lambda: legacy(obj=state()), "clean")
    yield Fixture("a state dict named .bin", "pytorch_model.bin", lambda: saved(state()), "clean")
    yield Fixture("a checkpoint of a training", "last.ckpt", training_checkpoint, "clean")
    yield Fixture("an exported model", "data/model.pt2", exported, "clean")
    yield Fixture("safetensors", "model.safetensors", safetensors_file, "clean")
    yield Fixture("ONNX", "model.onnx", onnx_file, "clean")
    yield Fixture("ONNX with operators of others", "model.onnx", lambda: onnx_file(domain="com.example"), "code")
    yield Fixture("an array", "example.npy", lambda: array([1.0, 2.0]), "clean")
    yield Fixture("a picture", "logo.png", png, "clean")
    yield Fixture("a zip of texts", "extra.zip", lambda: zipped({"a.txt": b"text", "b.json": b"{}"}), "clean")
    for name, content in (
        ("requirements.txt", b"torch==2.10\n"),
        ("conda.yaml", b"name: mlflow-env\ndependencies: [pip]\n"),
        ("config.json", b'{"a": [1, 2]}'),
        ("README.md", b"# A model\n\ncats\nand dogs\n(RS.)\n"),
        ("LICENSE", b"Apache License\n"),
        ("registered_model_meta", b"model_name: a\nmodel_version: '1'\n"),
        ("labels.csv", "0,Grün\n".encode()),
    ):
        yield Fixture(name, name, lambda c=content: c, "clean")


def state() -> Any:
    """A state dict whose tensors share storages and are views."""
    from torch import nn

    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4))
    weights = net.state_dict()
    weights["view"] = weights["0.weight"][2:4, 1:]
    weights["half"] = weights["2.weight"].half()
    return weights
