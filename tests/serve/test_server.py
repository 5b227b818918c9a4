"""The server as users run it: a process with an address, signals, and a queue that outlives it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import pytest

from smoothscan.cli.serve import SECRET, read_secret, serve
from smoothscan.errors import ConfigError
from tests.cli.program import ENVIRONMENT

from .deliveries import Delivery, body_of, created, delivery
from .program import Server, rows, scanned, start, wait_until_done

EVENTS = 500


def burst() -> list[Delivery]:
    """A new version and its alias, 250 times."""
    bodies = []
    for number in range(EVENTS // 2):
        bodies.append(created("signs", str(number)))
        alias = {"name": "signs", "alias": "candidate", "version": str(number)}
        bodies.append(body_of(alias, "model_version_alias"))
    return [delivery(body) for body in bodies]


def test_a_burst_with_a_kill_in_the_middle(tmp_path: Path) -> None:
    """What MLflow does when the server dies: it sends again what was not answered, with the same id and signature."""
    deliveries = burst()
    answers: Counter[int] = Counter()
    here: dict[str, Server] = {}

    def deliver(one: Delivery) -> None:
        for _ in range(200):
            try:
                answers[here["server"].post(one)] += 1
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("no answer")

    with Server(tmp_path, seconds=0.002) as first, ThreadPoolExecutor(10) as sender:
        here["server"] = first
        sent = [sender.submit(deliver, one) for one in deliveries]
        while answers[202] < EVENTS // 3 or not scanned(tmp_path):
            time.sleep(0.005)
        first.process.kill()
        first.process.wait()
        accepted_before = len(rows(tmp_path))
        with Server(tmp_path, seconds=0.002) as second:
            here["server"] = second
            for one in sent:
                one.result()
            wait_until_done(tmp_path, EVENTS)
            metrics = second.request("GET", "/metrics")[1].decode()
    assert EVENTS // 3 <= accepted_before < EVENTS, "the kill came in the middle"
    assert answers == {202: EVENTS}
    found = rows(tmp_path)
    assert Counter(row[0] for row in found) == Counter(one.delivery_id for one in deliveries)
    assert {row[3:] for row in found} == {("done", "clean")}
    assert sorted(scanned(tmp_path)) == sorted(f"models:/signs/{number}" for number in range(EVENTS // 2))
    assert f'smoothscan_queue_deliveries{{state="done"}} {float(EVENTS)}' in metrics


@pytest.mark.parametrize(("number", "code"), [(SIGTERM, 143), (SIGINT, 130)])
def test_a_stop_interrupts_the_scan_and_the_next_start_does_it(tmp_path: Path, number: Signals, code: int) -> None:
    with Server(tmp_path, seconds=60) as server:
        assert "the queue is queue.db" in server.first_lines
        assert server.post(delivery()) == 202
        while rows(tmp_path, "state") != [("working",)]:
            time.sleep(0.02)
        began = time.monotonic()
        assert server.end(number)[0] == code
        assert time.monotonic() - began < 10
    assert rows(tmp_path, "state, attempts") == [("queued", 0)]
    with Server(tmp_path) as server:
        wait_until_done(tmp_path, 1)
        said = server.end(SIGTERM)[1]
    assert "Traceback" not in said
    assert "stopped; what was accepted is in queue.db" in said


def test_strangers_on_the_wire(tmp_path: Path) -> None:
    """Bytes that are no delivery, on a real connection."""
    with Server(tmp_path, "--max-body", "10KB") as server:

        def talk(text: bytes) -> bytes:
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as wire:
                wire.sendall(text)
                answer = b""
                while piece := wire.recv(4096):
                    answer += piece
                return answer

        head = b"POST /webhooks/mlflow HTTP/1.1\r\nHost: x\r\n"
        signed = "".join(f"{name}: {value}\r\n" for name, value in delivery(b"").headers.items()).encode()
        # Nothing of the announced terabyte is waited for.
        assert b" 413 " in talk(head + signed + b"Content-Length: 1000000000000\r\n\r\n")
        chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
        assert b" 413 " in talk(head + signed + b"Transfer-Encoding: chunked\r\n\r\n" + 3 * chunk)
        assert b" 401 " in talk(head + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}")
        assert b" 400 " in talk(head + b"Content-Length: many\r\n\r\n")
        assert b" 400 " in talk(b"\x16\x03\x01 this is TLS\r\n\r\n")
        assert server.request("GET", "/healthz")[0] == 200
        assert server.request("GET", "/readyz")[0] == 200
        assert server.post(delivery()) == 202
        said = server.end(SIGTERM)[1]
    assert "Traceback" not in said
    assert "POST" not in said, "requests get no line unless --verbose is given"


def test_verbose_has_a_line_for_each_request_and_each_result(tmp_path: Path) -> None:
    with Server(tmp_path, "--verbose") as server:
        server.post(delivery(created("a\x1b[31m", "1")))
        wait_until_done(tmp_path, 1)
        said = server.end(SIGTERM)[1]
    assert "/webhooks/mlflow" in said
    assert "models:/a/1 was scanned: clean" in said
    assert "\x1b" not in said


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ["serve", "--images", "images", "--queue", "queue.db", "--port", taken.getsockname()[1]]
        process = start(tmp_path, *words, SMOOTHSCAN_WEBHOOK_SECRET="x" * 20)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "Error: Cannot listen on 127.0.0.1:" in errors
    assert "Address already in use" in errors
    assert "Traceback" not in errors


def serve_here(*words: str) -> None:
    with serve.make_context("serve", ["--images", "images", *words]) as ctx:
        serve.invoke(ctx)


def test_a_server_without_a_secret_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(SECRET, raising=False)
    with pytest.raises(ConfigError, match="SMOOTHSCAN_WEBHOOK_SECRET is not set") as caught:
        serve_here()
    assert "token_urlsafe" in caught.value.hint
    monkeypatch.setenv(SECRET, "too short")
    with pytest.raises(ConfigError, match="can be guessed"):
        serve_here()
    monkeypatch.setenv(SECRET, "a secret that is long enough")
    Path("empty").write_bytes(b"\n")
    with pytest.raises(ConfigError, match="empty is empty"):
        serve_here("--secret-file", "empty")


def test_the_secret_goes_to_no_other_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET, "a secret that is long enough")
    assert read_secret(None) == b"a secret that is long enough"
    assert SECRET not in os.environ
    (tmp_path / "secret").write_bytes(b"another secret, with an end of line\n")
    assert read_secret(tmp_path / "secret") == b"another secret, with an end of line"


@pytest.mark.parametrize(
    "words", [["--tolerance", "0"], ["--tolerance", "25h"], ["--max-body", "0"], ["--max-body", "1GB"]]
)
def test_bounds_of_what_is_taken(words: list[str]) -> None:
    with pytest.raises(ConfigError, match=words[0]):
        serve_here(*words)


def test_without_the_extra_one_message_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import importlib.util, sys\n"
        "import smoothscan.cli.serve as serve\n"
        "serve.find_spec = lambda name: None if name in ('starlette', 'prometheus_client') else 1\n"
        "from smoothscan.cli.main import main\n"
        "sys.argv = ['smoothscan', 'serve', '--images', 'x']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "not installed: starlette, prometheus-client." in done.stderr
    assert "smoothscan[serve]" in done.stderr
