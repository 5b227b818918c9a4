"""Planning of `sweep.py`: how long it takes to see what is due among thousands of versions, and how much memory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep_stand import SCAN, Place, Server, acting_as, register, serving

if TYPE_CHECKING:
    from smoothscan import ScanResult

SHAPES = {"{n} models": 1, "{n} models of 10 versions": 10}
"""How the versions are spread: a name, and how many of them a model has."""
EXAMPLES = {"clean": "d02", "backdoored": "d01"}
"""Models whose scans stand in the ledger for those of all: every tenth version is backdoored."""


def planning(folder: Path, images: Path, registered: int) -> dict[str, Any]:
    """Measure `smoothscan sweep --dry-run` on metadata alone, and a sweep that finds nothing to do.

    Args:
        folder: an empty folder.
        images: folder of images.
        registered: how many versions there are.
    """
    cases, examples = [], _examples(folder, images)
    for shape, each in SHAPES.items():
        own = folder / str(each)
        own.mkdir()
        title = shape.format(n=f"{registered // each:,}")
        database = f"sqlite:///{own}/mlflow.db"
        started = time.perf_counter()
        _fill_registry(database, registered // each, each)
        made = time.perf_counter() - started
        with serving(own) as server:
            for how, uri, user in _ways(database, server):
                place = Place(uri, images, own / how.replace(" ", "-"), user)
                place.folder.mkdir()
                for known in (False, True):
                    if known:
                        _fill_ledger(place, examples)
                    taken = place.sweep("--dry-run", "--quiet", *SCAN)
                    cases.append({"registry": title, "through": how, "known": known, "what": "dry run", **taken})
        if each > 1:
            taken = place.sweep("--quiet", "--no-write-back", *SCAN)
            cases.append({"registry": title, "through": how, "known": True, "what": "sweep", **taken})
    return {"registered": registered, "registering_seconds": round(made, 1), "cases": cases}


def _ways(database: str, server: Server) -> list[tuple[str, str, dict[str, str]]]:
    return [
        ("a server", server.uri, server.admin),
        ("a server as reader", server.uri, server.reader),
        ("sqlite", database, {}),
    ]


def _fill_registry(uri: str, models: int, each: int) -> None:
    """Register versions whose files are nowhere."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    for number in range(models):
        name = f"model-{number:04d}"
        client.create_registered_model(name)
        for version in range(each):
            client.create_model_version(name, source=f"s3://nowhere/{name}/{version}")
        if number % 10 == 0:
            client.set_registered_model_alias(name, "champion", "1")


def _examples(folder: Path, images: Path) -> dict[str, ScanResult]:
    """Scan a clean and a backdoored model."""
    from smoothscan import scan

    own = folder / "examples"
    own.mkdir()
    uri = f"sqlite:///{own}/mlflow.db"
    register(uri, tuple(EXAMPLES.values()), len(EXAMPLES), own / "artifacts")
    options = {"profile": SCAN[1], "spaces": (SCAN[3],), "tracking_uri": uri}
    return {verdict: scan(f"models:/{name}/1", images, **options) for verdict, name in EXAMPLES.items()}


def _fill_ledger(place: Place, examples: Mapping[str, ScanResult]) -> None:
    """Enter a scan of every version, as a sweep with the same options would have."""
    from smoothscan.cli.fleet_setup import Rules
    from smoothscan.cli.settings import choices
    from smoothscan.fleet.folders import place_of
    from smoothscan.fleet.ledger import Ledger
    from smoothscan.fleet.plan import plan
    from smoothscan.fleet.standing import summary
    from smoothscan.result import WriteBack
    from smoothscan.sources.inventory import Selection, registered_versions, registry_name

    options = {"images": place.images, "profile": SCAN[1], "spaces": (SCAN[3],), "output_dir": place.out}
    chosen = choices({**options, "tracking_uri": place.uri, "cache_dir": place.folder / "cache"}, use_file=False)
    with acting_as(place.user), Ledger(str(place.ledger)) as ledger:
        versions = registered_versions(Selection(), tracking_uri=place.uri, registry_uri=None)
        registry = registry_name(place.uri, None)
        rules = Rules(chosen, chosen.common("smoothscan-sweep"))
        for number, planned in enumerate(plan(versions, {}, rules.order_of)):
            version, config = planned.version, planned.order.config
            scan_id = ledger.begin(registry, version, planned.order.digest, place_of(place.out))
            result = examples["clean" if number % 10 else "backdoored"]
            own = {"uri": version.uri, "resolved_uri": version.uri, "name": version.name, "version": version.version}
            result = rules.judge(result.model_copy(update={"model": result.model.model_copy(update=own)}), config)
            ledger.judge(scan_id, result, summary(planned, result))
            ledger.record(scan_id, WriteBack(status="done", run_id=scan_id, tagged=True))
