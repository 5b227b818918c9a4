"""A worker whose scans are stubs: the model's name says what becomes of them. Started in place of the real one."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from smoothscan.errors import ConfigError, RegistryError
from smoothscan.events import Events
from smoothscan.fleet import worker
from smoothscan.fleet.engines.interface import Job
from smoothscan.fleet.scanning import Done


def scan(job: Job, _events: Events | None = None) -> Done:
    """Do as the model's name says."""
    match job.config.uri.split("/")[1]:
        case "unchanged":
            return Done(None)
        case "misused":
            raise ConfigError("There are no images.", "Pass some.")
        case "lost":
            raise RegistryError("The server did not answer.")
        case "bug":
            raise ZeroDivisionError("boom")
        case "disk-full":
            return Done(b"x") if job.into.parent.exists() else Done(b"")
        case "killed":
            print("the last words", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        case "exits":
            os._exit(0)
        case "noisy":
            print('{"job": null, "ended": "scanned"}', flush=True)
        case "slow":
            _slow(job)
        case "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            _slow(job)
    told = {
        "pid": os.getpid(),
        "threads": job.config.threads,
        "accelerator": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "temporary": os.environ["TMPDIR"],
    }
    return Done(json.dumps(told).encode())


def _slow(job: Job) -> None:
    busy = Path(os.environ["TMPDIR"]) / "busy"
    busy.touch()
    try:
        job.into.with_suffix(".pid").write_text(str(os.getpid()))
        time.sleep(600)
    finally:
        busy.unlink()


if __name__ == "__main__":
    worker.scan = scan
    worker._PATIENCE = 1.0
    worker.main()
