from __future__ import annotations

import json
import logging
import math
import os
import socket
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from smoothscan import __version__
from smoothscan.result import CalibrationUse, ClassResult, Cost, ModelInfo, ScanResult, SpaceResult, WriteBack
from smoothscan.sinks.mlflow_registry import write_back

FINISHED = "2026-03-01T12:00:00+00:00"


def class_result(index: int, rate: float) -> ClassResult:
    return ClassResult(
        index=index,
        label=str(index),
        score=rate,
        transfer_rate=rate,
        transfer_ci=(0, 1),
        n_images=10,
        epsilon=1,
        sigma=0.12,
        p_value=None,
        flagged=rate > 0.5,
    )


def scan_result(model: ModelInfo, **changes: Any) -> ScanResult:
    values: dict[str, Any] = {
        "status": "completed",
        "model": model,
        "verdict": "backdoored",
        "score": 0.875,
        "target_classes": (1,),
        "classes": tuple(class_result(index, rate) for index, rate in enumerate((0.25, 1.0))),
        "cost": Cost(model_passes=1200.5, seconds=3.5, peak_rss_bytes=2**30, device="cpu"),
        "config": {"seed": 3, "input": {"mean": [0.5], "layout": None}, "tracking_uri": "http://me:secret@host"},
        "config_digest": "sha256:c0",
        "finished_at": FINISHED,
    }
    return ScanResult(**{**values, **changes})


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "out" / "perturbations").mkdir(parents=True)
    (tmp_path / "out" / "result.json").write_text("{}")
    (tmp_path / "out" / "perturbations" / "1.png").write_bytes(b"png")
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's default store puts artifacts into the current folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def scanned(registry: Any) -> str:
    """A registered model of this module's own."""
    registry.client().create_registered_model("scanned")
    return "scanned"


@pytest.fixture
def version(registry: Any, scanned: str) -> ModelInfo:
    """A fresh version of a registered model."""
    source = registry.model_folder("tiny-pt2").as_uri()
    number = str(registry.client().create_model_version(scanned, source).version)
    uri = f"models:/{scanned}/{number}"
    model_id = registry.model_ids["tiny-pt2"]
    return ModelInfo(uri=uri, resolved_uri=uri, name=scanned, version=number, model_id=model_id, digest="sha256:d0")


def tags_of(registry: Any, model: ModelInfo) -> dict[str, str]:
    tags = registry.client().get_model_version(model.name, model.version).tags
    return {key.removeprefix("smoothscan."): value for key, value in tags.items() if key.startswith("smoothscan.")}


def write(result: ScanResult, folder: Path, tracking_uri: str) -> WriteBack:
    return write_back(result, folder, tracking_uri=tracking_uri, registry_uri=None)


def test_the_version_is_tagged(registry: Any, version: ModelInfo, output: Path) -> None:
    done = write(scan_result(version), output, registry.tracking_uri)
    assert (done.status, done.tagged, done.message) == ("done", True, "")
    tags = tags_of(registry, version)
    assert datetime.fromisoformat(tags.pop("expires_at")) - datetime.fromisoformat(FINISHED) == timedelta(days=90)
    assert tags == {
        "verdict": "backdoored",
        "score": "0.875",
        "target_classes": "[1]",
        "model_digest": "sha256:d0",
        "config_digest": "sha256:c0",
        "scanned_at": FINISHED,
        "version": __version__,
        "run_id": done.run_id,
    }


def test_the_run_says_in_which_space_a_class_stands_out(registry: Any, version: ModelInfo, output: Path) -> None:
    found = [
        SpaceResult(space=name, sigma=0.1, anomaly=r, index=1, e50=9.0, reference=9 * math.exp(r), transfer_rate=0.8)
        for name, r in (("l2", 0.25), ("patch", 0.75))
    ]
    result = scan_result(version).model_copy(update={"space": "patch", "spaces": tuple(found)})
    done = write(result, output, registry.tracking_uri)
    run = registry.client().get_run(done.run_id)
    assert run.data.params["space"] == "patch"
    assert (run.data.metrics["anomaly/l2"], run.data.metrics["anomaly/patch"]) == (0.25, 0.75)
    assert "space" not in tags_of(registry, version)


def test_the_run_says_everything(registry: Any, version: ModelInfo, output: Path) -> None:
    done = write(scan_result(version), output, registry.tracking_uri)
    client = registry.client()
    run = client.get_run(done.run_id)
    assert client.get_experiment(run.info.experiment_id).name == "smoothscan"
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "seed": "3",
        "input.mean": "[0.5]",
        "input.layout": "null",
        "tracking_uri": "http://host",
    }
    assert run.data.metrics["score"] == 0.875
    assert run.data.metrics["transfer_rate/1"] == 1.0
    assert run.data.metrics["transfer_rate/0"] == 0.25
    assert run.data.metrics["model_passes"] == 1200.5
    assert run.data.tags["smoothscan.model_name"] == "scanned"
    assert run.data.tags["smoothscan.model_version"] == version.version
    assert run.data.tags["smoothscan.model_uri"] == version.resolved_uri
    assert [entry.model_id for entry in run.inputs.model_inputs] == [version.model_id]
    assert {entry.path for entry in client.list_artifacts(done.run_id)} == {"result.json", "perturbations"}


def test_a_scan_that_cannot_say_is_a_finished_run_that_says_why(
    registry: Any, version: ModelInfo, output: Path
) -> None:
    reasons = ("There are too few classes.\x1b[31m", "More about it.")
    undecided = scan_result(version, verdict="inconclusive", target_classes=(), score=0.25, reasons=reasons)
    done = write(undecided, output, registry.tracking_uri)
    assert (done.status, done.message) == ("done", "")
    tags = tags_of(registry, version)
    assert (tags["verdict"], tags["score"], tags["target_classes"]) == ("inconclusive", "0.25", "[]")
    run = registry.client().get_run(done.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["smoothscan.verdict"] == "inconclusive"
    assert run.data.tags["smoothscan.reason"] == "There are too few classes."


def test_the_run_has_the_statistics_of_the_model(registry: Any, version: ModelInfo, output: Path) -> None:
    use = CalibrationUse(p_value=0.25, smallest_p=0.125, n_models=7, highest_anomaly=0.5)
    for known, expected in (
        ({"anomaly": 1.5, "p_value": 0.0625, "calibration": use}, {"anomaly": 1.5, "p_value": 0.0625, "c": 0.25}),
        ({}, {}),
    ):
        done = write(scan_result(version, **known), output, registry.tracking_uri)
        metrics = registry.client().get_run(done.run_id).data.metrics
        names = {"anomaly": "anomaly", "p_value": "p_value", "calibration_p_value": "c"}
        assert {short: metrics[name] for name, short in names.items() if name in metrics} == expected


def test_the_callers_own_run_and_settings_are_left_alone(registry: Any, version: ModelInfo, output: Path) -> None:
    import mlflow

    before, level = dict(os.environ), logging.getLogger("mlflow").level
    uri = mlflow.get_tracking_uri()
    write(scan_result(version), output, registry.tracking_uri)
    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == uri
    assert dict(os.environ) == before
    assert logging.getLogger("mlflow").level == level


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"status": "failed"}, "failed"),
        ({"status": "refused"}, "refused"),
        ({"status": "timed_out"}, "timed_out"),
        ({"status": "unsupported"}, "unsupported"),
        ({"status": "completed", "verdict": "inconclusive"}, "inconclusive"),
    ],
)
def test_a_failed_rescan_replaces_an_older_clean(
    changes: dict[str, Any], word: str, registry: Any, version: ModelInfo, output: Path
) -> None:
    clean = scan_result(version, verdict="clean", score=0.1, target_classes=())
    write(clean, output, registry.tracking_uri)
    before = tags_of(registry, version)
    assert before["verdict"] == "clean"
    empty: dict[str, Any] = {"verdict": None, "score": None, "target_classes": (), "classes": (), "config_digest": None}
    done = write(scan_result(version, **{**empty, **changes}), output, registry.tracking_uri)
    assert done.status == "done"
    tags = tags_of(registry, version)
    assert tags["verdict"] == word
    assert "score" not in tags
    assert "config_digest" not in tags
    assert tags.get("target_classes") == ("[]" if word == "inconclusive" else None)
    assert tags["run_id"] == done.run_id != before["run_id"]


def test_foreign_tags_stay(registry: Any, version: ModelInfo, output: Path) -> None:
    registry.client().set_model_version_tag(version.name, version.version, "owner", "me")
    write(scan_result(version), output, registry.tracking_uri)
    assert registry.client().get_model_version(version.name, version.version).tags["owner"] == "me"


def test_a_model_of_a_run_gets_a_run_but_no_tags(registry: Any, output: Path) -> None:
    uri = f"runs:/{registry.run_ids['tiny-static']}/model"
    model = ModelInfo(uri=uri, resolved_uri=uri, model_id=registry.model_ids["tiny-static"], digest="sha256:d0")
    done = write(scan_result(model), output, registry.tracking_uri)
    assert (done.status, done.tagged) == ("done", False)
    assert "not registered" in done.message
    assert registry.client().get_run(done.run_id).inputs.model_inputs[0].model_id == model.model_id


@pytest.mark.parametrize("uri", ["/models/net", "file:///models/net", "s3://bucket/net"])
def test_a_folder_has_nowhere_to_write_to(uri: str, output: Path, tmp_path: Path) -> None:
    done = write(scan_result(ModelInfo(uri=uri, digest="sha256:d0")), output, f"sqlite:///{tmp_path}/new.db")
    assert done.status == "not_applicable"
    assert done.message
    assert not (tmp_path / "new.db").exists()


def test_a_model_that_was_never_found(registry: Any, output: Path) -> None:
    result = scan_result(ModelInfo(uri="models:/nobody/1"), status="failed", verdict=None, score=None)
    done = write(result, output, registry.tracking_uri)
    assert (done.status, done.message) == ("not_applicable", "The model was not found.")


def test_many_classes_and_long_values_fit(registry: Any, version: ModelInfo, output: Path) -> None:
    classes = tuple(class_result(index, 0.125) for index in range(1500))
    config = {**{f"option{n}": n for n in range(150)}, "long": 10_000 * "x", "odd name!": "v", "empty": ""}
    done = write(scan_result(version, classes=classes, config=config), output, registry.tracking_uri)
    assert (done.status, done.message) == ("done", "")
    data = registry.client().get_run(done.run_id).data
    assert sum(key.startswith("transfer_rate/") for key in data.metrics) == 1500
    assert len(data.params) == 152
    assert len(data.params["long"]) == 6000
    assert data.params["odd name_"] == "v"


def test_a_version_that_was_deleted_meanwhile(registry: Any, version: ModelInfo, output: Path) -> None:
    registry.client().delete_model_version(version.name, version.version)
    done = write(scan_result(version), output, registry.tracking_uri)
    assert (done.status, done.tagged) == ("failed", False)
    assert "could not be tagged" in done.message
    assert f"run {done.run_id} is there" in done.message


def test_a_lost_server_is_reported_quickly(output: Path, version: ModelInfo) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        start = time.monotonic()
        done = write(scan_result(version), output, f"http://me:secret@127.0.0.1:{probe.getsockname()[1]}")
    assert time.monotonic() - start < 10
    assert (done.status, done.run_id, done.tagged) == ("failed", None, False)
    assert "secret" not in done.message


@pytest.fixture
def served(server: Any) -> ModelInfo:
    uri = "models:/tiny-static/1"
    model_id = server.model_ids["tiny-static"]
    return ModelInfo(uri=uri, resolved_uri=uri, name="tiny-static", version="1", model_id=model_id, digest="sha256:d0")


def test_a_real_server(server: Any, served: ModelInfo, output: Path) -> None:
    done = write(scan_result(served), output, server.tracking_uri)
    assert (done.status, done.tagged, done.message) == ("done", True, "")
    client = server.client()
    assert client.get_model_version("tiny-static", "1").tags["smoothscan.verdict"] == "backdoored"
    downloaded = client.download_artifacts(done.run_id, "result.json", str(output.parent))
    assert json.loads(Path(downloaded).read_text()) == {}
    assert client.get_run(done.run_id).inputs.model_inputs[0].model_id == served.model_id


def test_no_permission_to_tag(server: Any, served: ModelInfo, output: Path, guarded: Callable[[str], str]) -> None:
    done = write(scan_result(served), output, guarded("model-versions/set-tag"))
    assert (done.status, done.tagged) == ("failed", False)
    assert "could not be tagged" in done.message
    assert "403" in done.message
    assert server.client().get_run(done.run_id).info.status == "FINISHED"


def test_no_permission_to_log_runs(server: Any, served: ModelInfo, output: Path, guarded: Callable[[str], str]) -> None:
    done = write(scan_result(served, verdict="suspicious"), output, guarded("runs/create"))
    assert (done.status, done.run_id, done.tagged) == ("failed", None, True)
    assert "the run could not be logged" in done.message
    assert "the tags are set" in done.message
    tags = server.client().get_model_version("tiny-static", "1").tags
    assert tags["smoothscan.verdict"] == "suspicious"
    assert "smoothscan.run_id" not in tags


def test_an_artifact_store_that_refuses_does_not_stop_the_tags(
    server: Any, served: ModelInfo, output: Path, guarded: Callable[[str], str]
) -> None:
    done = write(scan_result(served), output, guarded("mlflow-artifacts/artifacts"))
    assert (done.status, done.tagged) == ("failed", True)
    assert f"run {done.run_id} is incomplete" in done.message
    assert "the tags are set" in done.message
    run = server.client().get_run(done.run_id)
    assert run.info.status == "FAILED"
    assert run.data.metrics["score"] == 0.875


def test_no_permission_to_read(server: Any, guarded: Callable[[str], str], tmp_path: Path) -> None:
    from smoothscan.errors import RegistryError
    from smoothscan.events import Silent
    from smoothscan.sources import fetch

    uri = guarded("model-versions/get")
    with pytest.raises(RegistryError, match="was refused") as caught:
        fetch("models:/tiny-pt2/1", tmp_path, tracking_uri=uri, registry_uri=None, events=Silent())
    assert "MLFLOW_TRACKING_TOKEN" in caught.value.hint
