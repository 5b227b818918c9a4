from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from smoothscan.safety import machine
from smoothscan.safety.machine import TooLongError, follow
from smoothscan.safety.names import Sort, sort_of

from .corpus import named, saved_module_pickle, tensor_pickle


@pytest.mark.parametrize(
    ("module", "name", "sort"),
    [
        ("torch._utils", "_rebuild_tensor_v2", "data"),
        ("torch.nn.modules.conv", "Conv2d", "code"),
        ("mypackage.os_tools", "Net", "code"),
        ("code.models", "Net", "code"),
        ("builtins", "str.upper", "code"),
        ("functools", "partial", "code"),
        ("torch.jit._pickle", "build_intlist", "code"),
        ("code", "interact", "dangerous"),
        ("mypackage", "os.system", "dangerous"),
        ("mypackage.subprocess", "Popen", "dangerous"),
        ("torch.nn.modules.module", "Module.__init__.__globals__", "dangerous"),
        ("torch.hub", "load", "dangerous"),
        ("torch.hubble", "load", "code"),
        ("a module", "with a space", "dangerous"),
        ("", "", "dangerous"),
    ],
)
def test_what_names_stand_for(module: str, name: str, sort: Sort) -> None:
    assert sort_of(module, name) == sort


def test_ordinary_pickles_are_followed_to_their_end() -> None:
    content = saved_module_pickle()
    file = io.BytesIO(content)
    reading = follow(file)
    assert reading.dangerous == []
    assert reading.runs_code
    assert "torch.nn.modules.conv.Conv2d" in reading.names
    assert file.tell() == len(content)


@pytest.mark.parametrize("value", [1, "a", None, [1, (2, {"a": b"b"})], {1, 2}, 2**100, 1.5, True, bytearray(b"a")])
@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_run_no_names_of_the_model(value: Any, protocol: int) -> None:
    assert follow(io.BytesIO(pickle.dumps(value, protocol))).dangerous == []


def test_tensors_are_data_and_ask_for_their_storage() -> None:
    reading = follow(io.BytesIO(tensor_pickle(4, 4)))
    assert not reading.runs_code
    assert reading.names == set()
    assert reading.storages["0"].numel == 4


@pytest.mark.parametrize(
    ("size", "stride", "fits"), [(4, 1, True), (2, 3, True), (2, 4, False), (5, 1, False), (0, 9, True)]
)
def test_tensors_lie_within_their_storage(size: int, stride: int, fits: bool) -> None:
    assert (follow(io.BytesIO(tensor_pickle(4, size, stride))).dangerous == []) is fits


class Held:
    def method(self) -> None: ...


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pickle.dumps(Held().method), None),
        (b"\x80\x02cbuiltins\ngetattr\n.", None),
        (b"\x80\x02cbuiltins\ngetattr\n\x85.", "hands 'getattr' to something else"),
        (b"\x80\x02](cbuiltins\ngetattr\ne.", "hands 'getattr' to something else"),
        (b"\x80\x02cbuiltins\ngetattr\n}U\x06system\x86R.", "asks an object for its 'system'"),
        (b"\x80\x02cbuiltins\ngetattr\n}U\x0b__globals__\x86R.", "under a name that no model needs"),
        (b"\x80\x02ctorch\nnn\nU\x01aK\x01s.", "changes 'torch.nn'"),
        (named("mypackage", "Net")[:-1], "cannot be read to its end"),
        (b"\x80\x02K\x01K\x02\x93.", "imports under a name that it computes"),
    ],
)
def test_what_pickles_do_with_objects(content: bytes, said: str | None) -> None:
    dangerous = follow(io.BytesIO(content)).dangerous
    assert (dangerous == []) if said is None else any(said in finding for finding in dangerous)


def test_endless_pickles_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MAX_OPCODES", 10)
    with pytest.raises(TooLongError):
        follow(io.BytesIO(b"K\x01" * 20 + b"."))


@pytest.mark.parametrize("make", [lambda: b"\x85" * 1000, lambda: b"K\x01" + b"\x85" * 100_000 + b"."])
def test_deep_nesting_is_harmless(make: Callable[[], bytes]) -> None:
    follow(io.BytesIO(make()))
