"""Worker processes on this machine, each with cores or with an accelerator of its own."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from smoothscan.fleet.engines.interface import GRACE, POLL, Job, Meanwhile, Outcome, Take, idle, overdue
from smoothscan.fleet.machine import Share
from smoothscan.surroundings import lasting_environment

_WORDS = 500
"""Characters of a worker's last words that go into a message."""
_PATIENCE = 10.0
"""Seconds that a worker has to clean up when it is stopped."""


class LocalEngine:
    """Scans in processes on this machine.

    Args:
        shares: one for each worker: its threads, and the accelerator that it sees.
        folder: an empty folder for the workers' logs and temporary files.
    """

    def __init__(self, shares: tuple[Share, ...], folder: Path) -> None:
        self._shares = shares
        self._workers = [_Worker(share, folder / f"worker-{number}") for number, share in enumerate(shares)]

    def describe(self) -> str:
        """Return how many workers there are, and what each has."""
        first, number = self._shares[0], len(self._shares)
        each = f"{first.threads} thread{'s' * (first.threads > 1)}" + (" each" if number > 1 else "")
        where = "" if first.accelerator is None else f" and accelerators {', '.join(_named(self._shares))}"
        return f"local, {number} worker{'s' * (number > 1)} with {each}{where}"

    def run(self, take: Take, meanwhile: Meanwhile = idle) -> Iterator[Outcome]:
        """Scan jobs until none is left and none is under way; see `Engine.run`."""
        outcomes: queue.SimpleQueue[tuple[_Worker, Outcome]] = queue.SimpleQueue()
        free = list(reversed(self._workers))

        def fill() -> None:
            while free and (job := take()) is not None:
                free.pop().begin(job, outcomes)

        while True:
            fill()  # an outcome may have brought further jobs
            if len(free) == len(self._workers):
                return
            try:
                worker, outcome = outcomes.get(timeout=POLL)
            except queue.Empty:
                meanwhile()
                continue
            free.append(worker)
            fill()  # no worker waits for an outcome to be looked at
            yield outcome

    def close(self) -> None:
        """Stop the workers, all at once."""
        for worker in self._workers:
            worker.ask_to_stop()
        for worker in self._workers:
            worker.end()


class _Worker:
    """One process, started when it is needed, and anew after it broke."""

    def __init__(self, share: Share, folder: Path) -> None:
        self._share = share
        self._folder = folder
        self._log = folder / "log.txt"
        self._process: subprocess.Popen[str] | None = None

    def begin(self, job: Job, outcomes: queue.SimpleQueue[tuple[_Worker, Outcome]]) -> None:
        """Let the process do a job; its outcome comes through the queue."""

        def follow() -> None:
            started = time.monotonic()
            try:
                outcome = self._do(job)
            except Exception as error:  # whatever it is, the sweep waits for an outcome
                outcome = Outcome(job=job, ended="crashed", message=f"{type(error).__name__}: {error}")
            outcomes.put((self, outcome.model_copy(update={"seconds": time.monotonic() - started})))

        threading.Thread(target=follow, daemon=True).start()

    def _do(self, job: Job) -> Outcome:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        config = job.config.model_copy(update={"threads": self._share.threads})
        before = self._log.stat().st_size
        late = threading.Event()

        def kill() -> None:
            late.set()
            self.end()

        clock = threading.Timer(job.config.time_limit + GRACE, kill)
        clock.start()
        try:
            process.stdin.write(job.model_copy(update={"config": config}).model_dump_json() + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = ""
        finally:
            clock.cancel()
            clock.join()  # else it could kill the process that does the next job
        try:
            return Outcome.model_validate_json(answer).model_copy(update={"job": job})
        except ValidationError:
            self.end()
        if late.is_set():
            return overdue(job, GRACE)
        return Outcome(job=job, ended="crashed", message=f"The scanning process died{self._last_words(before)}")

    def _running(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._folder.mkdir(parents=True, exist_ok=True)
        environment = {**lasting_environment(), "TMPDIR": str(self._folder), "PYTHONUNBUFFERED": "1"}
        if self._share.accelerator is not None:
            environment["CUDA_VISIBLE_DEVICES"] = self._share.accelerator
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "smoothscan.fleet.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is for the sweep, which then stops its workers
            )
        return self._process

    def _last_words(self, before: int) -> str:
        """Return the end of what the process said during a job; what stands before in its log is about other models."""
        with contextlib.suppress(OSError):
            text = self._log.read_bytes()[before:].decode(errors="replace").strip()
            if text:
                return f": {text[-_WORDS:]}"
        return ", without a word: perhaps there was not enough memory."

    def ask_to_stop(self) -> None:
        """Let the process clean up and end."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """Wait for a process that was asked to stop, and kill it if it does not; else kill it at once."""
        if self._process is None:
            return
        self.ask_to_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _named(shares: tuple[Share, ...]) -> list[str]:
    return sorted({share.accelerator for share in shares if share.accelerator is not None})
