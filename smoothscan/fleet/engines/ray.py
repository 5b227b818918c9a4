"""A Ray cluster: many machines and accelerators. Images and files that a scan reads are sent along with it."""

from __future__ import annotations

import logging
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smoothscan.config import ScanConfig
from smoothscan.errors import ConfigError, EngineError, UsageError
from smoothscan.files import write_whole
from smoothscan.fleet.engines.interface import GRACE, POLL, Job, Meanwhile, Outcome, Take, idle, overdue
from smoothscan.sources.images import list_images

if TYPE_CHECKING:
    from ray import ObjectRef

_INSTALL = "Install it with: python -m pip install 'smoothscan[ray]', here and on every node."
_HOST_AND_PORT = re.compile(r"(?:ray://)?\[?([^/\]]+?)\]?:(\d+)")
_POLITE = 10.0
"""Seconds to wait for a cluster's first sign of life."""


@dataclass(frozen=True)
class Bundle:
    """The user's files that a scan reads, with their contents: the nodes of a cluster need not share a disk."""

    files: dict[str, bytes] = field(default_factory=dict)
    """Contents by path below a folder for each setting: `images/a.png`, `calibration/clean.json`, ..."""

    @staticmethod
    def of(config: ScanConfig) -> Bundle:
        """Read the files that a configuration names."""
        root, files = config.images, {}
        for path in list_images(root):
            files[f"images/{path.relative_to(root).as_posix()}"] = path.read_bytes()
        if config.calibration is not None:
            files["calibration/clean.json"] = config.calibration.read_bytes()
        if config.denoiser is not None and (folder := Path(config.denoiser)).is_dir():
            for path in folder.rglob("*"):
                if path.is_file():
                    files[f"denoiser/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
        return Bundle(files)

    def unpacked(self, config: ScanConfig, folder: Path) -> ScanConfig:
        """Write the files below a folder, and return the configuration that names them there."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        changes: dict[str, Any] = {"images": folder / "images"}
        if config.calibration is not None:
            changes["calibration"] = folder / "calibration" / "clean.json"
        if (folder / "denoiser").is_dir():
            changes["denoiser"] = str(folder / "denoiser")
        return config.model_copy(update=changes)


@dataclass(frozen=True)
class _Task:
    job: Job
    began: float


class RayEngine:
    """Scans on the nodes of a Ray cluster.

    Args:
        address: the cluster; None for the one that Ray finds, or a new one on this machine.
        workers: scans side by side; None for as many as the cluster has room for.
        threads: CPU threads of each; None for one.

    Raises:
        ConfigError: Ray is not installed.
        EngineError: the cluster cannot be reached.
    """

    def __init__(self, address: str | None, workers: int | None, *, threads: int | None) -> None:
        self._ray = _library()
        self._threads = threads or 1
        self._started = not self._ray.is_initialized()
        if self._started:
            with _connecting(address, self._ray.exceptions.RayError):
                _knock(address)
                self._ray.init(
                    address=address, log_to_driver=False, include_dashboard=False, logging_level=logging.WARNING
                )
        nodes = self._ray.cluster_resources()
        self._on_accelerators = nodes.get("GPU", 0) >= 1
        room = nodes.get("GPU", 0) if self._on_accelerators else nodes.get("CPU", 1) // self._threads
        self._workers = workers or max(1, int(room))
        self._nodes = len(self._ray.nodes())
        self._sent: dict[tuple[Any, ...], ObjectRef[Bundle]] = {}

    def describe(self) -> str:
        """Return how large the cluster is, and how many scans there are at a time."""
        return f"ray, {self._workers} at a time on {self._nodes} node{'s' * (self._nodes > 1)}"

    def run(self, take: Take, meanwhile: Meanwhile = idle) -> Iterator[Outcome]:
        """Scan jobs until none is left and none is under way; see `Engine.run`."""
        under_way: dict[ObjectRef[bytes | None], _Task] = {}
        unsent: list[Outcome] = []

        def fill() -> None:
            while len(under_way) < self._workers and (job := take()) is not None:
                try:
                    under_way[self._begin(job)] = _Task(job, time.monotonic())
                except (UsageError, OSError) as error:  # images that were there when the sweep was planned are gone
                    unsent.append(_failed(job, error))

        try:
            while True:
                fill()  # an outcome may have brought further jobs
                if unsent:
                    yield unsent.pop()
                    continue
                if not under_way:
                    return
                ready, _ = self._ray.wait(list(under_way), num_returns=1, timeout=POLL)
                if not ready:
                    meanwhile()
                for reference in ready:
                    task = under_way.pop(reference)
                    fill()  # no node waits for an outcome to be looked at
                    yield self._outcome(reference, task)
                for reference in [each for each, task in under_way.items() if _is_overdue(task)]:
                    self._ray.cancel(reference, force=True)
                    yield overdue(under_way.pop(reference).job, GRACE)
        finally:
            for reference in under_way:
                with suppress(Exception):  # the cluster may be gone already
                    self._ray.cancel(reference, force=True)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._started:
            self._ray.shutdown()

    def _begin(self, job: Job) -> ObjectRef[bytes | None]:
        config = job.config
        files = (config.images, config.calibration, config.denoiser)
        if files not in self._sent:
            self._sent[files] = self._ray.put(Bundle.of(config))
        threads = config.model_copy(update={"threads": self._threads})
        accelerators = 1 if self._on_accelerators else 0
        remote = self._ray.remote(num_cpus=self._threads, num_gpus=accelerators, max_retries=0, max_calls=1)(_scan)
        reference: ObjectRef[bytes | None] = remote.remote(
            job.model_copy(update={"config": threads}).model_dump_json(), self._sent[files]
        )
        return reference

    def _outcome(self, reference: ObjectRef[bytes | None], task: _Task) -> Outcome:
        seconds = time.monotonic() - task.began
        try:
            packed = self._ray.get(reference)
            if packed is None:
                return Outcome(job=task.job, ended="unchanged", seconds=seconds)
            write_whole(task.job.into, packed, durable=True)
            return Outcome(job=task.job, ended="scanned", seconds=seconds)
        except self._ray.exceptions.RayTaskError as error:
            return _failed(task.job, error.cause, seconds)
        except OSError as error:
            return _failed(task.job, error, seconds)
        except self._ray.exceptions.RayError as error:  # the worker or its node died
            message = f"The scanning process died: {str(error).partition(chr(10))[0]}"
            return Outcome(job=task.job, ended="crashed", message=message, seconds=seconds)


def _scan(text: str, bundle: Bundle) -> bytes | None:
    """Do one job on a node."""
    from smoothscan.fleet.scanning import scan

    job = Job.model_validate_json(text)
    with tempfile.TemporaryDirectory(prefix="smoothscan-") as folder:
        config = bundle.unpacked(job.config, Path(folder))
        return scan(job.model_copy(update={"config": config})).packed


def _is_overdue(task: _Task) -> bool:
    return time.monotonic() - task.began > task.job.config.time_limit + GRACE


def _failed(job: Job, error: Exception, seconds: float = 0.0) -> Outcome:
    if isinstance(error, UsageError):
        return Outcome(job=job, ended="misused", message=error.message, hint=error.hint, seconds=seconds)
    return Outcome(job=job, ended="crashed", message=f"{type(error).__name__}: {error}", seconds=seconds)


def _knock(address: str | None) -> None:
    """Find out who listens there, if anybody: Ray itself keeps trying for minutes."""
    if address is None or not (found := _HOST_AND_PORT.fullmatch(address)):
        return
    with socket.create_connection((found[1], int(found[2])), timeout=_POLITE) as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: ray\r\n\r\n")
        with suppress(TimeoutError):
            if line.recv(5) == b"HTTP/":  # Ray speaks another protocol there
                raise ConnectionError("a web server answers, perhaps its dashboard; Ray's own port is 6379")


@contextmanager
def _connecting(address: str | None, ray_error: type[Exception]) -> Iterator[None]:
    """Turn what goes wrong on the way to a cluster into one message."""
    try:
        yield
    except (RuntimeError, ValueError, OSError, ray_error) as error:
        where = "on this machine" if address is None else f"at {address}"
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise EngineError(
            f"There is no Ray cluster {where}: {reason}", "Check --ray-address and that `ray status` answers there."
        ) from error


def _library() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ConfigError(f"--engine ray needs Ray: {error}", _INSTALL) from None
    return ray
