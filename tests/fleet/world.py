"""A registry, a ledger and an engine that scans nothing, for sweeps that take no time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from smoothscan.config import ScanConfig
from smoothscan.events import Silent
from smoothscan.exhibits import Exhibits
from smoothscan.fleet.engines.interface import Job, Meanwhile, Outcome, Take, idle
from smoothscan.fleet.folders import WORK, folder_of
from smoothscan.fleet.ledger import Entry, Ledger
from smoothscan.fleet.plan import Order
from smoothscan.fleet.sweep import Sweep, SweepOptions
from smoothscan.gate import judge
from smoothscan.packed import pack
from smoothscan.posture import Standing
from smoothscan.result import ScanResult, Waiver
from smoothscan.sources.inventory import Registered, Selection, registered_versions, registry_name

from .stubs import DIGEST, exhibits, order, result

Doing = Callable[[Job], Outcome]


class Watch(Silent):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.settlings: list[tuple[str, str, int, int]] = []
        self.seen_under_way: list[tuple[str, ...]] = []
        self.warnings: list[str] = []
        self.infos: list[str] = []

    def under_way(self, uris: Sequence[str]) -> None:
        self.seen_under_way.append(tuple(uris))

    def settled(self, standing: Standing, done: int, total: int) -> None:
        self.settlings.append((standing.uri, standing.action, done, total))

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def info(self, message: str) -> None:
        self.infos.append(message)


class Engine:
    """Writes results that stand ready.

    Args:
        does: what it does with models of a name, instead of writing a clean result.
        step: called before each scan, and after it.
        room: jobs that it takes at a time.
    """

    def __init__(
        self, does: dict[str, Doing] | None = None, step: Callable[[str], None] = lambda _: None, room: int = 2
    ) -> None:
        self.does = does or {}
        self.step = step
        self.room = room
        self.jobs: list[Job] = []
        self.scanned: list[str] = []
        self.closed = 0

    def describe(self) -> str:
        return "none, with 2 workers"

    def run(self, take: Take, meanwhile: Meanwhile = idle) -> Iterator[Outcome]:
        under_way: list[Job] = []
        while True:
            while len(under_way) < self.room and (job := take()) is not None:
                under_way.append(job)
            if not under_way:
                return
            job = under_way.pop(0)
            self.jobs.append(job)
            yield self.do(job)

    def do(self, job: Job) -> Outcome:
        name = job.config.uri.split("/")[1]
        self.step("scan")
        outcome = self.does.get(name, scanned)(job)
        self.scanned.append(job.config.uri)
        self.step("scanned")
        return outcome

    def close(self) -> None:
        self.closed += 1


def scanned(job: Job, kind: str = "clean", pictures: bool = False, **changes: Any) -> Outcome:
    """Write a result, as a worker does."""
    _, name, version = job.config.uri.split("/")
    found = result(name, version, kind, **changes)
    job.into.write_bytes(pack(found, exhibits(kind) if pictures else Exhibits()))
    return Outcome(job=job, ended="scanned", seconds=1.0)


def ended(how: Any, message: str = "", hint: str = "") -> Doing:
    """End every job in this way."""
    return lambda job: Outcome(job=job, ended=how, message=message, hint=hint)


class World:
    """A registry, a ledger and a folder of results.

    Args:
        folder: where ledger and results are.
        tracking_uri: the registry.
    """

    def __init__(self, folder: Path, tracking_uri: str) -> None:
        from mlflow import MlflowClient

        self.folder = folder
        self.out = folder / "out"
        self.tracking_uri = tracking_uri
        self.client = MlflowClient(tracking_uri)
        self.registry = registry_name(self.tracking_uri, None)
        self.digest = DIGEST
        self.config: dict[str, Any] = {}
        self.waivers: tuple[Waiver, ...] = ()
        self.ledger_path = str(folder / "ledger.db")
        self.standings: dict[str, Standing] = {}
        """How versions stood when the last sweep ended, or was ended."""

    def register(self, *names: str, versions: int = 1) -> list[str]:
        """Register versions of which there is nothing but a description; return their URIs."""
        for name in names:
            self.client.create_registered_model(name)
        return [self.add(name) for name in names for _ in range(versions)]

    def add(self, name: str) -> str:
        """Register one more version of a model."""
        made = self.client.create_model_version(name, f"s3://nowhere/{name}")
        return f"models:/{name}/{made.version}"

    def clear(self) -> None:
        """Remove all models."""
        for model in self.client.search_registered_models():
            self.client.delete_registered_model(model.name)

    def versions(self) -> dict[str, Registered]:
        """Return the versions as the registry describes them, by URI."""
        found = registered_versions(Selection(), tracking_uri=self.tracking_uri, registry_uri=None)
        return {each.uri: each for each in found}

    def order_of(self, version: Registered) -> Order:
        folder = folder_of(version.name, version.version)
        config = {"output_dir": self.out / folder, "tracking_uri": self.tracking_uri, **self.config}
        return order(version, digest=self.digest, **config)

    def sweep(
        self, engine: Engine | None = None, watch: Watch | None = None, order_of: Any = None, **options: Any
    ) -> dict[str, Standing]:
        """Run a sweep to its end; return how versions stand."""
        values = {"output_dir": self.out, "tracking_uri": self.tracking_uri, **options}
        with self.ledger() as ledger:
            sweep = Sweep(
                SweepOptions(**values),
                order_of or self.order_of,
                self.judged,
                ledger,
                engine or Engine(),
                watch or Watch(),
            )
            self.standings = sweep.standings
            sweep.run()
        return sweep.standings

    def judged(self, found: ScanResult, config: ScanConfig) -> ScanResult:
        return judge(found, config.fail_on, self.waivers, None, datetime.now(UTC).date())

    def ledger(self) -> Ledger:
        return Ledger(self.ledger_path)

    def newest(self) -> dict[str, Entry]:
        """Return the newest scan of each version by URI."""
        with self.ledger() as ledger:
            return {f"models:/{name}/{number}": e for (name, number), e in ledger.newest(self.registry).items()}

    def states(self) -> dict[str, int]:
        """Return how many scans of the ledger are in which state."""
        return dict(Counter(state for _, state in self._scans()))

    def _scans(self) -> list[tuple[str, str]]:
        import sqlalchemy as sql

        with sql.create_engine(f"sqlite:///{self.ledger_path}").connect() as connection:
            return [tuple(row) for row in connection.execute(sql.text("SELECT scan_id, state FROM smoothscan_scans"))]

    def tags(self, uri: str) -> dict[str, str]:
        _, name, number = uri.split("/")
        tags: dict[str, str] = self.client.get_model_version(name, number).tags
        return {tag.removeprefix("smoothscan."): value for tag, value in tags.items()}

    def written(self, uri: str) -> dict[str, Any]:
        """Return the result file of a version."""
        _, name, number = uri.split("/")
        found: dict[str, Any] = json.loads((self.out / folder_of(name, number) / "result.json").read_text())
        return found

    def assert_consistent(self, *uris: str) -> None:
        """Ledger, tags, runs and files of these versions say the same, and nothing is left over."""
        newest, scans = self.newest(), dict(self._scans())
        assert set(newest) == set(uris)
        assert set(scans.values()) == {"recorded"}
        experiment = self.client.get_experiment_by_name("smoothscan").experiment_id
        runs = [run for run in self.client.search_runs([experiment]) if run.data.tags["smoothscan.scan_id"] in scans]
        by_scan = {run.data.tags["smoothscan.scan_id"]: run for run in runs}
        assert len(runs) == len(by_scan) == len(scans), "one run for each scan"
        hidden = {path.name for path in self.out.rglob(".*")}
        assert hidden <= {WORK}, "nothing half-written is left"
        assert list((self.out / WORK).glob("*.safetensors")) == []
        with self.ledger() as ledger:
            for uri, entry in newest.items():
                run = by_scan[entry.scan_id]
                assert run.info.status == ("FINISHED" if entry.status == "completed" else "FAILED")
                tags, kept, written = self.tags(uri), ledger.result(entry.scan_id), self.written(uri)
                assert kept is not None
                assert (kept.write_back.status, kept.write_back.run_id) == ("done", run.info.run_id), kept.write_back
                assert tags["run_id"] == run.info.run_id
                assert tags["verdict"] == (entry.verdict or entry.status)
                assert tags["config_digest"] == entry.config_digest == written["config_digest"]
                assert (written["verdict"], written["status"]) == (entry.verdict, entry.status)
                assert written["write_back"]["run_id"] == run.info.run_id
