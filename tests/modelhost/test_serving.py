"""The host's loop in this process: it answers every question, and ends when the scanner hangs up."""

from __future__ import annotations

import math
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.export import Dim

from smoothscan import wire
from smoothscan.devices import native_bfloat16, pick_device
from smoothscan.modelhost import serving
from smoothscan.modelhost.loaders.interface import Loaded
from smoothscan.modelhost.serving import serve

STORED = {"flavor": "pytorch/pt2", "path": "data/model.pt2"}


@pytest.fixture
def channel() -> Iterator[socket.socket]:
    """The scanner's end; the loop runs in a thread."""
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as memory, theirs:
        loop = threading.Thread(target=serve, args=(theirs, memory.fileno()), daemon=True)
        loop.start()
        with ours:
            yield ours
        loop.join(10)
        assert not loop.is_alive(), "the loop ends with the connection"


def ask(channel: socket.socket, **question: object) -> dict[str, object]:
    wire.send(channel, question)
    return wire.receive(channel, time.monotonic() + 30)


@pytest.mark.parametrize(
    "question", [{"ask": "weather"}, {}, {"ask": "logits", "count": 1, "keep": False, "precision": "float32"}]
)
def test_a_question_that_cannot_be_answered_is_an_error_and_not_the_end(channel, question):
    for _ in range(2):
        told = ask(channel, **question)
        assert told["error"] == "model"
        assert told["seconds"] >= 0


@pytest.mark.timeout(30)
def test_a_message_that_is_none_ends_the_loop():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"\xff" * 8)
        serve(theirs, memory_fd=-1)


def test_a_model_that_is_not_there_is_told(channel, tmp_path):
    spec = {"channels": 3, "height": 8, "width": 8}
    question = {"folder": str(tmp_path / "nowhere"), "stored": STORED, "allow_code": False}
    told = ask(channel, ask="load", spec=spec, device="cpu", threads=None, **question)
    assert told["error"] == "model"
    assert "nowhere" in told["message"]


def test_the_device_is_the_one_that_was_asked_for():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type in ("cpu", "cuda")


def test_bfloat16_is_native_where_the_processor_says_so():
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and "avx512_bf16" in cpuinfo.read_text():
        assert native_bfloat16(torch.device("cpu"))
    assert not native_bfloat16(torch.device("meta"))


@pytest.mark.parametrize("exported", [2, None])
@pytest.mark.parametrize("count", [1, 5, 16])
def test_parts_of_a_batch_are_computed_side_by_side_and_answer_as_the_whole(monkeypatch, exported, count):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()
    dynamic = None if exported else ({0: Dim("batch", min=1, max=64)},)
    module = torch.export.export(net, (torch.rand(2, 3, 8, 8),), dynamic_shapes=dynamic).module()
    monkeypatch.setattr(serving, "load", lambda *_: Loaded(module))
    layout = wire.Layout(16, (3, 8, 8), 5)
    with tempfile.TemporaryFile() as memory:
        memory.truncate(layout.size)
        host, before = serving.Host(memory.fileno()), torch.get_num_threads()
        spec = {"channels": 3, "height": 8, "width": 8}
        question = {"folder": "model", "stored": STORED, "allow_code": False}
        host.load({"spec": spec, "device": "cpu", "threads": 3, **question})
        torch.set_num_threads(before)
        host.map({"batch": 16, "shape": (3, 8, 8), "n_classes": 5})
    parts = host._parts(count)
    assert len(parts) == min(3, math.ceil(count / (exported or 1)))
    assert all((part.stop - part.start) % (exported or 1) == 0 for part in parts[:-1])
    images, weights = torch.rand(count, 3, 8, 8), torch.randn(count, 5)
    host.images[:count], host.cotangents[:count] = images, weights
    host.logits({"count": count, "keep": True, "precision": "float32"})
    host.gradient({"count": count, "reuse": True, "precision": "float32"})
    images.requires_grad_(True)
    (net(images) * weights).sum().backward()
    torch.testing.assert_close(host.answers[:count], net(images).detach())
    torch.testing.assert_close(host.gradients[:count], images.grad)
