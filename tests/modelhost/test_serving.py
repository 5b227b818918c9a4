"""The host's loop in this process: it answers every question, and ends when the scanner hangs up."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from smoothscan import wire
from smoothscan.modelhost.serving import native_bfloat16, pick_device, serve


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
    told = ask(channel, ask="load", folder=str(tmp_path / "nowhere"), spec=spec, device="cpu", threads=None)
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
