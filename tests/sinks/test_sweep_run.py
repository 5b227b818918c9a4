from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smoothscan.posture import Posture
from smoothscan.result import WriteBack
from smoothscan.sinks.sweep_json import write_posture
from smoothscan.sinks.sweep_run import log_sweep

from .mortal import Killed, runs_with
from .postures import POSTURES, hostile, interrupted, mixed, posture, standing


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # MLflow's default store puts artifacts into the current folder
    out = tmp_path / "out"
    (out / "digits" / "1").mkdir(parents=True)
    (out / "digits" / "1" / "result.json").write_text("{}")
    (out / "index.html").write_text("<p>")
    return out


@pytest.fixture
def log(registry: Any, folder: Path, request: pytest.FixtureRequest) -> Callable[..., WriteBack]:
    def call(sweep: Posture, sweep_id: str = request.node.name) -> WriteBack:
        write_posture(sweep, folder)
        return log_sweep(sweep, folder, registry.tracking_uri, None, sweep_id)

    return call


def test_the_run_sums_the_sweep_up(registry: Any, log: Callable[..., WriteBack]) -> None:
    sweep = mixed()
    done = log(sweep, "summary")
    assert (done.status, done.message, done.tagged) == ("done", "", False)
    client = registry.client()
    run = client.get_run(done.run_id)
    assert client.get_experiment(run.info.experiment_id).name == "smoothscan"
    assert run.info.run_name == "sweep 2026-11-22 21:15"
    assert run.info.status == "KILLED"  # two versions were not reached
    assert run.data.params == {
        "registry": "http://mlflow.example:5000",
        "engine": "local, 2 workers",
        "selection.filter": "name LIKE '%'",
        "selection.aliases": "[]",
        "selection.stages": "[]",
    }
    assert sweep.discoveries is not None
    assert run.data.metrics == {
        "versions": 40, "scanned": 19, "kept": 18, "pending": 3,
        "flagged": 3, "failed": 3, "inconclusive": 1, "unsupported": 1, "unscanned": 2, "clear": 30,
        "backdoored": 2, "suspicious": 1, "waived": 1, "stale": 1, "not_written_back": 1, "unscanned_promoted": 2,
        "seconds": 1500, "scan_seconds": pytest.approx(19 * 19.4), "exit_code": 1,
        "tested": 33, "discoveries": 2, "expected_false": pytest.approx(sweep.discoveries.expected_false),
    }  # fmt: skip
    tags = run.data.tags
    assert (tags["smoothscan.sweep_id"], tags["smoothscan.complete"]) == ("summary", "false")
    assert tags["mlflow.note.content"].startswith("3 of 40 versions are flagged\n\n2 backdoored and 1 suspicious")
    assert {entry.path for entry in client.list_artifacts(done.run_id)} == {"sweep.json", "index.html"}


@pytest.mark.parametrize("name", sorted(POSTURES))
def test_every_sweep_can_be_logged(name: str, registry: Any, log: Callable[..., WriteBack]) -> None:
    sweep = POSTURES[name]()
    done = log(sweep, f"every-{name}")
    assert (done.status, done.message) == ("done", "")
    run = registry.client().get_run(done.run_id)
    assert run.data.metrics["versions"] == len(sweep.models)
    assert run.info.status == ("FINISHED" if sweep.complete else "KILLED")


def test_nothing_of_the_registry_gets_into_the_description(registry: Any, log: Callable[..., WriteBack]) -> None:
    note = registry.client().get_run(log(hostile(), "described").run_id).data.tags["mlflow.note.content"]
    assert not set("<>[]{}`\x1b") & set(note)


def test_a_sweep_that_goes_on_brings_its_run_up_to_date(registry: Any, log: Callable[..., WriteBack]) -> None:
    first = log(interrupted(), "resumed")
    whole = posture(
        [standing("digits", str(n)) for n in range(6)], finished_at="2026-11-23T08:00:00+00:00", engine="ray"
    )
    second = log(whole, "resumed")
    assert second == first
    (run,) = runs_with(registry, "smoothscan.sweep_id", "resumed")
    assert run.info.status == "FINISHED"
    assert (run.data.metrics["pending"], run.data.metrics["scanned"], run.data.metrics["flagged"]) == (0, 6, 0)
    assert (run.data.tags["smoothscan.complete"], run.data.tags["smoothscan.exit_code"]) == ("true", "0")
    assert run.data.params["engine"] == "local, 2 workers"  # MLflow keeps the first
    stored = registry.client().download_artifacts(run.info.run_id, "sweep.json")
    assert json.loads(Path(stored).read_text())["engine"] == "ray"
    assert log(whole, "another").run_id != first.run_id


def test_a_process_that_dies_at_any_call_leaves_one_run(
    registry: Any, log: Callable[..., WriteBack], mortal: Callable[[int], None]
) -> None:
    sweep, died_at = posture([standing("digits", "1")]), []
    for calls in range(100):
        mortal(calls)
        try:
            log(sweep, f"dies-{calls}")
        except Killed as killed:
            died_at.append(str(killed))
            mortal(-1)
            done = log(sweep, f"dies-{calls}")
            (run,) = runs_with(registry, "smoothscan.sweep_id", f"dies-{calls}")
            assert (done.status, done.run_id, run.info.status) == ("done", run.info.run_id, "FINISHED")
            assert (len(run.data.params), run.data.metrics["versions"]) == (5, 1)
            assert run.data.tags["smoothscan.exit_code"] == "0"
            assert len(registry.client().list_artifacts(run.info.run_id)) == 2
        else:
            break
    assert {"create_run", "log_batch", "log_artifact", "set_terminated"} <= set(died_at)


def test_a_lost_server_is_reported_quickly(folder: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        start = time.monotonic()
        done = log_sweep(mixed(), folder, f"http://me:secret@127.0.0.1:{probe.getsockname()[1]}", None, "lost")
    assert time.monotonic() - start < 10
    assert (done.status, done.run_id) == ("failed", None)
    assert done.message.startswith("the run could not be logged: ")
    assert "secret" not in done.message


def test_read_only_credentials(folder: Path, guarded: Callable[[str], str]) -> None:
    done = log_sweep(mixed(), folder, guarded("runs/create"), None, "read-only")
    assert (done.status, done.run_id) == ("failed", None)
    assert "403" in done.message


def test_an_artifact_store_that_refuses(server: Any, folder: Path, guarded: Callable[[str], str]) -> None:
    done = log_sweep(mixed(), folder, guarded("mlflow-artifacts/artifacts"), None, "refused")
    assert done.status == "failed"
    assert f"the run {done.run_id} is incomplete" in done.message
    run = server.client().get_run(done.run_id)
    assert (run.info.status, run.data.metrics["versions"]) == ("FAILED", 40)
