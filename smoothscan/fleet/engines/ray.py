"""A Ray cluster: many machines and accelerators. Images and files that a scan reads are sent along with it."""

from __future__ import annotations

import logging
import re
import signal
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smoothscan.config import ScanConfig
from smoothscan.errors import ConfigError, EngineError, UsageError
from smoothscan.files import write_whole
from smoothscan.fleet.engines.interface import GRACE, POLL, Job, Meanwhile, Outcome, Take, idle, overdue
from smoothscan.sources.images import list_images
from smoothscan.surroundings import kept_handler

if TYPE_CHECKING:
    from ray import ObjectRef

_INSTALL = "Install it with: python -m pip install 'smoothscan[ray]', here and on every node."
_HOST_AND_PORT = re.compile(r"(?:ray://)?\[?([^/\]]+?)\]?:(\d+)")
_POLITE = 10.0
"""Seconds to wait for a cluster's first sign of life."""
_PATIENCE, _PATIENCE_WITH_HEAD = 5.0, 30.0
"""Seconds without a sign of life from this machine's node, which never comes back, and from the head node."""


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


class _Starts:
    """Knows when each scan began, on the cluster: it may have waited there for room."""

    def __init__(self) -> None:
        self._begun: dict[str, float] = {}

    def note(self, key: str) -> None:
        self._begun[key] = time.monotonic()

    def ages(self) -> dict[str, float]:
        return {key: time.monotonic() - begun for key, begun in self._begun.items()}


@dataclass
class _Task:
    job: Job
    sent: float
    began: float | None = None
    """When its scan began, as far as that is known."""

    @property
    def seconds(self) -> float:
        return time.monotonic() - (self.began or self.sent)

    @property
    def is_overdue(self) -> bool:
        return self.began is not None and self.seconds > self.job.config.time_limit + GRACE


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
        self._ray = require_ray()
        self._threads = threads or 1
        self._started = not self._ray.is_initialized()
        if self._started:
            with _connecting(address, self._ray.exceptions.RayError), kept_handler(signal.SIGTERM):
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
        self._starts = self._ray.remote(num_cpus=0, max_restarts=-1)(_Starts).remote()
        self._ages: ObjectRef[dict[str, float]] | None = None
        self._watch = _watch_over(self._ray)

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

        # Ray asks the process to exit when its own node is gone.
        lost = (self._ray.exceptions.RaySystemError, ConnectionError, SystemExit)
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
                    self._watch.look()
                    meanwhile()
                self._note_starts(under_way.values())
                for reference in ready:
                    task = under_way.pop(reference)
                    fill()  # no node waits for an outcome to be looked at
                    yield self._outcome(reference, task)
                for reference in [each for each, task in under_way.items() if task.is_overdue]:
                    self._ray.cancel(reference, force=True)
                    yield overdue(under_way.pop(reference).job, GRACE)
        except lost as error:
            under_way.clear()  # there is nobody to tell
            raise _lost(error) from error
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
            job.model_copy(update={"config": threads}).model_dump_json(), self._sent[files], self._starts
        )
        return reference

    def _note_starts(self, tasks: Iterable[_Task]) -> None:
        """Find out which scans have begun, without waiting for the answer."""
        if self._ages is None:
            self._ages = self._starts.ages.remote()
        if not self._ray.wait([self._ages], timeout=0)[0]:
            return
        answer, self._ages = self._ages, None
        with suppress(self._ray.exceptions.RayActorError):  # its node died; it is started again on another one
            ages = self._ray.get(answer)
            for task in tasks:
                if task.began is None and (key := _key(task.job)) in ages:
                    task.began = time.monotonic() - ages[key]

    def _outcome(self, reference: ObjectRef[bytes | None], task: _Task) -> Outcome:
        seconds = task.seconds
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


def _scan(text: str, bundle: Bundle, starts: Any) -> bytes | None:
    """Do one job on a node."""
    from smoothscan.fleet.scanning import scan

    job = Job.model_validate_json(text)
    starts.note.remote(_key(job))
    with tempfile.TemporaryDirectory(prefix="smoothscan-") as folder:
        config = bundle.unpacked(job.config, Path(folder))
        return scan(job.model_copy(update={"config": config})).packed


def _key(job: Job) -> str:
    return f"{job.scan_id} {job.attempt}"


class _Watch:
    """Sees that the processes are there which a cluster needs: without them Ray itself ends this process, in the end.

    Args:
        processes: host, port, and the seconds for which each may be silent.
    """

    def __init__(self, processes: dict[tuple[str, int], float]) -> None:
        self._processes = processes
        self._seen = dict.fromkeys(processes, time.monotonic())

    def look(self) -> None:
        """See that each is there.

        Raises:
            ConnectionError: one was not for too long.
        """
        for address, patience in self._processes.items():
            try:
                socket.create_connection(address, timeout=1).close()
                self._seen[address] = time.monotonic()
            except OSError as error:
                if time.monotonic() - self._seen[address] > patience:
                    where = f"{address[0]}:{address[1]}"
                    raise ConnectionError(f"nobody answers at {where} any more ({error})") from error


def _watch_over(ray: Any) -> _Watch:
    if ray.util.client.ray.is_connected():  # ray://: the connection itself tells
        return _Watch({})
    here = ray.get_runtime_context()
    host, _, port = str(here.gcs_address).rpartition(":")
    own = {
        (str(node["NodeManagerAddress"]), int(node["NodeManagerPort"])): _PATIENCE
        for node in ray.nodes()
        if node["NodeID"] == here.get_node_id()
    }
    return _Watch({(host.strip("[]"), int(port)): _PATIENCE_WITH_HEAD, **own})


def _lost(error: BaseException) -> EngineError:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    if isinstance(error, SystemExit):
        reason = "Ray ended on this machine."
    return EngineError(
        f"The Ray cluster was lost: {reason}",
        "Start it again, and run the same command: what is finished is not scanned again.",
    )


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


def require_ray() -> Any:
    """Return the library.

    Raises:
        ConfigError: Ray is not installed.
    """
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ConfigError(f"--engine ray needs Ray: {error}", _INSTALL) from None
    return ray
