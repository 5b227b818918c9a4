"""Messages between scanner and model host: what goes through, and what a hostile other side cannot do."""

from __future__ import annotations

import itertools
import json
import math
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothscan import wire

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
    max_leaves=20,
)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def framed(data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + data


@given(st.lists(st.dictionaries(st.text(), JSON, max_size=4), min_size=1, max_size=4))
def test_messages_arrive_whole_and_in_order(messages):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for message in messages:
            wire.send(ours, message)
        assert [wire.receive(theirs) for _ in messages] == messages


def test_a_message_as_large_as_allowed_arrives(pair):
    ours, theirs = pair
    message = {"x": "a" * (wire.MAX_MESSAGE - len('{"x":""}'))}
    sender = threading.Thread(target=wire.send, args=(ours, message))
    sender.start()
    assert wire.receive(theirs, time.monotonic() + 30) == message
    sender.join()


def test_a_message_over_the_limit_is_not_sent(pair):
    ours, theirs = pair
    with pytest.raises(wire.WireError, match="over the limit"):
        wire.send(ours, {"x": "a" * wire.MAX_MESSAGE})
    ours.close()
    assert theirs.recv(1) == b""


def test_a_message_over_the_limit_is_refused_before_it_is_read(pair):
    ours, theirs = pair
    ours.sendall(struct.pack("!I", wire.MAX_MESSAGE + 1))  # a reader that waited for the rest would hang here
    with pytest.raises(wire.WireError, match="over the limit"):
        wire.receive(theirs, time.monotonic() + 30)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe", b"{}{}", b"nonsense", b'{"a":' + b"9" * 5000 + b"}", b'{"a":"\xed"}'],
    ids=["empty", "cut off", "no text", "two at once", "a word", "endless number", "no UTF-8"],
)
def test_what_is_no_json_is_refused(pair, data):
    ours, theirs = pair
    ours.sendall(framed(data))
    with pytest.raises(wire.WireError, match="JSON"):
        wire.receive(theirs)


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_else_happens(data):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        try:
            message = wire.receive(theirs, time.monotonic() + 30)
        except wire.WireError:
            return
        assert isinstance(message, dict)


@pytest.mark.parametrize("document", [[], [{}], "text", 1, None, True])
def test_what_is_no_object_is_refused(pair, document):
    ours, theirs = pair
    ours.sendall(framed(json.dumps(document).encode()))
    with pytest.raises(wire.WireError, match="not an object"):
        wire.receive(theirs)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_is_refused(pair, opening, closing):
    ours, theirs = pair
    depth = (wire.MAX_MESSAGE - 1) // len(opening + closing)
    sender = threading.Thread(target=ours.sendall, args=(framed(opening * depth + b"0" + closing * depth),))
    sender.start()
    with pytest.raises(wire.WireError, match="JSON"):
        wire.receive(theirs)
    sender.join()


@pytest.mark.parametrize("sent", [b"", b"\0\0", framed(b'{"a": 1}')[:-1]])
def test_a_hang_up_is_told(pair, sent):
    ours, theirs = pair
    ours.sendall(sent)
    ours.close()
    with pytest.raises(wire.WireError, match="closed") as caught:
        wire.receive(theirs, time.monotonic() + 30)
    assert not isinstance(caught.value, wire.WireTimeoutError)


def test_sending_to_nobody_is_told(pair):
    ours, theirs = pair
    theirs.close()
    with pytest.raises(wire.WireError, match="closed"):
        wire.send(ours, {})


@pytest.mark.parametrize("sent", [b"", framed(b'{"a": 1}')[:-1]], ids=["silence", "half a message"])
def test_the_deadline_holds(pair, sent):
    ours, theirs = pair
    ours.sendall(sent)
    started = time.monotonic()
    with pytest.raises(wire.WireTimeoutError):
        wire.receive(theirs, started + 0.2)
    assert 0.2 <= time.monotonic() - started < 5


def test_the_deadline_holds_against_one_that_dribbles(pair):
    ours, theirs = pair
    stop = threading.Event()

    def dribble():
        ours.sendall(struct.pack("!I", 1000))
        while not stop.wait(0.02):
            ours.sendall(b" ")

    sender = threading.Thread(target=dribble)
    sender.start()
    try:
        with pytest.raises(wire.WireTimeoutError):
            wire.receive(theirs, time.monotonic() + 0.3)
    finally:
        stop.set()
        sender.join()


def test_a_deadline_that_passed_is_told_even_if_the_answer_is_there(pair):
    ours, theirs = pair
    wire.send(ours, {})
    with pytest.raises(wire.WireTimeoutError):
        wire.receive(theirs, time.monotonic() - 1)


@given(
    st.integers(1, 600), st.tuples(st.sampled_from([1, 3]), st.integers(1, 300), st.integers(1, 300)), st.integers(1, 9)
)
def test_the_four_tensors_lie_side_by_side(batch, shape, n_classes):
    layout = wire.Layout(batch, shape, n_classes)
    regions = sorted(
        (offset, offset + 4 * math.prod(of))
        for offset, of in (layout.images, layout.gradient, layout.logits, layout.cotangent)
    )
    assert regions[0][0] == 0
    assert regions[-1][1] == layout.size
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(regions))
    assert layout.images[1] == layout.gradient[1] == (batch, *shape)
    assert layout.logits[1] == layout.cotangent[1] == (batch, n_classes)
