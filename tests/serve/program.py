"""`smoothscan serve` as a process of its own, with a stub in place of the scanner."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.cli.program import ENVIRONMENT

from .deliveries import SECRET, Delivery, query

# Scans take a moment, and are known afterwards: each line of the ledger is a scan that was done.
_PROGRAM = """
import sys, time
from pathlib import Path

import smoothscan.cli.fleet_setup
from smoothscan.posture import Standing

ledger, seconds = Path(sys.argv.pop(1)), float(sys.argv.pop(1))


def scanner_of(choices, common, ledger_of_scans, engine, watcher, *, retries=None):
    def scan(versions):
        known = ledger.read_text().splitlines() if ledger.exists() else []
        found = {}
        for name, version in versions:
            uri = f"models:/{name}/{version}"
            if uri not in known:
                time.sleep(seconds)
                with ledger.open("a") as file:
                    file.write(uri + "\\n")
            words = {"action": "kept" if uri in known else "scanned", "status": "completed", "verdict": "clean"}
            found[name, version] = Standing(name=name, version=version, uri=uri, **words)
        return found

    return scan


smoothscan.cli.fleet_setup.scanner_of = scanner_of
from smoothscan.cli.main import main

main()
"""


def start(
    folder: Path, *arguments: object, seconds: float = 0, stub: bool = True, **environment: str
) -> subprocess.Popen[str]:
    """Start the program in a folder; `arguments` follow `smoothscan`."""
    words = ["-c", _PROGRAM, str(folder / "ledger.txt"), str(seconds)] if stub else ["-m", "smoothscan"]
    return subprocess.Popen(
        [sys.executable, *words, *map(str, arguments)],
        cwd=folder,
        env={**ENVIRONMENT, "XDG_STATE_HOME": str(folder), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Server:
    """A server that listens.

    Args:
        folder: its folder; queue and ledger outlive it there.
        more: further arguments.
        seconds: how long a scan takes.
        stub: whether nothing is scanned really.
    """

    def __init__(self, folder: Path, *more: object, seconds: float = 0, stub: bool = True) -> None:
        (folder / "secret").write_bytes(SECRET + b"\n")
        words = ["serve", "--images", "images", "--secret-file", "secret", "--queue", "queue.db", "--port", 0, *more]
        self.folder = folder
        self.process = start(folder, *words, seconds=seconds, stub=stub)
        assert self.process.stderr is not None
        self.first_lines = ""
        found = None
        while found is None:
            line = self.process.stderr.readline()
            self.first_lines += line
            assert line, self.first_lines
            found = re.search(r"listening on http://127\.0\.0\.1:(\d+)/webhooks/mlflow", line)
        self.port = int(found[1])

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def request(self, method: str, path: str, body: bytes = b"", headers: Any = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def post(self, one: Delivery) -> int:
        return self.request("POST", "/webhooks/mlflow", one.body, one.headers)[0]

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; return the exit code and what was said on standard error."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


def rows(folder: Path, columns: str = "delivery_id, name, version, state, outcome") -> Sequence[tuple[Any, ...]]:
    """What the queue in a folder holds."""
    return query(folder / "queue.db", f"SELECT {columns} FROM deliveries ORDER BY number")


def wait_until_done(folder: Path, count: int, limit: float = 60) -> None:
    """Wait until the queue holds so many deliveries, all of them with a result."""
    end = time.monotonic() + limit
    states: list[str] = []
    while time.monotonic() < end:
        states = [state for (state,) in rows(folder, "state")]
        if len(states) >= count and not {"queued", "working"} & set(states):
            return
        time.sleep(0.05)
    raise AssertionError(f"{states.count('done')} of {count} deliveries have a result")


def scanned(folder: Path) -> list[str]:
    """URIs that the stub has scanned, in order."""
    path = folder / "ledger.txt"
    return path.read_text().splitlines() if path.exists() else []
