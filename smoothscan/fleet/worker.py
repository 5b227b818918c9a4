"""A process that scans one job after another: `python -m smoothscan.fleet.worker`.

Jobs come as lines of JSON on standard input, and the answer to each is a line of JSON on standard output. It ends when
its input does, so that nothing goes on when the sweep was killed.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from types import FrameType
from typing import IO

from smoothscan.errors import SmoothscanError, UsageError
from smoothscan.files import write_whole
from smoothscan.fleet.engines.interface import Job, Outcome
from smoothscan.fleet.scanning import scan
from smoothscan.surroundings import quiet

_PATIENCE = 10.0
"""Seconds to clean up in."""


def main() -> None:
    """Answer jobs until there are no more."""
    signal.signal(signal.SIGTERM, _stop)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin, jobs), daemon=True).start()
    # Scans run in the main thread: the kernel ends the model's process with the thread that started it.
    with quiet("mlflow", "alembic"):
        while True:
            print(_answer(jobs.get()).model_dump_json(), file=answers, flush=True)


def _answer(job: Job) -> Outcome:
    try:
        done = scan(job)
        if done.packed is None:
            return Outcome(job=job, ended="unchanged")
        write_whole(job.into, done.packed, durable=True)
        return Outcome(job=job, ended="scanned")
    except UsageError as error:
        return Outcome(job=job, ended="misused", message=error.message, hint=error.hint)
    except (SmoothscanError, OSError) as error:
        return Outcome(job=job, ended="crashed", message=str(error))
    except Exception as error:
        return Outcome(job=job, ended="crashed", message=f"a bug in smoothscan: {type(error).__name__}: {error}")


def _read(lines: IO[str], jobs: queue.SimpleQueue[Job]) -> None:
    for line in lines:
        jobs.put(Job.model_validate_json(line))
    os.kill(os.getpid(), signal.SIGTERM)  # the sweep is gone
    time.sleep(_PATIENCE)
    os._exit(1)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)  # temporary folders go


if __name__ == "__main__":
    main()
