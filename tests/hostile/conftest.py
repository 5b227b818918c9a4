"""Hostile models, a world for them to attack, and what must be true of it afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from smoothscan.result import ScanResult
from smoothscan.sandbox.protections import protections
from tests.planted import images, templates, write_images

from .nets import NETS

SECRET = "kept-from-everyone"
TOKEN = "token-of-the-registry"


@dataclass
class World:
    """What a hostile model may try to reach."""

    folder: Path
    outside: Path
    secret: Path
    server: socket.socket
    datagrams: socket.socket
    unix: socket.socket
    temporary: Path

    @property
    def place(self) -> dict[str, Any]:
        return {
            "outside": str(self.outside),
            "secret": str(self.secret),
            "port": self.server.getsockname()[1],
            "unix": self.unix.getsockname(),
        }

    def reached(self) -> list[str]:
        """Whoever came through to one of the sockets."""
        found = []
        for listener in (self.server, self.unix, self.datagrams):
            listener.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                found.append(str(listener.accept() if listener is not self.datagrams else listener.recv(100)))
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A home with a secret, a folder beside it, servers that listen, and a folder for temporary files."""
    for name in ("home/.aws", "outside", "temporary", "work"):
        (tmp_path / name).mkdir(parents=True)
    secret = tmp_path / "home" / ".aws" / "credentials"
    secret.write_text(SECRET)
    with (
        tempfile.TemporaryDirectory() as short,  # the address of a socket has little room
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        datagrams.bind(server.getsockname())
        unix.bind(f"{short}/listener")
        unix.listen()
        yield World(tmp_path, tmp_path / "outside", secret, server, datagrams, unix, tmp_path / "temporary")


@pytest.fixture(scope="session")
def hostile_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module of hostile nets."""
    path = tmp_path_factory.mktemp("hostile") / "hostile_nets.py"
    path.write_text(NETS)
    return path


@pytest.fixture(scope="session")
def hostile_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("hostile-images"), images(40))


@pytest.fixture
def save(hostile_code: Path, world: World) -> Iterator[Callable[[str], Path]]:
    """Save a hostile net as an MLflow model with its code, and return its folder."""
    import mlflow.pytorch

    sys.path.insert(0, str(hostile_code.parent))
    try:
        import hostile_nets
    finally:
        sys.path.remove(str(hostile_code.parent))

    def save(name: str) -> Path:
        net = getattr(hostile_nets, name)(templates().flatten(1) * 20, world.place)
        folder = world.folder / "model"
        mlflow.pytorch.save_model(
            net, folder, code_paths=[str(hostile_code)], serialization_format="pickle", pip_requirements=["torch"]
        )
        return folder

    yield save
    sys.modules.pop("hostile_nets", None)


@dataclass
class Outcome:
    """How a check of a hostile model ended."""

    code: int
    output: str
    result: ScanResult
    seconds: float
    folder: Path
    family: set[int] = field(default_factory=set)


OPTIONS = ("--input-size", "16x16", "--channels", "3", "--value-range", "0,1", "--profile", "quick", "--spaces", "l2")


@pytest.fixture
def check(world: World, hostile_images: Path) -> Callable[..., Outcome]:
    """Run `smoothscan check` as a user would, with secrets in its environment."""

    def check(model: Path, *options: str, bubblewrap: bool = True, time_limit: float = 120) -> Outcome:
        environment = {
            **os.environ,
            "HOME": str(world.folder / "home"),
            "TMPDIR": str(world.temporary),
            "MLFLOW_TRACKING_TOKEN": TOKEN,
            "OMP_NUM_THREADS": "1",
        }
        if not bubblewrap:
            environment["PATH"] = str(Path(sys.executable).parent)
        command = [sys.executable, "-m", "smoothscan", "check", str(model), "--images", str(hostile_images), *OPTIONS]
        command += ["--no-cache", "--no-write-back", "--time-limit", str(time_limit), *options]
        started, seen = time.monotonic(), set()
        work = world.folder / "work"
        with (world.folder / "output.txt").open("w+b") as file:
            process = subprocess.Popen(command, cwd=work, env=environment, stdout=file, stderr=file)
            while process.poll() is None:
                try:
                    seen |= {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
                except psutil.Error:
                    break
                time.sleep(0.05)
            process.wait()
            file.seek(0)
            output = file.read().decode(errors="surrogateescape")
        report = work / "smoothscan-report" / "result.json"
        assert report.exists(), output
        result = ScanResult.model_validate(json.loads(report.read_text()))
        return Outcome(process.returncode, output, result, time.monotonic() - started, report.parent, seen)

    return check


def unharmed(world: World, outcome: Outcome) -> None:
    """Nothing outside of the sandbox was touched, nothing is left of it, and nothing private is in what was written."""
    assert list(world.outside.iterdir()) == []
    assert world.secret.read_text() == SECRET
    assert world.secret.stat().st_mode & 0o777 != 0o777
    assert world.secret.stat().st_mtime > 1
    assert world.reached() == []
    left = [pid for pid in outcome.family if psutil.pid_exists(pid) and _runs(pid)]
    assert left == [], "no process is left"
    assert list(world.temporary.iterdir()) == [], "no temporary file is left"
    written = outcome.output + "".join(
        path.read_text(errors="replace") for path in outcome.folder.rglob("*") if path.suffix in (".json", ".html")
    )
    assert SECRET not in written
    assert TOKEN not in written
    assert "Traceback" not in outcome.output
    assert "\x1b" not in outcome.output


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


needs_sandbox = pytest.mark.skipif(not protections().hold, reason="no sandbox holds here: see smoothscan doctor")
