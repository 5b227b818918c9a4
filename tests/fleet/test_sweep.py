from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from smoothscan import publish
from smoothscan.errors import ConfigError, OutputError
from smoothscan.fleet import sweep as module
from smoothscan.fleet.engines.interface import Job, Outcome
from smoothscan.fleet.folders import WORK
from smoothscan.fleet.ledger import Ledger
from smoothscan.packed import pack
from smoothscan.result import ScanResult
from smoothscan.sinks import mlflow_registry
from tests.sinks.mortal import Killed
from tests.sinks.samples import Sample, clean, ended_early

from .stand import Pretender, Stand, flagged


def test_the_first_sweep_scans_all_the_second_none_and_a_new_version_one(stand: Stand) -> None:
    stand.add("signs", 2)
    stand.add("digits")
    first = Pretender()
    sweep = stand.sweep(first)
    assert sorted(first.scanned) == ["models:/digits/1", "models:/signs/1", "models:/signs/2"]
    assert {each.action for each in sweep.standings.values()} == {"scanned"}
    assert (stand.out / "signs" / "2" / "result.json").is_file()
    second = Pretender()
    sweep = stand.sweep(second)
    assert second.scanned == []
    assert {(each.action, each.verdict, each.passed) for each in sweep.standings.values()} == {("kept", "clean", True)}
    stand.add("signs")
    third = Pretender()
    stand.sweep(third)
    assert third.scanned == ["models:/signs/3"]
    assert len(stand.runs()) == 4


def test_what_is_asked_for_is_scanned_again_and_so_is_what_has_other_settings(stand: Stand) -> None:
    stand.add("signs")
    stand.sweep()
    again = Pretender()
    stand.sweep(again, rescan=True)
    stand.digest = "sha256:others"
    stand.sweep(again)
    assert len(again.scanned) == 2


def test_a_forged_tag_changes_nothing(stand: Stand) -> None:
    stand.add("signs")
    client = stand.client()
    client.set_model_version_tag("signs", "1", "smoothscan.verdict", "clean")
    client.set_model_version_tag("signs", "1", "smoothscan.expires_at", "2099-01-01T00:00:00+00:00")
    first = Pretender(flagged)
    stand.sweep(first)
    assert first.scanned == ["models:/signs/1"]
    client.set_model_version_tag("signs", "1", "smoothscan.verdict", "clean")
    sweep = stand.sweep(Pretender(flagged))
    standing = sweep.standings["models:/signs/1"]
    assert (standing.action, standing.verdict, standing.exit_code) == ("kept", "backdoored", 1)


def test_a_kept_version_has_its_result_in_a_new_folder_too(stand: Stand) -> None:
    stand.add("signs")
    stand.sweep(Pretender(flagged))
    shutil.rmtree(stand.out)
    standing = stand.sweep().standings["models:/signs/1"]
    written = ScanResult.model_validate_json((stand.out / "signs" / "1" / "result.json").read_text())
    assert (standing.action, standing.folder, standing.report, written.verdict) == (
        "kept",
        "signs/1",
        None,
        "backdoored",
    )


@pytest.mark.parametrize(("now", "scanned"), [("unchanged", 0), ("changed", 1)])
def test_files_are_looked_at_again_when_asked(stand: Stand, now: str, scanned: int) -> None:
    stand.add("signs")
    stand.sweep()
    seen: list[str | None] = []

    def answers(job: Job) -> Sample | Outcome:
        seen.append(job.unless)
        return Outcome(job=job, ended="unchanged") if now == "unchanged" else clean()

    stand.sweep(Pretender(answers), check_files=True)
    assert seen == ["sha256:" + "0" * 64]
    assert len(stand.runs()) == 1 + scanned
    with stand.ledger() as ledger:
        assert {entry.state for entry in ledger.newest(registry(stand)).values()} == {"recorded"}


def registry(stand: Stand) -> str:
    return stand.tracking_uri


def crashed(job: Job) -> Outcome:
    return Outcome(job=job, ended="crashed", message="The scanning process died.")


def test_a_crash_is_tried_again_and_then_recorded_as_a_failure(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    stand.add("signs")
    stand.add("digits")

    def answers(job: Job) -> Sample | Outcome:
        return crashed(job) if "signs" in job.config.uri else clean()

    engine = Pretender(answers)
    sweep = stand.sweep(engine, retries=2)
    assert Counter(engine.scanned) == {"models:/signs/1": 3, "models:/digits/1": 1}
    failed = sweep.standings["models:/signs/1"]
    assert (failed.status, failed.verdict, failed.exit_code, failed.attempts) == ("failed", None, 3, 3)
    assert "died" in failed.reason
    assert stand.tags("signs", "1")["smoothscan.verdict"] == "failed"
    later = Pretender()
    stand.sweep(later)
    assert later.scanned == ["models:/signs/1"], "what failed is due again, and only that"


@pytest.mark.parametrize(("ended", "status"), [("overdue", "timed_out"), ("misused", "failed")])
def test_what_will_not_get_better_is_not_tried_again(stand: Stand, ended: Any, status: str) -> None:
    stand.add("signs")
    engine = Pretender(lambda job: Outcome(job=job, ended=ended, message="So it is."))
    standing = stand.sweep(engine).standings["models:/signs/1"]
    assert len(engine.scanned) == 1
    assert (standing.status, standing.exit_code) == (status, 3)


def test_a_lost_server_is_tried_again_and_a_refused_model_is_not(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    stand.add("signs")
    refused = Pretender(lambda _job: ended_early("refused"))
    stand.sweep(refused)
    assert len(refused.scanned) == 1
    assert stand.sweep(Pretender()).standings["models:/signs/1"].action == "kept"


def test_settings_that_nothing_can_be_scanned_with_are_a_usage_error(stand: Stand) -> None:
    stand.add("signs")
    wrong = ConfigError("there are no images")
    usual = stand.order_of
    stand.order_of = lambda version: module.replace(usual(version), problem=wrong)  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="no images"):
        stand.sweep()


def test_one_version_with_wrong_settings_fails_alone(stand: Stand) -> None:
    stand.add("signs")
    stand.add("digits")
    usual = stand.order_of

    def order_of(version: Any) -> Any:
        problem = ConfigError("no such folder", "name another") if version.name == "signs" else None
        return module.replace(usual(version), problem=problem)

    stand.order_of = order_of  # type: ignore[method-assign]
    engine = Pretender()
    sweep = stand.sweep(engine)
    assert engine.scanned == ["models:/digits/1"]
    assert (sweep.standings["models:/signs/1"].status, sweep.standings["models:/signs/1"].reason) == (
        "failed",
        "no such folder",
    )


def test_a_finished_scan_of_a_killed_sweep_is_taken_as_it_is(stand: Stand) -> None:
    stand.add("signs")

    class Dying(Pretender):
        def run(self, take: Any) -> Any:
            for _ in super().run(take):
                raise Killed  # the scan is on the disk, and nobody was told

    with pytest.raises(Killed):
        stand.sweep(Dying(flagged))
    assert len(list((stand.out / WORK).glob("*.safetensors"))) == 1
    later = Pretender()
    standing = stand.sweep(later).standings["models:/signs/1"]
    assert later.scanned == []
    assert standing.verdict == "backdoored"
    assert (stand.out / "signs" / "1" / "perturbations").is_dir()
    assert list((stand.out / WORK).glob("*.safetensors")) == []


def test_a_broken_finished_scan_is_done_again(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    stand.add("signs")

    def broken(job: Job) -> Outcome:
        job.into.write_bytes(pack(clean().result, clean().exhibits)[:100])
        return Outcome(job=job, ended="scanned")

    engine = Pretender(lambda job: broken(job) if job.attempt == 1 else clean())
    assert stand.sweep(engine).standings["models:/signs/1"].verdict == "clean"


def test_what_somebody_else_has_scanned_since_is_respected(stand: Stand) -> None:
    stand.add("signs", 2)

    def answers(job: Job) -> Sample:
        if job.config.uri.endswith("/2"):  # the first, for it is the newer one
            other = Stand(stand.folder, stand.tracking_uri)
            with other.ledger() as ledger:
                sweep = other.prepared(Pretender(flagged), ledger, names=("signs",))
                sweep._options = sweep._options.model_copy(update={"output_dir": stand.folder / "elsewhere"})
                sweep._work = stand.folder / "elsewhere" / WORK
                usual = other.order_of
                sweep._order_of = lambda v: module.replace(
                    usual(v),
                    config=usual(v).config.model_copy(update={"output_dir": stand.folder / "elsewhere" / v.version}),
                )
                sweep.run()
        return clean()

    engine = Pretender(answers)
    sweep = stand.sweep(engine)
    assert engine.scanned == ["models:/signs/2"]
    assert (sweep.standings["models:/signs/1"].action, sweep.standings["models:/signs/1"].verdict) == (
        "kept",
        "backdoored",
    )


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OutputError("the disk is full")])
def test_a_stopped_sweep_says_what_is_known_and_stops_its_engine(stand: Stand, stop: BaseException) -> None:
    stand.add("signs", 2)
    engine = Pretender(lambda job: clean() if job.config.uri.endswith("/2") else stop)
    with stand.ledger() as ledger:
        sweep = stand.prepared(engine, ledger)
        with pytest.raises(type(stop)):
            sweep.run()
    assert engine.closed == 1
    assert [each.action for each in sweep.standings.values()] == ["scanned", "pending"]


STEPS = [
    (Ledger, "begin"),
    (Ledger, "judge"),
    (Ledger, "record"),
    (module, "unpack"),
    (module, "deliver"),
    (publish, "publish"),
    (mlflow_registry, "_open_run"),
    (mlflow_registry, "_fill_run"),
    (mlflow_registry, "_tag"),
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("owner", "name"), STEPS, ids=lambda value: value if isinstance(value, str) else "")
def test_killed_at_any_step_it_ends_as_if_it_had_not_been(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, when: str
) -> None:
    stand.add("signs")
    usual = getattr(owner, name)
    calls = {"left": 1}

    def dying(*args: Any, **kwargs: Any) -> Any:
        calls["left"] -= 1
        if calls["left"] == 0 and when == "before":
            raise Killed(name)
        answer = usual(*args, **kwargs)
        if calls["left"] == 0:
            raise Killed(name)
        return answer

    monkeypatch.setattr(owner, name, dying)
    engine = Pretender(flagged)
    with pytest.raises(Killed):
        stand.sweep(engine)
    with stand.ledger() as ledger:
        done = {key for key, entry in ledger.newest(stand.tracking_uri).items()}
    again = Pretender(flagged)
    stand.sweep(again)
    assert not {f"models:/{n}/{v}" for n, v in done} & set(again.scanned), "what was judged was scanned again"
    assert set(engine.scanned) | set(again.scanned) == {"models:/signs/1"}
    with stand.ledger() as ledger:
        entries = ledger.newest(stand.tracking_uri)
    assert {entry.state for entry in entries.values()} == {"recorded"}
    runs = stand.runs()
    assert Counter(run.data.tags["smoothscan.scan_id"] for run in runs) == {e.scan_id: 1 for e in entries.values()}
    assert {run.info.status for run in runs} == {"FINISHED"}
    by_scan = {run.data.tags["smoothscan.scan_id"]: run.info.run_id for run in runs}
    for (model, version), entry in entries.items():
        tags = stand.tags(model, version)
        assert (tags["smoothscan.verdict"], tags["smoothscan.run_id"]) == ("backdoored", by_scan[entry.scan_id])
        written = ScanResult.model_validate_json((stand.out / model / version / "result.json").read_text())
        assert written.write_back.run_id == by_scan[entry.scan_id]
    assert list((stand.out / WORK).glob("*.safetensors")) == []
    assert not [path for path in Path(stand.out).rglob(".*") if path.name != WORK], "nothing half-written is left"
