"""A process that dies while it writes back, and the next one that goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smoothscan.result import ModelInfo, ScanResult, WriteBack
from smoothscan.sinks.mlflow_registry import version_tags, write_back

from .mortal import Killed, runs_with
from .test_mlflow_registry import scan_result, tags_of


@pytest.fixture
def model(registry: Any) -> ModelInfo:
    name = "killed"
    client = registry.client()
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    version = client.create_model_version(name, registry.model_folder("tiny-pt2").as_uri()).version
    uri, model_id = f"models:/{name}/{version}", registry.model_ids["tiny-pt2"]
    return ModelInfo(uri=uri, resolved_uri=uri, name=name, version=str(version), model_id=model_id, digest="sha256:d0")


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # MLflow's default store puts artifacts into the current folder
    (tmp_path / "out" / "perturbations").mkdir(parents=True)
    (tmp_path / "out" / "result.json").write_text("{}")
    (tmp_path / "out" / "perturbations" / "1.png").write_bytes(b"png")
    return tmp_path / "out"


def assert_whole(registry: Any, result: ScanResult, done: WriteBack, scan_id: str) -> None:
    (found,) = runs_with(registry, "smoothscan.scan_id", scan_id)
    client = registry.client()
    run = client.get_run(found.info.run_id)  # a search leaves the inputs out
    assert (done.status, done.run_id, done.tagged) == ("done", run.info.run_id, True)
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "seed": "3",
        "input.mean": "[0.5]",
        "input.layout": "null",
        "tracking_uri": "http://host",
    }
    assert (run.data.metrics["score"], run.data.metrics["transfer_rate/1"]) == (0.875, 1.0)
    assert len(run.data.metrics) == 8
    assert [entry.model_id for entry in run.inputs.model_inputs] == [result.model.model_id]
    assert {entry.path for entry in client.list_artifacts(run.info.run_id)} == {"result.json", "perturbations"}
    assert [entry.path for entry in client.list_artifacts(run.info.run_id, "perturbations")] == ["perturbations/1.png"]
    assert tags_of(registry, result.model) == {
        name: value for name, value in version_tags(result, done.run_id).items() if value is not None
    }


def test_a_process_that_dies_at_any_call_leaves_one_run(
    registry: Any, model: ModelInfo, output: Path, mortal: Callable[[int], None]
) -> None:
    result = scan_result(model)

    def write(scan_id: str) -> WriteBack:
        return write_back(result, output, tracking_uri=registry.tracking_uri, registry_uri=None, scan_id=scan_id)

    died_at = []
    for calls in range(100):
        mortal(-1)
        for tag in tags_of(registry, model):
            registry.client().delete_model_version_tag(model.name, model.version, f"smoothscan.{tag}")
        mortal(calls)
        try:
            done = write(f"scan-{model.version}-{calls}")
        except Killed as killed:
            died_at.append(str(killed))
            mortal(-1)
            done = write(f"scan-{model.version}-{calls}")
            assert_whole(registry, result, done, f"scan-{model.version}-{calls}")
        else:
            break
    assert {"create_run", "log_batch", "log_inputs", "log_artifacts", "set_terminated"} <= set(died_at)
    assert died_at.count("set_model_version_tag") == 9


def test_writing_back_twice_changes_nothing(registry: Any, model: ModelInfo, output: Path) -> None:
    result = scan_result(model)
    uris = {"tracking_uri": registry.tracking_uri, "registry_uri": None}
    first = write_back(result, output, **uris, scan_id="twice")
    assert write_back(result, output, **uris, scan_id="twice") == first
    assert_whole(registry, result, first, "twice")
    metric = registry.client().get_metric_history(first.run_id, "score")
    assert [point.value for point in metric] == [0.875]


def test_other_scans_have_runs_of_their_own(registry: Any, model: ModelInfo, output: Path) -> None:
    result = scan_result(model)
    uris = {"tracking_uri": registry.tracking_uri, "registry_uri": None}
    made = [write_back(result, output, **uris, scan_id=scan_id).run_id for scan_id in ("one", "other", None, None)]
    assert len({*made, None}) == 5
    assert "smoothscan.scan_id" not in registry.client().get_run(made[2]).data.tags


def test_an_id_cannot_break_out_of_the_search(registry: Any, model: ModelInfo, output: Path) -> None:
    done = write_back(
        scan_result(model), output, tracking_uri=registry.tracking_uri, registry_uri=None, scan_id="x' OR 1=1"
    )
    assert (done.status, done.run_id, done.tagged) == ("failed", None, True)
    assert "is no id" in done.message
