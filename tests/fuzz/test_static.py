"""Hostile bytes in every place that reads bytes before the sandbox: an answer or an error of our own, never a crash.

SMOOTHSCAN_FUZZ_EXAMPLES says how many inputs each test tries; few by default, so that this runs with every change.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import pickletools
import random
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from smoothscan import wire
from smoothscan.errors import SmoothscanError
from smoothscan.result import InputSpec, ModelInfo, ScanResult
from smoothscan.safety import static
from smoothscan.safety.inspection import Inspection
from smoothscan.safety.machine import follow
from smoothscan.sources.images import ImageSet, load_images
from smoothscan.sources.model_folder import read_mlmodel
from smoothscan.sources.signature import example, tensor_spec
from tests.safety.corpus import Fixture, hostile, hostile_by_hand, ordinary

EXAMPLES = int(os.environ.get("SMOOTHSCAN_FUZZ_EXAMPLES", "30"))
FOREIGN = ("picklescan", "fickling")
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
SEEDS = st.integers(0, 2**63)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=8), values, max_size=4),
    max_leaves=12,
)


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Change some bytes, cut, repeat, or put parts of the content elsewhere."""
    changed = bytearray(content)
    for _ in range(chance.choice((0, 1, 1, 2, 4, 16))):
        if not changed:
            break
        at, length = chance.randrange(len(changed)), chance.choice((1, 1, 2, 4, 8, 64))
        match chance.randrange(6):
            case 0:
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                changed[at : at + length] = chance.randbytes(length)
            case 2:
                del changed[at : at + length]
            case 3:
                changed[at:at] = chance.choice((b"\xff" * length, b"\0" * length, chance.randbytes(length)))
            case 4:
                other = chance.randrange(len(changed))
                changed[at : at + length] = changed[other : other + length]
            case _:
                changed = changed[:at] if chance.random() < 0.7 else changed[at:]
    return bytes(changed)


@functools.cache
def corpus() -> list[tuple[Fixture, bytes]]:
    fixtures = hostile_by_hand() if EXAMPLES < 1000 else (*hostile(), *ordinary())
    made = [(fixture, fixture.make()) for fixture in fixtures]
    return [(fixture, content) for fixture, content in made if len(content) < 200_000]


def hostile_content(seed: int, valid: bytes) -> bytes:
    chance = random.Random(seed)
    return chance.randbytes(chance.randrange(200)) if chance.random() < 0.1 else mutated(valid, chance)


@fuzzed
@given(SEEDS)
def test_files_of_a_model(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    fixture, content = chance.choice(corpus())
    name = Path(fixture.file).name if chance.random() < 0.9 else Path(chance.choice(corpus())[0].file).name
    (tmp_path / name).write_bytes(hostile_content(seed, content))
    account = Inspection().account(tmp_path, name)
    assert account.understood or account.unread
    assert all(any(f"the scanner {name} " in failure for name in FOREIGN) for failure in account.failures)
    json.dumps([account.dangerous, account.code, account.unread])
    (tmp_path / name).unlink()


OPCODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
PIECES = [
    b"cos\nsystem\n",
    b"cbuiltins\ngetattr\n",
    b"\x8c\x02os",
    b"\x8c\x06system",
    b"K\x01",
    b"h\x00",
    b"\x94",
    b"(",
]


@fuzzed
@given(st.lists(st.sampled_from(OPCODES + PIECES * 3) | st.binary(max_size=3), max_size=40).map(b"".join))
def test_pickles_put_together_at_random(content: bytes) -> None:
    reading = follow(io.BytesIO(content))
    assert reading.dangerous or content.endswith(b".") or b"." in content
    assert all(len(finding) < 400 for finding in reading.dangerous)


@fuzzed
@given(st.binary(max_size=60) | JSON.map(lambda document: json.dumps(document).encode()) | SEEDS)
def test_answers_of_the_scanners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes | int) -> None:
    account = {"understood": True, "dangerous": [], "code": [], "unread": [], "failures": []}
    valid = json.dumps({"files": {"a.txt": account}, "scanners": {"text": "1"}}).encode()
    content = hostile_content(answer, valid) if isinstance(answer, int) else answer
    (tmp_path / "a.txt").write_text("text")
    monkeypatch.setattr(static, "_inspected", lambda _: content)
    report = static.check(tmp_path, {})
    assert report.unexamined == ("a.txt",) or b"true" in content
    report.model_dump_json()


@fuzzed
@given(SEEDS)
def test_mlmodel_files(tmp_path: Path, seed: int) -> None:
    valid = b"flavors:\n  pytorch: {code: code, model_data: data}\nsignature: {inputs: '[]'}\na: &b [1]\nc: *b\n"
    (tmp_path / "MLmodel").write_bytes(hostile_content(seed, valid))
    answers_or_refuses(lambda: read_mlmodel(tmp_path, "models:/a/1"))


SPEC = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3, 8, 8]}}
EXAMPLE = json.dumps({"inputs": [[[[0.5, 1.0]]]]}).encode()


@fuzzed
@given(SEEDS, JSON)
def test_signatures_and_examples(tmp_path: Path, seed: int, document: Any) -> None:
    inputs = hostile_content(seed, json.dumps([SPEC]).encode()).decode("latin-1")
    (tmp_path / "input.json").write_bytes(hostile_content(seed + 1, EXAMPLE))
    info = {"artifact_path": "input.json", "type": "ndarray"}
    for mlmodel in (
        {"signature": {"inputs": inputs}, "saved_input_example_info": info},
        {"signature": {"inputs": json.dumps([document])}, "saved_input_example_info": document},
        {"signature": document, "saved_input_example_info": {**info, "artifact_path": str(document)}},
    ):
        answers_or_refuses(lambda given=mlmodel: tensor_spec(given))
        answers_or_refuses(lambda given=mlmodel: example(tmp_path, given))


@functools.cache
def pictures() -> list[tuple[str, bytes]]:
    made = []
    for kind, mode in (("PNG", "RGB"), ("PNG", "P"), ("JPEG", "RGB"), ("PNG", "I;16"), ("BMP", "RGB")):
        buffer = io.BytesIO()
        Image.new(mode, (8, 8)).save(buffer, kind)
        made.append((kind.lower(), buffer.getvalue()))
    return made


@fuzzed
@given(SEEDS)
def test_images(tmp_path: Path, seed: int) -> None:
    suffix, valid = random.Random(seed).choice(pictures())
    path = tmp_path / f"image.{suffix}"
    path.write_bytes(hostile_content(seed, valid))
    spec = InputSpec(height=8, width=8, channels=3)
    images = answers_or_refuses(lambda: load_images((path,), spec))
    if isinstance(images, ImageSet):
        assert images.pixels.shape == (1, 3, 8, 8)
        assert 0 <= images.pixels.min() <= images.pixels.max() <= 1
    path.unlink()


@fuzzed
@given(SEEDS)
def test_results(seed: int) -> None:
    valid = ScanResult(status="completed", model=ModelInfo(uri="models:/a/1"), verdict="clean", score=0.5)
    content = hostile_content(seed, valid.model_dump_json().encode())
    try:
        result = ScanResult.model_validate_json(content)
    except ValidationError:
        return
    assert result.exit_code() in (0, 1, 3, 4, 5)


@fuzzed
@given(SEEDS)
def test_messages_of_the_model_host(seed: int) -> None:
    body = json.dumps({"ok": True, "shape": [4, 10], "values": [0.5]}).encode()
    content = hostile_content(seed, struct.pack("!I", len(body)) + body)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(content)
        theirs.shutdown(socket.SHUT_WR)
        with contextlib.suppress(wire.WireError):
            assert isinstance(wire.receive(ours), dict)


def answers_or_refuses(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except SmoothscanError as error:
        return error
