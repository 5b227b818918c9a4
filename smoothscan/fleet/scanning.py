"""One job of a sweep in the process that does it: from the job to the bytes of a finished scan."""

from __future__ import annotations

from dataclasses import dataclass

from smoothscan.config import ScanConfig
from smoothscan.errors import SmoothscanError
from smoothscan.events import Events, Silent
from smoothscan.fleet.engines.interface import Job
from smoothscan.packed import pack
from smoothscan.sources import present


@dataclass(frozen=True)
class Done:
    """What came of a job."""

    packed: bytes | None
    """The finished scan; None if the model is the one that was scanned before."""


def scan(job: Job, events: Events | None = None) -> Done:
    """Scan one model.

    Args:
        job: what to scan; `job.into` is left to the caller, which may be on another machine.
        events: told how far it is.

    Raises:
        UsageError: the settings are wrong; nothing was scanned.
    """
    from smoothscan.pipeline import scan as run

    events = events or Silent()
    if job.unless is not None and _present_digest(job.config, events) == job.unless:
        return Done(None)
    result, exhibits = run(job.config, events, input_sources=job.input_sources)
    return Done(pack(result, exhibits))


def _present_digest(config: ScanConfig, events: Events) -> str | None:
    """Return the digest of a model's files as they are now; None if they cannot be had, which the scan will say."""
    stores = {"tracking_uri": config.tracking_uri, "registry_uri": config.registry_uri}
    try:
        return present(config.uri, **stores, events=events).digest
    except SmoothscanError:
        return None
