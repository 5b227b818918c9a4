"""The order of one sweep: list, plan, scan what is due, record each result."""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from smoothscan.config import Frozen, ScanConfig
from smoothscan.draft import Draft
from smoothscan.errors import ConfigError, ModelHostError, ScanTimeoutError, SmoothscanError
from smoothscan.events import Events, Silent
from smoothscan.exhibits import Exhibits
from smoothscan.files import remove_drafts
from smoothscan.fleet.engines.interface import Engine, Job, Outcome
from smoothscan.fleet.folders import WORK, place_of
from smoothscan.fleet.ledger import Entry, Ledger
from smoothscan.fleet.plan import Order, Planned, Shard, plan, why_due
from smoothscan.fleet.recording import Recorder
from smoothscan.fleet.standing import standing_of, standing_so_far, summary
from smoothscan.fleet.upkeep import IN_VAIN, Amiss, amiss, bring_up_to_date, in_turn, or_broken, put_right
from smoothscan.packed import PackedError, unpack
from smoothscan.posture import Standing
from smoothscan.products import REPORT
from smoothscan.publish import clear_up, deliver, is_of, read_there
from smoothscan.result import ModelInfo, ScanResult, WriteBack
from smoothscan.sinks.mlflow_registry import WORSE, worse_since
from smoothscan.sources.inventory import Registered, Selection, registered_versions, registry_name

_TRANSIENT = frozenset({"RegistryError", "ModelHostError"})
"""Errors that may be gone at the next attempt: a server that is down, a process that was killed for its memory."""
_PAUSE = 2.0
"""Seconds before a second attempt; twice as many before each further one, up to `_LONGEST_PAUSE`."""
_LONGEST_PAUSE = 60.0
_PACKED = ".safetensors"


class SweepOptions(Frozen):
    """What a sweep is asked to do, apart from how each model is scanned."""

    selection: Selection = Selection()
    """Which versions to look at."""
    shard: Shard | None = None
    """Which part of them; None for all."""
    rescan: bool = False
    """Whether to scan what has a scan that holds, too."""
    check_files: bool = False
    """Whether to fetch and hash the files of versions whose scan holds, and to scan those that changed."""
    retries: int = 2
    """Further attempts after a crash or a lost server."""
    output_dir: Path = Path("smoothscan-sweep")
    """Folder of the results."""
    tracking_uri: str | None = None
    """MLflow tracking server; None for MLflow's own setting."""
    registry_uri: str | None = None
    """MLflow model registry; None for MLflow's own setting."""


class Watcher(Events, Protocol):
    """Is told of the sweep as a whole."""

    def under_way(self, uris: Sequence[str]) -> None:
        """These versions are scanned at the moment."""

    def settled(self, standing: Standing, done: int, total: int) -> None:
        """A version is done, the `done`-th of `total` that there is something to do for."""


@dataclass
class _Task:
    """Something to do for one version."""

    planned: Planned
    attempt: int = 1
    not_before: float = 0.0
    """On the monotonic clock."""


class Sweep:
    """One sweep over a registry.

    Args:
        options: what to do.
        order_of: says how to scan a version.
        judge: the gate: adds to a result whether its model may pass, under its configuration.
        ledger: what is known.
        engine: who scans; None for a look at what is due.
        watcher: who is told.
    """

    def __init__(
        self,
        options: SweepOptions,
        order_of: Callable[[Registered], Order],
        judge: Callable[[ScanResult, ScanConfig], ScanResult],
        ledger: Ledger,
        engine: Engine | None,
        watcher: Watcher,
    ) -> None:
        self._options = options
        self._order_of = order_of
        self._judge = judge
        self._ledger = ledger
        self._engine = engine
        self._watcher = watcher
        self._work = options.output_dir / WORK
        self._place = ""
        self._registry = ""
        self._waiting: deque[_Task] = deque()
        self._under_way: dict[str, _Task] = {}
        self._done = 0
        self._recorder = Recorder("")
        self.standings: dict[str, Standing] = {}
        """What is known of every version that was listed, by URI."""

    @property
    def registry(self) -> str:
        """The registry, without credentials; empty before it was listed."""
        return self._registry

    def look(self) -> tuple[Planned, ...]:
        """List the registry and decide what is due. Nothing is downloaded, scanned or written.

        Raises:
            RegistryError: the registry did not answer, or refused.
            LedgerError: the ledger cannot be read.
            UsageError: there are no settings that anything could be scanned with.
        """
        options = self._options
        self._watcher.stage("list", "registered versions")
        stores = {"tracking_uri": options.tracking_uri, "registry_uri": options.registry_uri}
        versions = registered_versions(options.selection, **stores)
        if options.shard is not None:
            versions = tuple(version for version in versions if options.shard.has(version))
        self._registry = registry_name(**stores)
        planned = plan(versions, self._known(versions), self._order_of, rescan=options.rescan)
        problems = [each.order.problem for each in planned]
        if not options.selection.versions and problems and problems[0] is not None and all(problems):
            raise problems[0]  # nobody named these versions: it is the settings of the sweep that are wrong
        for each in planned:
            self.standings[each.version.uri] = standing_so_far(each, "pending" if each.due else "kept")
        return planned

    def _known(self, versions: tuple[Registered, ...]) -> dict[tuple[str, str], Entry]:
        if not self._options.selection.versions:
            return self._ledger.newest(self._registry)
        entries = [self._ledger.newest_of(self._registry, version) for version in versions]
        return {(entry.name, entry.version): entry for entry in entries if entry is not None}

    def run(self) -> None:
        """Scan what is due, and record it.

        Raises:
            KeyboardInterrupt: the user stopped it. What was finished is recorded; `standings` says what is known.
            SmoothscanError: registry, ledger or engine cannot be reached, or the results cannot be written.
        """
        assert self._engine is not None
        try:
            planned = self.look()
            self._place = place_of(self._options.output_dir)
            self._clear()
            self._recorder = Recorder(self._registry)
            recorded = self._record_what_was_left(planned)
            self._tell_recorded(wait=True)  # before a version among them is scanned anew, into the same folder
            for each in planned:
                if not each.due and each.version.uri not in recorded:
                    self._keep(each)
            tasks = [_Task(each) for each in planned if each.due or (self._options.check_files and each.known)]
            self._waiting.extend(tasks)
            self._watcher.stage("scan", f"{len(tasks)} of {len(planned)} versions, {self._engine.describe()}")
            if tasks:
                self._watcher.progress(0, len(tasks))
            for outcome in self._engine.run(self._take, self._tell_recorded):
                self._tell_recorded()
                self._settle(outcome)
            self._tell_recorded(wait=True)
            self._put_right([each for each in planned if not each.due and each.version.uri not in recorded])
        finally:
            self._engine.close()
            for standing in self._recorder.stop():
                self._tell(standing)
            self._clear()
        needed = self._ledger.under_way(self._registry, self._place)
        for path in self._work.glob(f"*{_PACKED}"):
            if path.stem not in needed:  # a sweep over other versions was killed here, and will go on
                path.unlink(missing_ok=True)

    def _take(self) -> Job | None:
        """Return the next job; tasks that need no work, or whose work was done before a crash, are settled here."""
        while (task := self._next()) is not None:
            order = task.planned.order
            if self._was_done_by_others(task):
                continue
            scan_id = self._ledger.begin(self._registry, task.planned.version, order.digest, self._place)
            self._under_way[scan_id] = task
            known = task.planned.known
            job = Job(
                scan_id=scan_id,
                config=order.config,
                input_sources=dict(order.input_sources),
                into=self._work / f"{scan_id}{_PACKED}",
                unless=None if task.planned.due or known is None else known.model_digest,
                attempt=task.attempt,
            )
            if order.problem is not None:
                problem = order.problem
                self._settle(Outcome(job=job, ended="misused", message=problem.message, hint=problem.hint))
            elif job.into.exists():
                self._settle(Outcome(job=job, ended="scanned"))
            else:
                self._watcher.info(f"scanning {job.config.uri}")
                self._tell_under_way()
                return job
        return None

    def _next(self) -> _Task | None:
        """Return a task whose time has come; while others are under way, none of those that have to wait."""
        while self._waiting:
            soonest = min(self._waiting, key=lambda task: task.not_before)
            ready = next((task for task in self._waiting if task.not_before <= time.monotonic()), None)
            if ready is not None:
                self._waiting.remove(ready)
                return ready
            if self._under_way:
                return None
            self._tell_recorded(wait=True)
            time.sleep(max(0.0, soonest.not_before - time.monotonic()))
        return None

    def _was_done_by_others(self, task: _Task) -> bool:
        """Tell whether a server or another sweep has scanned the version since it was planned."""
        planned = task.planned
        newest = self._ledger.newest_of(self._registry, planned.version)
        if newest is None or (planned.known is not None and newest.scan_id == planned.known.scan_id):
            return False
        if why_due(planned.version, planned.order, newest, time.time()):
            return False
        self._tell(standing_so_far(replace(planned, known=newest, due=""), "kept"))
        return True

    def _settle(self, outcome: Outcome) -> None:
        job = outcome.job
        task = self._under_way.pop(job.scan_id)
        self._tell_under_way()
        if outcome.ended == "unchanged":
            self._ledger.forget(job.scan_id)
            self._tell(self.standings[task.planned.version.uri])
            return
        result, exhibits = self._result_of(outcome, task.planned)
        if result.error is not None and result.error.type in _TRANSIENT and task.attempt <= self._options.retries:
            pause = min(_LONGEST_PAUSE, _PAUSE * 2 ** (task.attempt - 1))
            self._watcher.warning(f"{job.config.uri}: {result.error.message} Trying again in {pause:.0f} s.")
            job.into.unlink(missing_ok=True)
            self._waiting.append(_Task(task.planned, task.attempt + 1, time.monotonic() + pause))
            return
        planned = task.planned
        if outcome.ended == "scanned" and not planned.due:
            planned = replace(planned, due="files changed")
        self._ledger.judge(job.scan_id, result, summary(planned, result))
        self._record(job.scan_id, planned, result, exhibits, attempts=task.attempt)

    def _result_of(self, outcome: Outcome, planned: Planned) -> tuple[ScanResult, Exhibits]:
        """Return the result that a job came to, judged; of one that came to none, a result that says so."""
        order, message = planned.order, outcome.message
        if outcome.ended == "scanned":
            try:
                result, exhibits = unpack(outcome.job.into)
                config = order.config.model_dump(mode="json")  # an engine may have moved files and set threads
                return self._judge(result.model_copy(update={"config": config}), order.config), exhibits
            except (OSError, PackedError) as unreadable:
                message = f"The finished scan cannot be read: {unreadable}"
        error: SmoothscanError = ModelHostError(message, "Scan it alone with smoothscan check to see more.")
        if outcome.ended == "overdue":
            error = ScanTimeoutError(message, "Raise --time-limit, or choose a lighter --profile for it.")
        elif outcome.ended == "misused":
            error = ConfigError(message, outcome.hint)
        version = planned.version
        model = ModelInfo(uri=version.uri, resolved_uri=version.uri, name=version.name, version=version.version)
        result = Draft(order.config, model, "").ended_by(error)
        return self._judge(result.model_copy(update={"config_digest": order.digest}), order.config), Exhibits()

    def _keep(self, planned: Planned) -> None:
        """Say how a version stands whose scan holds; waivers may have come or gone since then."""
        entry, config = planned.known, planned.order.config
        assert entry is not None
        standing = standing_so_far(planned, "kept")
        there = read_there(config.output_dir)
        is_here = is_of(there, standing.config_digest, standing.scanned_at)
        if not (is_here and entry.verdict == "clean") and (result := self._ledger.result(entry.scan_id)) is not None:
            result = self._judge(result, config)
            standing = standing_of(planned, result, "kept")
            if (mistake := or_broken(partial(bring_up_to_date, planned.order, result, there))) is not None:
                self._watcher.warning(f"{standing.uri}: {mistake.message}")
            is_here = is_here or mistake is None
        where = self._where(config) if is_here else {}
        self.standings[standing.uri] = self._compared(planned, standing.model_copy(update=where))

    def _compared(self, planned: Planned, standing: Standing) -> Standing:
        """Tell where the registry's tags say that somebody has found worse since."""
        if not (worse := worse_since(planned.version.tags, standing)):
            return standing
        message = WORSE.format(worse)
        self._watcher.warning(f"{standing.uri}: {message} --rescan scans it here.")
        if standing.write_back.status != "done":
            return standing
        return standing.model_copy(update={"write_back": standing.write_back.model_copy(update={"message": message})})

    def _put_right(self, kept: list[Planned]) -> None:
        """Write back what the registry did not take, or somebody has changed there.

        Who may not write one version of a model may write none of it; and where several models in a row come to
        nothing, the others would cost time and come to nothing as well.
        """
        wrong = [(each, why) for each in kept if (why := amiss(each, self.standings[each.version.uri]))]
        if not wrong:
            return
        self._watcher.stage("write back", f"{len(wrong)} earlier results")
        waiting = deque(in_turn(wrong, lambda each: each[0].version.name, datetime.now(UTC).date()))
        refused: dict[str, Standing] = {}
        in_vain, done = 0, 0
        while True:
            while waiting and in_vain < IN_VAIN and not self._recorder.is_full:
                each, why = waiting.popleft()
                if each.version.name not in refused:
                    self._begin_to_put_right(each, why)
            if (standing := self._recorder.take(wait=True)) is None:
                break
            tried = standing is not self.standings[standing.uri]  # else there was nothing to do after all
            self.standings[standing.uri] = standing
            done += 1
            self._watcher.progress(done, len(wrong))
            in_vain = 0 if standing.rewritten else in_vain + (standing.name not in refused)
            if tried and standing.write_back.status == "failed":
                refused.setdefault(standing.name, standing)
        if refused:
            first = next(iter(refused.values()))
            self._watcher.warning(f"{first.uri} is not written back: {first.write_back.message}.")
        if done < len(wrong):
            self._watcher.warning(f"{len(wrong) - done} other earlier results were not tried.")

    def _begin_to_put_right(self, planned: Planned, why: Amiss) -> None:
        standing = self.standings[planned.version.uri]
        self._recorder.add(partial(put_right, planned, standing, why, self._registry, self._ledger, self._judge))

    def _where(self, config: ScanConfig) -> dict[str, str | None]:
        """Return where the results of a version are, relative to the sweep's folder."""
        folder = config.output_dir.relative_to(self._options.output_dir).as_posix()
        return {"folder": folder, "report": f"{folder}/{REPORT}" if (config.output_dir / REPORT).exists() else None}

    def _record_what_was_left(self, planned: tuple[Planned, ...]) -> set[str]:
        """Write what a sweep that was killed had judged, but not recorded; return the URIs of these versions."""
        by_version = {(each.version.name, each.version.version): each for each in planned}
        recorded = set()
        for entry in self._ledger.unrecorded(self._registry, self._place):
            each = by_version.get((entry.name, entry.version))
            if each is None or (result := self._ledger.result(entry.scan_id)) is None:
                continue
            if each.known != entry or entry.identity != each.version.identity:
                # Its tags would replace those of a newer scan, or stand on a model that it knows nothing of.
                message = "Another scan or another model has taken its place."
                self._ledger.record(entry.scan_id, WriteBack(status="not_applicable", message=message))
                continue
            exhibits = Exhibits()
            try:
                _, exhibits = unpack(self._work / f"{entry.scan_id}{_PACKED}")
            except (OSError, PackedError):
                self._watcher.info(f"{each.version.uri}: its pictures were lost when the sweep before was stopped")
            self._record(entry.scan_id, each, self._judge(result, each.order.config), exhibits, attempts=0)
            recorded.add(each.version.uri)
        return recorded

    def _record(self, scan_id: str, planned: Planned, result: ScanResult, exhibits: Exhibits, *, attempts: int) -> None:
        """Record a scan soon; the thread that does so leaves standings and watcher alone."""
        self._recorder.add(lambda: self._recorded(scan_id, planned, result, exhibits, attempts))
        while self._recorder.is_full and (standing := self._recorder.take(wait=True)) is not None:
            self._tell(standing)

    def _recorded(
        self, scan_id: str, planned: Planned, result: ScanResult, exhibits: Exhibits, attempts: int
    ) -> Standing:
        order = planned.order
        clear_up(order.config.output_dir)
        done = or_broken(lambda: deliver(result, exhibits, order.config, order.provenance, Silent(), scan_id=scan_id))
        result = result.model_copy(update={"write_back": done}) if isinstance(done, WriteBack) else done
        self._ledger.record(scan_id, result.write_back)
        (self._work / f"{scan_id}{_PACKED}").unlink(missing_ok=True)
        return standing_of(planned, result, "scanned", attempts=attempts, **self._where(order.config))

    def _clear(self) -> None:
        """Remove what workers left, and sweeps that were killed; finished scans stay until they are recorded."""
        for path in self._work.glob("worker-*"):
            shutil.rmtree(path, ignore_errors=True)
        for folder in (self._work, self._options.output_dir):
            remove_drafts(folder)

    def _tell_under_way(self) -> None:
        self._watcher.under_way([task.planned.version.uri for task in self._under_way.values()])

    def _tell_recorded(self, *, wait: bool = False) -> None:
        while (standing := self._recorder.take(wait=wait)) is not None:
            self._tell(standing)

    def _tell(self, standing: Standing) -> None:
        self.standings[standing.uri] = standing
        self._done += 1
        left = len(self._waiting) + len(self._under_way) + self._recorder.pending
        self._watcher.settled(standing, self._done, self._done + left)
