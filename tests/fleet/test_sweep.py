from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from smoothscan import publish as publishing
from smoothscan.errors import ConfigError, OutputError, RegistryError
from smoothscan.fleet import sweep as module
from smoothscan.fleet import upkeep
from smoothscan.fleet.engines.interface import Job, Outcome
from smoothscan.fleet.folders import place_of
from smoothscan.fleet.ledger import Ledger
from smoothscan.fleet.plan import Shard
from smoothscan.fleet.recording import Recorder
from smoothscan.fleet.report import posture_of
from smoothscan.fleet.upkeep import IN_VAIN, in_turn
from smoothscan.packed import pack
from smoothscan.posture import Posture, Standing
from smoothscan.result import Waiver
from smoothscan.sinks import mlflow_registry
from smoothscan.sinks.sweep_words import why
from smoothscan.sources.inventory import Registered, Selection

from .stubs import digest_of, exhibits, order, result
from .world import Engine, Watch, World, ended, scanned


def as_for_a_server(init: Any) -> Any:
    """Let a recorder have the threads that it has for a server, whatever registry it is made for."""
    return lambda self, registry: init(self, registry and "http://server")


def posture(standings: dict[str, Standing]) -> Posture:
    now = datetime.now(UTC)
    return posture_of(standings.values(), started_at=now, registry="r", selection={}, engine="none")


def test_the_first_sweep_scans_all_the_second_none_a_new_version_one(world: World) -> None:
    one, two = world.register("a", versions=2)
    (three,) = world.register("b")
    engine, watch = Engine(), Watch()
    standings = world.sweep(engine, watch)
    assert Counter(engine.scanned) == Counter([one, two, three])
    assert engine.closed == 1
    assert {each.action for each in standings.values()} == {"scanned"}
    assert {each.due for each in standings.values()} == {"never scanned"}
    assert [(done, total) for _, _, done, total in watch.settlings] == [(1, 3), (2, 3), (3, 3)]
    assert max(map(len, watch.seen_under_way)) == engine.room
    assert {uri for uris in watch.seen_under_way for uri in uris} == {one, two, three}
    assert watch.seen_under_way[-1] == ()
    world.assert_consistent(one, two, three)
    standing = standings[one]
    assert (standing.verdict, standing.exit_code, standing.passed, standing.attempts) == ("clean", 0, True, 1)
    assert standing.folder == "a/1"
    assert standing.write_back.status == "done"
    assert posture(standings).complete

    second, watch = Engine(), Watch()
    again = world.sweep(second, watch)
    assert second.jobs == []
    assert watch.settlings == []
    assert second.closed == 1
    for uri, kept in again.items():
        assert kept == standings[uri].model_copy(update={"action": "kept", "due": "", "attempts": 0})

    new = world.add("a")
    third = Engine()
    world.sweep(third)
    assert third.scanned == [new]
    world.assert_consistent(one, two, three, new)


def test_a_scan_names_the_settings_that_the_user_gave(world: World) -> None:
    (uri,) = world.register("a")

    def moved(job: Job) -> Outcome:  # as an engine does that scans elsewhere
        config = {**job.config.model_dump(mode="json"), "images": "/tmp/elsewhere", "threads": 7}
        return scanned(job, config=config)

    world.sweep(Engine({"a": moved}))
    assert world.written(uri)["config"]["images"] == "images"
    assert world.written(uri)["config"]["threads"] is None


def test_only_a_part_of_the_registry(world: World) -> None:
    uris = set(world.register(*"abcdefgh"))
    done: list[str] = []
    for index in range(3):
        engine = Engine()
        standings = world.sweep(engine, shard=Shard(index=index, count=3))
        assert set(engine.scanned) == set(standings)
        done += engine.scanned
    assert sorted(done) == sorted(uris)
    engine = Engine()
    assert set(world.sweep(engine)) == uris
    assert engine.jobs == []


@pytest.mark.parametrize("verdict", ["clean", "backdoored"])
def test_everything_may_be_scanned_again(world: World, verdict: str) -> None:
    (uri,) = world.register("a")
    world.sweep()
    engine = Engine({"a": lambda job: scanned(job, verdict=verdict)})
    standing = world.sweep(engine, rescan=True)[uri]
    assert engine.scanned == [uri]
    assert (standing.due, standing.verdict) == ("asked for", verdict)
    assert world.tags(uri)["verdict"] == verdict
    world.assert_consistent(uri)
    assert world.states() == {"recorded": 2}


def test_other_settings_are_another_scan(world: World) -> None:
    (uri,) = world.register("a")
    world.sweep()
    world.digest = "sha256:new images"
    does = {"a": lambda job: scanned(job, config_digest="sha256:new images")}
    engine = Engine(does)
    assert world.sweep(engine)[uri].due == "settings changed"
    assert engine.scanned == [uri]
    world.assert_consistent(uri)
    assert world.sweep(Engine())[uri].action == "kept"


def test_a_verdict_ends_to_hold(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (uri,) = world.register("a")
    old = (datetime.now(UTC) - timedelta(days=91)).isoformat(timespec="seconds")
    world.sweep(Engine({"a": lambda job: scanned(job, finished_at=old)}))
    assert world.sweep()[uri].due == "expired"


def test_a_model_that_was_registered_anew_is_scanned(world: World) -> None:
    (uri,) = world.register("a")
    world.sweep()
    world.client.delete_registered_model("a")
    time.sleep(0.002)  # registries tell the time in milliseconds
    assert world.register("a") == [uri]
    engine = Engine()
    assert world.sweep(engine)[uri].due == "registered anew"
    assert engine.scanned == [uri]


def test_a_folder_that_tells_of_another_scan_is_brought_up_to_date(world: World) -> None:
    """Two machines share a ledger, and each has a folder of its own."""
    (uri,) = world.register("a")
    world.sweep(Engine({"a": lambda job: scanned(job, "clean", pictures=True)}))
    here, world.out = world.out, world.folder / "elsewhere"
    time.sleep(1.1)  # times in results have whole seconds
    world.sweep(Engine({"a": lambda job: scanned(job, "backdoored")}), rescan=True)
    world.out = here
    standing = world.sweep()[uri]
    assert (standing.verdict, world.written(uri)["verdict"]) == ("backdoored", "backdoored")
    assert [path.name for path in (here / "a" / "1").iterdir()] == ["result.json"], "nothing of the older scan stays"
    assert standing.report is None


def test_what_is_kept_is_judged_again_and_told_where_the_folder_is_new(world: World) -> None:
    (uri,) = world.register("a")
    bad = Engine({"a": lambda job: scanned(job, "backdoored")})
    first = world.sweep(bad)[uri]
    assert (first.exit_code, first.target_classes, first.labels) == (1, (0,), ("airplane",))
    world.out = world.folder / "elsewhere"
    world.config = {"fail_on": "backdoored"}
    kept = world.sweep()[uri]
    assert (kept.action, kept.exit_code, kept.report) == ("kept", 1, None)
    assert world.written(uri)["verdict"] == "backdoored"
    assert world.written(uri)["write_back"]["run_id"] == first.write_back.run_id


class TestFilesOfVersionsThatHold:
    @pytest.fixture
    def uris(self, world: World) -> list[str]:
        uris = world.register("a", "b")
        world.sweep()
        return uris

    def test_are_not_looked_at_unless_asked(self, world: World, uris: list[str]) -> None:
        engine = Engine()
        world.sweep(engine)
        assert engine.jobs == []

    def test_that_are_the_same_cost_no_scan(self, world: World, uris: list[str]) -> None:
        engine = Engine(dict.fromkeys(("a", "b"), ended("unchanged")))
        watch = Watch()
        standings = world.sweep(engine, watch, check_files=True)
        assert {job.config.uri: job.unless for job in engine.jobs} == {uri: digest_of(uri) for uri in uris}
        assert {(each.action, each.due) for each in standings.values()} == {("kept", "")}
        assert len(watch.settlings) == 2
        assert world.states() == {"recorded": 2}
        world.assert_consistent(*uris)

    def test_that_changed_are_scanned(self, world: World, uris: list[str]) -> None:
        engine = Engine({"a": lambda job: scanned(job, "backdoored"), "b": ended("unchanged")})
        standings = world.sweep(engine, check_files=True)
        changed, same = standings[uris[0]], standings[uris[1]]
        assert (changed.action, changed.due, changed.verdict) == ("scanned", "files changed", "backdoored")
        assert (same.action, same.due, same.verdict) == ("kept", "", "clean")
        world.assert_consistent(*uris)


class TestAttempts:
    @pytest.fixture
    def uri(self, world: World) -> str:
        (uri,) = world.register("a")
        return uri

    @pytest.fixture
    def pauses(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        monkeypatch.setattr(module, "_PAUSE", 2.0)
        clock = {"now": 100.0}
        slept: list[float] = []

        class Time:
            time = staticmethod(time.time)
            monotonic = staticmethod(lambda: clock["now"])

            @staticmethod
            def sleep(seconds: float) -> None:
                clock["now"] += seconds
                if seconds:
                    slept.append(seconds)

        monkeypatch.setattr(module, "time", Time)
        return slept

    def failing(self, world: World, times: int, doing: Callable[[Job], Outcome]) -> Engine:
        def do(job: Job) -> Outcome:
            return doing(job) if job.attempt <= times else scanned(job)

        return Engine({"a": do})

    @pytest.mark.parametrize("times", [1, 2])
    def test_a_crash_is_followed_by_another_attempt(
        self, world: World, uri: str, pauses: list[float], times: int
    ) -> None:
        engine, watch = self.failing(world, times, ended("crashed", "The process died.")), Watch()
        standing = world.sweep(engine, watch)[uri]
        assert (standing.verdict, standing.attempts) == ("clean", times + 1)
        assert [job.attempt for job in engine.jobs] == list(range(1, times + 2))
        assert len({job.scan_id for job in engine.jobs}) == 1
        assert pauses == [2.0, 4.0][:times]
        assert watch.warnings[0] == f"{uri}: The process died. Trying again in 2 s."
        assert world.states() == {"recorded": 1}
        world.assert_consistent(uri)

    @pytest.mark.parametrize("retries", [0, 2])
    def test_attempts_come_to_an_end(self, world: World, uri: str, pauses: list[float], retries: int) -> None:
        other = world.register("b")[0]
        engine = self.failing(world, 99, ended("crashed", "The process died."))
        standings = world.sweep(engine, retries=retries)
        failed = standings[uri]
        assert (failed.action, failed.status, failed.verdict, failed.exit_code) == ("scanned", "failed", None, 3)
        assert (failed.reason, failed.attempts) == ("The process died.", retries + 1)
        assert standings[other].verdict == "clean", "one model's failure stops no other"
        assert posture(standings).exit_code == 3
        assert world.tags(uri)["verdict"] == "failed"
        assert world.written(uri)["error"]["type"] == "ModelHostError"
        world.assert_consistent(uri, other)
        engine = Engine()
        assert world.sweep(engine)[uri].due == "failed before"
        assert engine.scanned == [uri]
        world.assert_consistent(uri, other)

    def test_a_server_that_was_lost_is_asked_again(self, world: World, uri: str) -> None:
        lost = {"type": "RegistryError", "message": "The server did not answer.", "hint": ""}
        engine = self.failing(world, 2, lambda job: scanned(job, "failed", error=lost))
        assert world.sweep(engine)[uri].verdict == "clean"
        assert len(engine.jobs) == 3

    def test_what_will_not_change_is_not_tried_again(self, world: World, uri: str) -> None:
        broken = {"type": "ModelLoadError", "message": "It does not load.", "hint": ""}
        engine = self.failing(world, 99, lambda job: scanned(job, "failed", error=broken))
        assert world.sweep(engine)[uri].status == "failed"
        assert len(engine.jobs) == 1

    def test_an_overdue_scan_has_timed_out(self, world: World, uri: str) -> None:
        engine = self.failing(world, 99, ended("overdue", "The scan did not end within 5 s, and was killed."))
        standing = world.sweep(engine)[uri]
        assert (standing.status, standing.exit_code, len(engine.jobs)) == ("timed_out", 3, 1)
        assert "--time-limit" in world.written(uri)["error"]["hint"]
        world.assert_consistent(uri)
        assert world.sweep()[uri].due == "failed before"

    def test_wrong_settings_are_not_tried_again(self, world: World, uri: str) -> None:
        engine = self.failing(world, 99, ended("misused", "2 labels for 10 classes.", "Give one for each."))
        standing = world.sweep(engine)[uri]
        assert (standing.status, standing.reason, len(engine.jobs)) == ("failed", "2 labels for 10 classes.", 1)
        assert world.written(uri)["error"] == {
            "type": "ConfigError", "message": "2 labels for 10 classes.", "hint": "Give one for each.",
        }  # fmt: skip

    @pytest.mark.parametrize("content", [b"", b"rubbish", None])
    def test_a_finished_scan_that_cannot_be_read_is_done_again(
        self, world: World, uri: str, content: bytes | None
    ) -> None:
        def write(job: Job) -> Outcome:
            if content is not None:
                job.into.write_bytes(content)
            return Outcome(job=job, ended="scanned")

        engine = self.failing(world, 1, write)
        assert world.sweep(engine)[uri].verdict == "clean"
        assert len(engine.jobs) == 2
        stubborn = self.failing(world, 99, write)
        assert "cannot be read" in world.sweep(stubborn, rescan=True)[uri].reason
        assert len(stubborn.jobs) == 3

    def test_others_go_on_during_a_pause(self, world: World, uri: str) -> None:
        others = world.register(*"bcd")
        engine = self.failing(world, 1, ended("crashed", "no"))
        engine.room = 1
        # Newer ones come first, and the one that is tried again comes last.
        world.sweep(engine)
        assert engine.jobs[-1].config.uri == uri
        assert len(engine.jobs) == len(others) + 2

    def test_pauses_do_not_grow_for_ever(self, world: World, uri: str, pauses: list[float]) -> None:
        world.sweep(self.failing(world, 99, ended("crashed", "no")), retries=8)
        assert pauses == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]

    def test_nobody_waits_for_a_pause_while_others_are_under_way(
        self, world: World, uri: str, pauses: list[float]
    ) -> None:
        world.register(*"bcd")
        engine = self.failing(world, 1, ended("crashed", "no"))
        engine.step = lambda _: None if len(engine.jobs) > 4 else self.no_pause(pauses)
        world.sweep(engine)
        assert len(engine.jobs) == 5
        assert pauses == [2.0]

    def no_pause(self, pauses: list[float]) -> None:
        assert pauses == []


class TestAMistakeOfOurs:
    """What one result brings out while it is written is about that version."""

    @pytest.fixture
    def breaking(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = publishing.publish

        def write(chosen: Any, found: Any, *args: Any, **kwargs: Any) -> None:
            if found.model.name == "odd":
                raise ValueError("cannot draw that")
            real(chosen, found, *args, **kwargs)

        monkeypatch.setattr(publishing, "publish", write)
        monkeypatch.setattr(upkeep, "publish", write)

    def test_stops_no_sweep(self, world: World, breaking: None, monkeypatch: pytest.MonkeyPatch) -> None:
        odd, good = world.register("odd", "good")
        standings = world.sweep(Engine({"odd": lambda job: scanned(job, "backdoored")}))
        assert (standings[odd].verdict, standings[odd].write_back.status) == ("backdoored", "failed")
        assert "ValueError: cannot draw that" in standings[odd].write_back.message
        assert standings[good].write_back.status == "done"
        (more,) = world.register("more")
        engine, watch = Engine(), Watch()
        standings = world.sweep(engine, watch)
        assert engine.scanned == [more], "it is not scanned again, and holds up nobody"
        assert (standings[odd].verdict, standings[odd].exit_code) == ("backdoored", 1)
        monkeypatch.undo()
        assert world.sweep()[odd].rewritten == "write-back failed"
        world.assert_consistent(odd, good, more)


class TestSettingsThatCannotBeUsed:
    def orders(self, world: World, wrong: str) -> Callable[[Registered], Any]:
        def order_of(version: Registered) -> Any:
            usual = world.order_of(version)
            if wrong not in version.name:
                return usual
            problem = ConfigError("There are no images.", "Pass some.")
            more = {"tracking_uri": usual.config.tracking_uri, "output_dir": usual.config.output_dir}
            return order(version, problem=problem, **more)

        return order_of

    def test_fail_a_model_and_no_other(self, world: World) -> None:
        good, bad = world.register("good", "bad")
        engine = Engine()
        standings = world.sweep(engine, order_of=self.orders(world, "bad"))
        assert engine.scanned == [good]
        assert (standings[bad].status, standings[bad].reason) == ("failed", "There are no images.")
        assert standings[good].verdict == "clean"
        world.assert_consistent(good, bad)
        assert world.sweep(order_of=self.orders(world, "bad"))[bad].due == "settings cannot be used"

    def test_end_the_sweep_where_they_are_all_there_is(self, world: World) -> None:
        world.register("bad", versions=2)
        engine = Engine()
        with pytest.raises(ConfigError, match="no images"):
            world.sweep(engine, order_of=self.orders(world, "bad"))
        assert engine.jobs == []
        assert world.states() == {}

    def test_fail_the_versions_that_somebody_named(self, world: World) -> None:
        """A server scans what it hears of, and one model must not stop the others."""
        (bad,) = world.register("bad")
        standings = world.sweep(order_of=self.orders(world, "bad"), selection=Selection(versions=(("bad", "1"),)))
        assert (standings[bad].status, standings[bad].reason) == ("failed", "There are no images.")

    def test_are_no_matter_where_there_are_no_models(self, world: World) -> None:
        assert world.sweep(order_of=self.orders(world, "")) == {}


class TestWhatAKilledSweepLeft:
    def begun(self, world: World, uri: str) -> str:
        """Begin a scan as a sweep does that is killed then."""
        world.out.mkdir(exist_ok=True)
        with world.ledger() as ledger:
            return ledger.begin(world.registry, world.versions()[uri], world.digest, place_of(world.out))

    def judged(self, world: World, uri: str, **changes: Any) -> str:
        scan_id = self.begun(world, uri)
        _, name, number = uri.split("/")
        with world.ledger() as ledger:
            ledger.judge(scan_id, result(name, number, "backdoored", **changes), '{"verdict": "backdoored"}')
        return scan_id

    def keep(self, world: World, scan_id: str, content: bytes) -> Path:
        work = world.out / ".work"
        work.mkdir(parents=True, exist_ok=True)
        (work / f"{scan_id}.safetensors").write_bytes(content)
        return work / f"{scan_id}.safetensors"

    def test_a_finished_scan_is_taken_without_scanning(self, world: World) -> None:
        (uri,) = world.register("a")
        _, name, _ = uri.split("/")
        scan_id = self.begun(world, uri)
        self.keep(world, scan_id, pack(result(name, 1, "backdoored"), exhibits("backdoored")))
        engine = Engine()
        standing = world.sweep(engine)[uri]
        assert engine.jobs == []
        assert (standing.action, standing.verdict) == ("scanned", "backdoored")
        assert (world.out / name / "1" / "perturbations").is_dir()
        world.assert_consistent(uri)
        assert world.newest()[uri].scan_id == scan_id

    def test_a_finished_scan_with_other_settings_is_not(self, world: World) -> None:
        (uri,) = world.register("a")
        path = self.keep(world, self.begun(world, uri), pack(result(uri.split("/")[1], 1, "backdoored"), exhibits()))
        world.digest = "sha256:new"
        engine = Engine({uri.split("/")[1]: lambda job: scanned(job, config_digest="sha256:new")})
        assert world.sweep(engine)[uri].verdict == "clean"
        assert engine.scanned == [uri]
        assert not path.exists()

    def test_a_half_written_scan_is_done_again(self, world: World) -> None:
        (uri,) = world.register("a")
        whole = pack(result(uri.split("/")[1]), exhibits())
        self.keep(world, self.begun(world, uri), whole[: len(whole) // 2])
        engine = Engine()
        assert world.sweep(engine)[uri].verdict == "clean"
        assert engine.scanned == [uri]
        world.assert_consistent(uri)

    @pytest.mark.parametrize("pictures", [True, False])
    def test_a_judged_scan_is_recorded_without_scanning(self, world: World, pictures: bool) -> None:
        (uri,) = world.register("a")
        name = uri.split("/")[1]
        scan_id = self.judged(world, uri)
        if pictures:
            self.keep(world, scan_id, pack(result(name, 1, "backdoored"), exhibits("backdoored")))
        engine, watch = Engine(), Watch()
        standing = world.sweep(engine, watch)[uri]
        assert engine.jobs == []
        assert (standing.action, standing.verdict, standing.exit_code) == ("scanned", "backdoored", 1)
        assert standing.write_back.status == "done"
        assert (world.out / name / "1" / "perturbations").is_dir() == pictures
        assert bool(watch.infos) != pictures
        world.assert_consistent(uri)

    def test_a_clean_one_says_that_it_is_written_back(self, world: World) -> None:
        (uri,) = world.register("a")
        self.judged(world, uri, verdict="clean", target_classes=())
        assert world.sweep()[uri].write_back.status == "done"

    def test_the_scan_of_another_model_under_the_same_name_is_written_nowhere(self, world: World) -> None:
        (uri,) = world.register("a")
        name = uri.split("/")[1]
        self.judged(world, uri, verdict="clean")
        world.client.delete_registered_model(name)
        time.sleep(0.002)
        world.register("a")

        def stop(job: Job) -> Outcome:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            world.sweep(Engine({name: stop}))
        assert world.tags(uri) == {}, "the old model's verdict is not the new one's"

    def test_an_older_scan_does_not_replace_a_newer_one(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        (uri,) = world.register("a")
        with world.ledger() as ledger:  # a machine that died, with older settings
            found = world.versions()[uri]
            scan_id = ledger.begin(world.registry, found, "sha256:old", "another machine:/out")
            ledger.judge(scan_id, result(found.name, 1, config_digest="sha256:old"), "{}")
        does = {found.name: lambda job: scanned(job, "backdoored")}
        assert world.sweep(Engine(does))[uri].due == "settings changed"
        now = time.time()
        monkeypatch.setattr("smoothscan.fleet.ledger.time.time", lambda: now + 4000)
        assert world.sweep()[uri].verdict == "backdoored"
        assert world.tags(uri)["verdict"] == "backdoored"
        assert world.written(uri)["verdict"] == "backdoored"

    def test_what_was_left_is_written_before_the_version_is_scanned_anew(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (uri,) = world.register("a")
        name = uri.split("/")[1]
        self.judged(world, uri, status="failed", verdict=None, target_classes=())
        monkeypatch.setattr("smoothscan.fleet.recording._AT_ONCE", 4)
        monkeypatch.setattr(Recorder, "__init__", as_for_a_server(Recorder.__init__))
        real = module.deliver

        def slow(found: Any, *args: Any, **kwargs: Any) -> Any:
            if found.status == "failed":
                time.sleep(0.5)
            return real(found, *args, **kwargs)

        monkeypatch.setattr(module, "deliver", slow)
        standing = world.sweep(Engine({name: lambda job: scanned(job, "clean")}))[uri]
        assert (standing.status, standing.verdict) == ("completed", "clean")
        assert world.written(uri)["verdict"] == "clean"
        assert world.tags(uri)["verdict"] == "clean"

    def test_a_sweep_over_others_leaves_it_alone(self, world: World) -> None:
        """It will be gone on with by the next sweep that looks at these versions."""
        finished, judged, gone = world.register("a", "b", "c")
        packed = pack(result("a", 1, "backdoored"), exhibits("backdoored"))
        kept = [self.keep(world, self.begun(world, finished), packed)]
        kept.append(self.keep(world, self.judged(world, judged), packed))
        lost = self.keep(world, "0" * 32, packed)
        world.sweep(selection=Selection(names=("c",)))
        assert [path.exists() for path in (*kept, lost)] == [True, True, False]
        engine = Engine()
        world.sweep(engine)
        assert engine.jobs == []
        assert (world.out / "a" / "1" / "perturbations").is_dir()
        assert (world.out / "b" / "1" / "perturbations").is_dir()
        world.assert_consistent(finished, judged, gone)

    def test_workers_rubbish_goes(self, world: World) -> None:
        world.register("a")
        (world.out / ".work" / "worker-0" / "smoothscan-xyz").mkdir(parents=True)
        world.sweep()
        assert list((world.out / ".work").glob("worker-*")) == []


class TestOthersAtWork:
    def test_somebody_elses_scan_since_planning_is_respected(self, world: World) -> None:
        later, earlier = world.register("a", "b")
        world.client.set_registered_model_alias("b", "champion", "1")

        def meanwhile(job: Job) -> Outcome:
            """Scan one, while a server scans the other."""
            self.server(world).sweep(selection=Selection(names=("a",)))
            return scanned(job)

        engine, watch = Engine({"b": meanwhile}, room=1), Watch()
        standings = world.sweep(engine, watch)
        assert engine.scanned == [earlier]
        assert (standings[later].action, standings[later].verdict) == ("kept", "clean")
        assert {(uri, action) for uri, action, _, _ in watch.settlings} == {(earlier, "scanned"), (later, "kept")}
        assert [(done, total) for _, _, done, total in watch.settlings] == [(1, 2), (2, 2)]
        assert world.states() == {"recorded": 2}

    def server(self, world: World) -> World:
        """Return the same registry and ledger, with another folder of results."""
        other = World(world.folder, world.tracking_uri)
        other.out = world.folder / "server"
        return other

    def test_somebody_elses_scan_with_other_settings_is_not(self, world: World) -> None:
        later, earlier = world.register("a", "b")
        world.client.set_registered_model_alias("b", "champion", "1")

        def meanwhile(job: Job) -> Outcome:
            other = self.server(world)
            other.digest = "sha256:other"
            other.sweep(selection=Selection(names=("a",)))
            return scanned(job)

        engine = Engine({"b": meanwhile}, room=1)
        world.sweep(engine)
        assert engine.scanned == [earlier, later]

    def test_a_forged_tag_changes_nothing(self, world: World) -> None:
        _, bad = world.register("good", "bad")
        forged = {"verdict": "clean", "score": "0", "expires_at": "2099-12-31T00:00:00+00:00"}
        forged |= {"config_digest": world.digest, "model_digest": digest_of(bad)}
        for tag, value in forged.items():
            world.client.set_model_version_tag("bad", "1", f"smoothscan.{tag}", value)
        engine = Engine({"bad": lambda job: scanned(job, "backdoored")})
        standings = world.sweep(engine)
        assert bad in engine.scanned
        assert standings[bad].due == "never scanned"
        assert world.tags(bad)["verdict"] == "backdoored"
        world.client.set_model_version_tag("bad", "1", "smoothscan.verdict", "clean")
        kept = world.sweep()
        assert (kept[bad].verdict, kept[bad].exit_code) == ("backdoored", 1)
        assert posture(kept).exit_code == 1


def test_a_waiver_that_expired_is_told_everywhere(world: World) -> None:
    (uri,) = world.register("bad")
    waiver = Waiver(
        model_digest=digest_of(uri), rule="target-class", index=0, reason="known", owner="ann",
        expires=datetime.now(UTC).date() + timedelta(days=1),
    )  # fmt: skip
    world.waivers = (waiver,)
    world.config = {"formats": ("json", "junit", "html")}
    standing = world.sweep(Engine({"bad": lambda job: scanned(job, "backdoored", pictures=True)}))[uri]
    assert (standing.passed, "is waived by ann until" in standing.set_aside[0]) == (True, True)
    assert world.written(uri)["gate"]["passed"]
    folder = world.out / "bad" / "1"
    pictures = {path: path.read_bytes() for path in [folder / "report.html", *(folder / "perturbations").iterdir()]}
    world.waivers = (waiver.model_copy(update={"expires": datetime.now(UTC).date() - timedelta(days=1)}),)
    standing = world.sweep()[uri]
    assert (standing.passed, standing.set_aside) == (False, ())
    assert any("expired on" in note for note in standing.gate_notes)
    assert "expired on" in why(standing)
    assert not world.written(uri)["gate"]["passed"]
    text = (folder / "junit.xml").read_text()
    assert "expired on" in text
    assert "waived by ann until" not in text
    assert {path: path.read_bytes() for path in pictures} == pictures, "images that are kept nowhere else stay"
    before = (folder / "junit.xml").stat().st_mtime_ns
    world.waivers += (waiver.model_copy(update={"model_digest": "sha256:" + "0" * 64, "index": 5}),)
    world.sweep()
    assert (folder / "junit.xml").stat().st_mtime_ns == before, "a waiver of another model changes nothing here"


class TestWhatTheRegistrySaysWrongly:
    @pytest.fixture
    def bad(self, world: World) -> str:
        world.register("good")
        (bad,) = world.register("bad")
        world.sweep(Engine({"bad": lambda job: scanned(job, "backdoored", pictures=True)}))
        return bad

    @pytest.fixture
    def refusing(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Versions that the registry was asked to tag, in vain."""
        asked: list[str] = []

        def refuse(_client: Any, found: Any, *_args: Any) -> None:
            asked.append(found.model.uri)
            raise PermissionError("you may only read")

        monkeypatch.setattr(mlflow_registry, "_tag", refuse)
        return asked

    def tampered(self, world: World, uri: str, **tags: str | None) -> None:
        _, name, number = uri.split("/")
        for tag, value in tags.items():
            if value is None:
                world.client.delete_model_version_tag(name, number, f"smoothscan.{tag}")
            else:
                world.client.set_model_version_tag(name, number, f"smoothscan.{tag}", value)

    @pytest.mark.parametrize(
        "forged",
        [{"verdict": "clean", "score": "0.01"}, {"target_classes": None}, {"run_id": "0" * 32}],
        ids=str,
    )
    def test_a_tag_is_put_right(self, world: World, bad: str, forged: dict[str, str | None]) -> None:
        before, report = world.tags(bad), world.out / "bad" / "1"
        files = {path: path.read_bytes() for path in report.rglob("*") if path.is_file()}
        self.tampered(world, bad, **forged)
        world.client.set_model_version_tag("bad", "1", "owner", "somebody")
        engine, watch = Engine(), Watch()
        standings = world.sweep(engine, watch)
        assert (engine.jobs, watch.settlings, watch.warnings) == ([], [], [])
        assert world.tags(bad) == {**before, "owner": "somebody"}
        assert {uri: each.rewritten for uri, each in standings.items()} == {bad: "tags changed", "models:/good/1": ""}
        assert {path: path.read_bytes() for path in files} == files, "pictures stay"
        world.assert_consistent(bad, "models:/good/1")
        assert world.sweep()[bad].rewritten == ""

    def test_what_was_not_looked_at_stays(self, world: World, bad: str) -> None:
        self.tampered(world, bad, verdict="clean")
        world.sweep(selection=Selection(names=("good",)))
        world.config = {"write_back": False}
        world.sweep()
        assert world.tags(bad)["verdict"] == "clean"

    def test_a_write_back_that_failed_is_made_up_for(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        (uri,) = world.register("late")
        with monkeypatch.context() as broken:
            broken.setattr(mlflow_registry, "_tag", _refuse)
            broken.setattr(mlflow_registry, "_fill_run", _refuse)
            standing = world.sweep(Engine({"late": lambda job: scanned(job, "backdoored", pictures=True)}))[uri]
        assert (standing.write_back.status, world.tags(uri)) == ("failed", {})
        engine = Engine()
        standing = world.sweep(engine)[uri]
        assert engine.jobs == []
        assert (standing.action, standing.rewritten) == ("kept", "write-back failed")
        assert (world.out / "late" / "1" / "perturbations").is_dir()
        artifacts = {each.path for each in world.client.list_artifacts(standing.write_back.run_id)}
        assert artifacts == {"result.json", "perturbations"}
        world.assert_consistent(uri)

    def test_another_machine_makes_up_for_it_without_the_files(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (uri,) = world.register("late")
        with monkeypatch.context() as broken:
            broken.setattr(mlflow_registry, "_tag", _refuse)
            world.sweep()
        world.out = world.folder / "elsewhere"
        (world.out / "late" / "1").mkdir(parents=True)
        older = world.out / "late" / "1" / "result.json"
        older.write_text('{"config_digest": "sha256:other"}')
        (older.parent / "report.html").write_text("the report of another scan")
        assert world.sweep()[uri].rewritten == "write-back failed"
        assert world.tags(uri)["verdict"] == "clean"
        assert world.written(uri)["config_digest"] == world.digest
        assert len(list((world.out / "late" / "1").iterdir())) == 1, "nothing of the other scan is left beside it"

    def test_a_registry_that_refuses_is_not_asked_on_and_on(self, world: World, bad: str, refusing: list[str]) -> None:
        more = world.register(*"abcdefghijkl")
        world.sweep()
        assert len(refusing) == len(more)
        refusing.clear()
        watch = Watch()
        standings = world.sweep(watch=watch)
        assert IN_VAIN <= len(refusing) <= IN_VAIN + 3, "and those that were under way by then"
        warning, warning_of_the_rest = watch.warnings
        assert "is not written back: " in warning
        assert "you may only read" in warning
        assert warning_of_the_rest == f"{len(more) - len(refusing)} other earlier results were not tried."
        assert {each.rewritten for each in standings.values()} == {""}

    def test_models_that_nobody_may_write_hold_up_no_others(
        self, world: World, bad: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        denied = [f"denied{n}" for n in range(3)]
        world.register(*denied, versions=4)
        late = world.register("x", "y", "z")
        asked: list[str] = []
        real, everybody = mlflow_registry._tag, [True]

        def refuse(client: Any, found: Any, *args: Any) -> Any:
            asked.append(found.model.uri)
            if everybody[0] or "denied" in found.model.uri:
                raise PermissionError("you may only read")
            return real(client, found, *args)

        monkeypatch.setattr(mlflow_registry, "_tag", refuse)
        world.sweep()
        asked.clear()
        everybody[0] = False
        standings = world.sweep()
        assert {standings[uri].rewritten for uri in late} == {"write-back failed"}
        tried = Counter(uri.split("/")[1] for uri in asked)
        assert all(tried[name] <= 3 for name in denied), "the other versions of a denied model are left alone"

    def test_each_day_others_come_first(self, world: World, bad: str) -> None:
        items = [f"{name}{n}" for name in "abcdefghij" for n in range(2)]
        heads = {in_turn(items, lambda item: item[0], date(2027, 1, day))[0][0] for day in range(1, 11)}
        assert len(heads) == 2, "ten models in steps of five"
        turned = in_turn(items, lambda item: item[0], date(2027, 1, 1))
        assert sorted(turned) == items
        assert turned.index("a0") + 1 == turned.index("a1")

    @pytest.mark.parametrize("word", ["backdoored", "suspicious", "failed"])
    def test_a_later_scan_that_found_worse_is_not_overruled(self, world: World, bad: str, word: str) -> None:
        """`smoothscan check` writes tags, but knows nothing of a sweep's ledger."""
        good = "models:/good/1"
        later = (datetime.now(UTC) + timedelta(minutes=1)).isoformat(timespec="seconds")
        self.tampered(world, good, verdict=word, scanned_at=later, run_id="1" * 32)
        watch = Watch()
        standing = world.sweep(watch=watch)[good]
        assert world.tags(good)["verdict"] == word
        assert (standing.verdict, standing.rewritten) == ("clean", "")
        assert word in standing.write_back.message
        (warning,) = watch.warnings
        assert good in warning
        assert "--rescan" in warning

    @pytest.mark.parametrize("forged", [{}, {"scanned_at": "2099-01-01T00:00:00+00:00"}])
    def test_a_milder_word_is_overruled_whenever_it_was_said(self, world: World, bad: str, forged: Any) -> None:
        before = world.tags(bad)
        self.tampered(world, bad, verdict="clean", **forged)
        assert world.sweep()[bad].rewritten == "tags changed"
        assert world.tags(bad) == before

    @pytest.mark.parametrize("tag", ["scanned_at", "expires_at"])
    def test_times_are_put_right_as_well(self, world: World, bad: str, tag: str) -> None:
        before = world.tags(bad)
        self.tampered(world, bad, **{tag: "2099-01-01T00:00:00+00:00"})
        assert world.sweep()[bad].rewritten == "tags changed"
        assert world.tags(bad) == before

    def test_nor_by_what_is_written_late(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        (uri,) = world.register("late")
        with monkeypatch.context() as broken:
            broken.setattr(mlflow_registry, "_fill_run", _refuse)
            broken.setattr(mlflow_registry, "_tag", _refuse)
            world.sweep()
        later = (datetime.now(UTC) + timedelta(minutes=1)).isoformat(timespec="seconds")
        self.tampered(world, uri, verdict="backdoored", scanned_at=later)
        standing = world.sweep()[uri]
        assert (standing.rewritten, standing.write_back.tagged) == ("write-back failed", False)
        assert standing.write_back.run_id is not None
        assert "backdoored" in standing.write_back.message
        assert world.tags(uri) == {"verdict": "backdoored", "scanned_at": later}
        assert world.sweep()[uri].rewritten == "", "and that is all that there was to do"

    @pytest.mark.parametrize("moment", ["2020-01-01T00:00:00+00:00", "2099-01-01T00:00:00+00:00", "soon", ""])
    def test_a_worse_word_of_no_later_scan_is_overruled(self, world: World, bad: str, moment: str) -> None:
        self.tampered(world, "models:/good/1", verdict="backdoored", scanned_at=moment)
        assert world.sweep()["models:/good/1"].rewritten == "tags changed"
        assert world.tags("models:/good/1")["verdict"] == "clean"

    def test_a_list_without_tags_is_not_believed(self, world: World, bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Some registries tell tags of single versions only."""
        world.register(*"abcdefghij")
        world.sweep()
        asked: list[str] = []
        real = mlflow_registry._tag
        monkeypatch.setattr(mlflow_registry, "_tag", lambda *args: asked.append("") or real(*args))
        listed = world.versions()
        found = tuple(dataclasses.replace(each, tags={}) for each in listed.values())
        monkeypatch.setattr(module, "registered_versions", lambda *_, **__: found)
        watch = Watch()
        standings = world.sweep(watch=watch)
        assert IN_VAIN <= len(asked) <= IN_VAIN + 3, "and those that were under way by then"
        assert watch.warnings == [f"{len(found) - len(asked)} other earlier results were not tried."]
        assert {each.rewritten for each in standings.values()} == {""}


class TestStopped:
    def test_by_the_user(self, world: World) -> None:
        done, stopped = world.register("a", "b")
        world.client.set_registered_model_alias("a", "champion", "1")

        def stop(job: Job) -> Outcome:
            end = time.monotonic() + 60
            while "recorded" not in world.states() and time.monotonic() < end:
                time.sleep(0.05)  # what was not begun to be recorded by then is left to the next sweep
            raise KeyboardInterrupt

        engine = Engine({"b": stop}, room=1)
        with pytest.raises(KeyboardInterrupt):
            world.sweep(engine)
        assert engine.closed == 1
        assert {uri: each.action for uri, each in world.standings.items()} == {done: "scanned", stopped: "pending"}
        told = posture(world.standings)
        assert (told.complete, told.unscanned_promoted) == (False, ())
        assert world.states() == {"recorded": 1, "started": 1}
        again = Engine()
        standings = world.sweep(again)
        assert again.scanned == [stopped]
        assert (standings[done].action, standings[stopped].action) == ("kept", "scanned")
        world.assert_consistent(done, stopped)

    def test_by_a_registry_that_does_not_answer(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        def down(*_: Any, **__: Any) -> None:
            raise RegistryError("the registry does not answer")

        monkeypatch.setattr(module, "registered_versions", down)
        engine = Engine()
        with pytest.raises(RegistryError):
            world.sweep(engine)
        assert engine.closed == 1, "a cluster is left even so"

    def test_by_a_disk_that_is_full(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        uris = world.register("a", "b")
        real, written = module.deliver, []

        def full(*args: Any, **more: Any) -> Any:
            if written:
                raise OutputError("Cannot write: no space left.", "Make room.")
            written.append(1)
            return real(*args, **more)

        monkeypatch.setattr(module, "deliver", full)
        engine = Engine()
        with pytest.raises(OutputError, match="no space"):
            world.sweep(engine)
        assert engine.closed == 1
        assert world.states()["judged"] == 1
        monkeypatch.setattr(module, "deliver", real)
        again = Engine()
        world.sweep(again)
        assert sorted(set(engine.scanned + again.scanned)) == sorted(uris)
        world.assert_consistent(*uris)

    def test_by_nothing_the_registry_does(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """A registry that takes no tags and runs costs no result."""
        uris = world.register("a", "b")
        monkeypatch.setattr("smoothscan.sinks.mlflow_registry._tag", _refuse)
        monkeypatch.setattr("smoothscan.sinks.mlflow_registry._open_run", _refuse)
        standings = world.sweep()
        assert {each.verdict for each in standings.values()} == {"clean"}
        assert {each.write_back.status for each in standings.values()} == {"failed"}
        assert "you may only read" in standings[uris[0]].write_back.message
        assert {world.written(uri)["verdict"] for uri in uris} == {"clean"}
        assert world.states() == {"recorded": 2}
        kept = world.sweep()
        assert {each.write_back.status for each in kept.values()} == {"failed"}


def _refuse(*_args: Any) -> None:
    raise PermissionError("you may only read")


class Killed(BaseException):
    """The process dies here."""


def test_killed_at_any_step_and_started_again_until_it_is_through(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives = [0]
    died_at = []

    def step(name: str) -> None:
        lives[0] -= 1
        if lives[0] == -1:
            died_at.append(name)
            raise Killed(name)

    def mortal(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def call(*args: Any, **more: Any) -> Any:
            step(name)
            return real(*args, **more)

        monkeypatch.setattr(owner, name, call)

    for name in ("begin", "judge", "record", "unrecorded"):
        mortal(Ledger, name)
    mortal(publishing, "publish")
    mortal(mlflow_registry, "write_back")
    unlink = Path.unlink

    def remove(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".safetensors":
            step("unlink")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", remove)
    for calls in range(100):
        lives[0] = 10**9
        (tmp_path / str(calls)).mkdir()
        world = World(tmp_path / str(calls), store)
        (uri,) = world.register("a")
        done: list[str] = []
        for chances in (calls, 4, 10**9):  # it may be killed twice
            lives[0] = chances
            engine = Engine({"a": lambda job: scanned(job, "backdoored", pictures=True)}, step)
            with suppress(Killed):
                world.sweep(engine)
                lives[0] = 10**9
            done += engine.scanned
            if lives[0] > 0:
                break
        assert done == [uri], f"killed at {died_at[-2:]}"
        world.assert_consistent(uri)
        assert world.tags(uri)["verdict"] == "backdoored"
        assert (world.out / "a" / "1" / "perturbations").is_dir()
        world.clear()
        if chances == calls:
            break
    steps = {"unrecorded", "begin", "scan", "scanned", "judge", "publish", "write_back", "record", "unlink"}
    assert set(died_at) == steps
    assert calls > len(steps), "publish comes twice"
