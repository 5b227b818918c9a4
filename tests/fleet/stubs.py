"""What a room full of scans is tested with: versions, orders and results that nothing was scanned for."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from smoothscan.config import ScanConfig
from smoothscan.errors import UsageError
from smoothscan.exhibits import Exhibits
from smoothscan.fleet.engines.interface import Job, Take
from smoothscan.fleet.plan import Order
from smoothscan.publish import Provenance
from smoothscan.result import ModelInfo, ScanResult
from smoothscan.sources.inventory import Registered
from tests.sinks import samples

REGISTRY = "sqlite:////registry.db"
DIGEST = "sha256:settings"


def version(name: str = "digits", number: int | str = 1, **changes: Any) -> Registered:
    """Make a version as a registry describes it."""
    values = {"identity": f"{name} {number}", "created": 1000.0 + int(number), **changes}
    return Registered(name, str(number), **values)


def order(
    registered: Registered,
    folder: Path = Path("out"),
    digest: str = DIGEST,
    problem: UsageError | None = None,
    **more: Any,
) -> Order:
    """Say how to scan a version; reports are JSON, which is quick."""
    values = {"images": Path("images"), "output_dir": folder / registered.name / registered.version, **more}
    config = ScanConfig(uri=registered.uri, **{"formats": ("json",), **values})
    return Order(config, {}, Provenance(), "" if problem else digest, problem)


@cache
def _sample(kind: str) -> samples.Sample:
    return samples.SAMPLES[kind]()


def exhibits(kind: str = "clean") -> Exhibits:
    """Return pictures that go with a result."""
    return _sample(kind).exhibits


def result(name: str = "digits", number: int | str = 1, kind: str = "clean", **changes: Any) -> ScanResult:
    """Make the result of a scan that is just finished."""
    model = ModelInfo(
        uri=f"models:/{name}/{number}",
        resolved_uri=f"models:/{name}/{number}",
        name=name,
        version=str(number),
        digest=digest_of(f"models:/{name}/{number}"),
    )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    values = {"model": model, "config_digest": DIGEST, "started_at": now, "finished_at": now, "write_back": {}}
    plain = _sample(kind).result.model_dump(exclude={"write_back"})
    return ScanResult.model_validate({**plain, **values, **changes})


def digest_of(uri: str) -> str:
    """Return what stands for the digest of a model's files."""
    return "sha256:" + hashlib.sha256(uri.encode()).hexdigest()


def jobs(config: ScanConfig, folder: Path, *changes: dict[str, Any]) -> Take:
    """Make a job for each set of changes to a configuration; hand them out one after another."""
    waiting = [
        Job(scan_id=str(number), config=config.model_copy(update=each), into=folder / f"{number}.safetensors")
        for number, each in enumerate(changes)
    ]
    return lambda: waiting.pop(0) if waiting else None
