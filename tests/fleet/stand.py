"""A registry of versions without files, a scanner that only pretends, and sweeps over the one by the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smoothscan.config import ScanConfig
from smoothscan.events import Silent
from smoothscan.files import write_whole
from smoothscan.fleet.engines.interface import Job, Outcome, Take
from smoothscan.fleet.folders import folder_of
from smoothscan.fleet.ledger import Ledger
from smoothscan.fleet.plan import Order
from smoothscan.fleet.sweep import Sweep, SweepOptions
from smoothscan.gate import judge
from smoothscan.packed import pack
from smoothscan.posture import Standing
from smoothscan.publish import Provenance
from smoothscan.result import ModelInfo
from smoothscan.sources.inventory import Registered, Selection
from tests.sinks.samples import Sample, backdoored, clean

DIGEST = "sha256:" + "0" * 64


def registered(name: str = "signs", version: str = "1", **more: Any) -> Registered:
    return Registered(name=name, version=version, **{"identity": "i" * 64, "created": 0.0, **more})


@dataclass
class Pretender:
    """An engine that scans nothing. What it answers to a job is a sample, an outcome, or an exception to raise."""

    answers: Callable[[Job], Sample | Outcome | BaseException] = lambda _job: clean()
    scanned: list[str] = field(default_factory=list)
    """URIs, in the order in which they were taken."""
    closed: int = 0

    def describe(self) -> str:
        return "a pretender"

    def run(self, take: Take) -> Iterator[Outcome]:
        while (job := take()) is not None:
            answer = self.answers(job)
            if isinstance(answer, BaseException):
                raise answer
            self.scanned.append(job.config.uri)
            if isinstance(answer, Outcome):
                yield answer
                continue
            name, version = job.config.uri.removeprefix("models:/").rsplit("/", 1)
            model = ModelInfo(
                uri=job.config.uri, resolved_uri=job.config.uri, name=name, version=version, digest=DIGEST
            )
            result = answer.result.model_copy(
                update={"model": model, "write_back": answer.result.write_back, "gate": None}
            )
            write_whole(job.into, pack(result, answer.exhibits), durable=False)
            yield Outcome(job=job, ended="scanned")

    def close(self) -> None:
        self.closed += 1


class Quiet(Silent):
    def __init__(self) -> None:
        self.told: list[tuple[str, int, int]] = []

    def settled(self, standing: Standing, done: int, total: int) -> None:
        self.told.append((standing.uri, done, total))


@dataclass
class Stand:
    """One registry, one ledger, one folder of results."""

    folder: Path
    tracking_uri: str
    write_back: bool = True
    digest: str = "sha256:settings"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.tracking_uri)

    def add(self, name: str, count: int = 1) -> None:
        """Register further versions; their files are nowhere."""
        client = self.client()
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        for _ in range(count):
            client.create_model_version(name, source=f"file:///nowhere/{name}")

    def ledger(self) -> Ledger:
        return Ledger(str(self.folder / "ledger.db"))

    def order_of(self, version: Registered) -> Order:
        config = ScanConfig(
            uri=version.uri,
            images=self.folder,
            tracking_uri=self.tracking_uri,
            write_back=self.write_back,
            formats=("json",),
            output_dir=self.out / folder_of(version.name, version.version),
        )
        return Order(config, {}, Provenance(), self.digest)

    def sweep(self, engine: Pretender | None = None, names: tuple[str, ...] = ("*",), **options: Any) -> Sweep:
        """Run a sweep to its end, or to what the engine raises."""
        with self.ledger() as ledger:
            sweep = self.prepared(engine or Pretender(), ledger, names, **options)
            sweep.run()
        return sweep

    def prepared(self, engine: Any, ledger: Ledger, names: tuple[str, ...] = ("*",), **options: Any) -> Sweep:
        what = SweepOptions(
            selection=Selection(names=names), output_dir=self.out, tracking_uri=self.tracking_uri, **options
        )
        return Sweep(what, self.order_of, lambda result, config: judge(result, config.fail_on), ledger, engine, Quiet())

    def tags(self, name: str, version: str) -> dict[str, str]:
        return dict(self.client().get_model_version(name, version).tags)

    def runs(self) -> list[Any]:
        client = self.client()
        experiment = client.get_experiment_by_name("smoothscan")
        return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


def flagged(_job: Job) -> Sample:
    return backdoored()
