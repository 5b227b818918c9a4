"""Examines this machine's sandbox: which means there are, and what a confined process can do all the same."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from smoothscan.sandbox.installation import accelerators
from smoothscan.sandbox.process import run
from smoothscan.sandbox.protections import Protections, protections

_SECONDS = 60


@dataclass(frozen=True)
class Examination:
    """What was found out."""

    protections: Protections
    """Means of confinement."""
    attempts: dict[str, str]
    """What a confined process tried, and what stopped it; empty text where nothing did."""
    accelerators: tuple[str, ...]
    """Device files that a model host gets unless it is told to stay on the CPU."""
    trouble: str = ""
    """Why the attempts could not be made, if they could not."""

    @property
    def holds(self) -> bool:
        """Whether a model's code may run here."""
        return self.protections.hold and not self.trouble and all(self.attempts.values())


def examine() -> Examination:
    """Confine a process as a model host is confined, and let it try to break out."""
    here = protections()
    devices, _ = accelerators()
    with tempfile.TemporaryDirectory(prefix="smoothscan-") as folder, socket.create_server(("127.0.0.1", 0)) as server:
        secret = Path(folder) / "secret.txt"
        secret.write_text("for nobody else")
        arguments = [str(secret), folder, str(server.getsockname()[1]), str(os.getpid())]
        done = run("smoothscan.sandbox.trial", arguments, read=[], seconds=_SECONDS)
    try:
        attempts = json.loads(done.output)
    except ValueError:
        last = done.errors.strip().splitlines()[-1:] or [f"it ended with code {done.code}"]
        return Examination(here, {}, devices, f"A confined process does not start: {last[0][:300]}")
    return Examination(here, attempts, devices)
