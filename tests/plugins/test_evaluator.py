"""The evaluator as MLflow calls it, on a real tracking server."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow_smoothscan.evaluator import SmoothscanEvaluator, metrics
from mlflow_smoothscan.images import gather
from mlflow_smoothscan.options import known, options

from smoothscan.config import ScanConfig
from smoothscan.errors import UsageError
from smoothscan.gate import judge
from tests.planted import TARGET, PlantedNet, images, write_images
from tests.sinks import samples
from tests.stores import Registry, log_model, logging_to

PAGE = Path(__file__).parents[2] / "docs" / "evaluator.md"
BOTH = {"smoothscan/passed", "smoothscan/exit_code"}
OF_A_VERDICT = ("flagged", "target_classes", "score", "anomaly", "p_value")


@dataclass(frozen=True)
class Planted:
    """A backdoored model in the registry of a server that MLflow is set to, beside a folder of clean images."""

    server: Registry
    uri: str
    folder: Path

    def evaluate(self, config: dict[str, Any] | None, **changes: Any) -> Any:
        import mlflow
        import pandas as pd

        data = pd.DataFrame({"path": ["a.png"]})
        values = {"model": self.uri, "data": data, "model_type": "image-classifier", "evaluators": "smoothscan"}
        return mlflow.models.evaluate(**{**values, **changes}, evaluator_config=config)


@pytest.fixture(scope="module")
def registered(server: Registry) -> str:
    return log_model(server, "traffic-signs", PlantedNet(backdoored=True), images(2).numpy())


@pytest.fixture
def planted(server: Registry, registered: str, tmp_path: Path) -> Iterator[Planted]:
    write_images(tmp_path / "clean-images", images())
    with logging_to(server.tracking_uri, tmp_path):
        yield Planted(server, registered, tmp_path)


def failures(metrics: dict[str, float], **thresholds: tuple[float, bool]) -> str:
    """What MLflow's validation says of thresholds, each with whether greater is better; empty if it passes."""
    from mlflow import validate_evaluation_results
    from mlflow.models import EvaluationResult, MetricThreshold
    from mlflow.models.evaluation.validation import ModelValidationFailedException

    wanted = {
        f"smoothscan/{name}": MetricThreshold(threshold=value, greater_is_better=greater)
        for name, (value, greater) in thresholds.items()
    }
    try:
        validate_evaluation_results(wanted, EvaluationResult(metrics, {}))
    except ModelValidationFailedException as error:
        return str(error)
    return ""


@pytest.mark.skipif(not PAGE.is_file(), reason="needs the checkout, for its documentation")
def test_the_example_of_the_page_stops_a_backdoored_model(planted: Planted) -> None:
    import mlflow
    from mlflow.models.evaluation.validation import ModelValidationFailedException

    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    quick = '"profile": "quick"'
    assert planted.uri in example
    assert quick in example
    names: dict[str, Any] = {}
    with mlflow.start_run() as run, pytest.raises(ModelValidationFailedException, match="smoothscan/passed = 0"):
        exec(example.replace(quick, f'{quick}, "spaces": ["l2"]'), names)  # half as long

    found = names["result"].metrics
    assert set(found) == BOTH | {f"smoothscan/{name}" for name in OF_A_VERDICT}
    assert (found["smoothscan/exit_code"], found["smoothscan/flagged"], found["smoothscan/target_classes"]) == (1, 1, 1)
    assert failures(found, flagged=(0, False), score=(0.1, False)).count("threshold check failed") == 2

    client = planted.server.client()
    logged = client.get_run(run.info.run_id).data
    assert logged.metrics == pytest.approx(found)
    assert {path.path for path in client.list_artifacts(run.info.run_id, "smoothscan")} == {
        "smoothscan/perturbations",
        "smoothscan/report.html",
        "smoothscan/result.json",
    }
    assert not any(key.startswith("smoothscan.") for key in client.get_model_version("traffic-signs", "1").tags)

    artifacts = names["result"].artifacts
    kept = artifacts["smoothscan/result.json"].content
    assert (kept["target_classes"], kept["model"]["resolved_uri"]) == ([TARGET], planted.uri)
    assert kept["gate"]["passed"] is False
    assert "backdoored" in artifacts["smoothscan/report.html"].content
    assert artifacts[f"smoothscan/perturbations/class_{TARGET:04d}.png"].content.size == (128, 128)
    names["result"].save(planted.folder / "saved")
    again = mlflow.models.EvaluationResult.load(planted.folder / "saved")
    assert again.metrics == found
    assert again.artifacts["smoothscan/result.json"].content == kept


def test_a_scan_that_fails_meets_no_threshold(planted: Planted) -> None:
    found = planted.evaluate({"time_limit": 0.1, "images": planted.folder / "clean-images"}).metrics
    assert found == {"smoothscan/passed": 0, "smoothscan/exit_code": 3}
    assert failures(found, passed=(1, True))
    assert failures(found, exit_code=(0, False))
    for name in OF_A_VERDICT:
        assert "was missing" in failures(found, **{name: (1e9, False)})


@pytest.mark.parametrize(
    ("config", "asked"),
    [
        (None, False),
        ({}, False),
        ({"seed": 1, "metric_prefix": "x_"}, False),
        ({"log_model_explainability": False}, False),
        ({"threads": 2, "explainability_nsamples": 5, "labels": ["a"]}, False),
        ({"seed": 1, "threads": 2}, True),
        ({"uri": "models:/x/1"}, True),
        ({"images": "clean", "metric_prefix": "x_"}, True),
        ({"profile": "quick", "sead": 1}, True),
        ({"metric_prefix": "x_", 3: "y"}, False),
    ],
)
def test_a_configuration_is_meant_for_us_if_it_says_what_only_a_scan_takes(
    config: dict[Any, Any] | None, asked: bool
) -> None:
    assert SmoothscanEvaluator.can_evaluate(model_type="classifier", evaluator_config=config) is asked


def test_an_evaluation_that_names_no_evaluators_starts_no_scan(planted: Planted) -> None:
    import pandas as pd

    numbers = pd.DataFrame({"answer": [1.0, 2.0, 3.0], "truth": [1.0, 2.0, 4.0]})
    asked = {"model": None, "predictions": "answer", "targets": "truth", "model_type": "regressor", "evaluators": None}
    for config in (None, {"metric_prefix": "a_"}):
        found = planted.evaluate(config, data=numbers, **asked).metrics
        assert any(name.endswith("mean_squared_error") for name in found)
        assert not any(name.startswith("smoothscan") for name in found)


@pytest.mark.parametrize(
    ("make", "code", "complete"),
    [
        (samples.clean, 0, True),
        (samples.suspicious, 1, True),
        (samples.backdoored, 1, True),
        (samples.inconclusive, 4, False),
        (samples.undecided, 4, False),
        (lambda: samples.ended_early("failed"), 3, False),
        (lambda: samples.ended_early("refused"), 3, False),
        (lambda: samples.ended_early("unsupported"), 5, False),
    ],
)
def test_only_a_verdict_has_a_score(make: Callable[[], samples.Sample], code: int, complete: bool) -> None:
    result = judge(make().result, "suspicious")
    found = metrics(result)
    assert (found["smoothscan/exit_code"], found["smoothscan/passed"]) == (code, float(code == 0))
    assert bool(set(found) - BOTH) is complete
    if complete:
        assert (found["smoothscan/score"], found["smoothscan/flagged"]) == (result.score, float(code == 1))
        assert ("smoothscan/p_value" in found) is (result.p_value is not None)


def test_the_gate_decides_what_passes() -> None:
    found = metrics(judge(samples.suspicious().result, "backdoored"))
    assert (found["smoothscan/passed"], found["smoothscan/flagged"], found["smoothscan/exit_code"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"images": "x", "imput": {}}, r"unknown key: imput\. Did you mean input\?"),
        ({"input": {"sizes": (8, 8)}}, r"unknown key: input\.sizes\. Did you mean input\.size\?"),
        ({"input": {"size": "8x8"}}, r"'8x8'.* no size"),
        ({"images": "x", "output_dir": "y"}, r"unknown key: output_dir\. Reports go to the run"),
        ({"images": "x", "seed": -1}, r"evaluator_config of smoothscan: (.|\n)*seed(.|\n)*greater than or equal to 0"),
        ({"images": "nowhere"}, r"image folder nowhere does not exist\. Pass a folder"),
    ],
)
def test_a_wrong_configuration_says_what_to_write(config: dict[str, Any], message: str) -> None:
    from mlflow.exceptions import MlflowException

    model = SimpleNamespace(metadata=SimpleNamespace(model_id="m-1"))
    with pytest.raises(MlflowException, match=message) as caught:
        SmoothscanEvaluator().evaluate(
            model_type="any", dataset=None, run_id="-", evaluator_config={"profile": "quick", **config}, model=model
        )
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(
    ("model", "model_id", "message"),
    [
        (None, None, "There is no model"),
        (lambda data: data, None, "function or an endpoint"),
        (SimpleNamespace(metadata=SimpleNamespace(model_id=None)), "m-2", "does not say which logged model"),
        (SimpleNamespace(metadata=SimpleNamespace(model_id="m-1")), "m-2", "is m-1, but MLflow links it to m-2"),
    ],
)
def test_a_model_without_files_to_scan_is_refused(model: Any, model_id: str | None, message: str) -> None:
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match=f"{message}.*evaluator_config={{'uri': "):
        SmoothscanEvaluator().evaluate(
            model_type="any", dataset=None, run_id="-", evaluator_config={"images": "x"}, model=model, model_id=model_id
        )


@pytest.mark.parametrize("kind", ["version", "alias", "logged model", "run"])
def test_which_model_is_scanned_without_a_uri(kind: str, server: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way to name a model leads to the logged model whose files were loaded."""
    import mlflow_smoothscan.evaluator as module

    scanned = []

    def check(uri: str, *_: Any, **__: Any) -> None:
        scanned.append(uri)
        raise UsageError("enough")

    monkeypatch.setattr(module, "check", check)
    uri = {
        "version": "models:/tiny-pt2/1",
        "alias": "models:/tiny-pt2@champion",
        "logged model": f"models:/{server.model_ids['tiny-pt2']}",
        "run": f"runs:/{server.run_ids['tiny-pt2']}/model",
    }[kind]
    with logging_to(server.tracking_uri, server.folder), pytest.raises(Exception, match="enough"):
        Planted(server, uri, server.folder).evaluate({"images": "x"})
    assert scanned == [f"models:/{server.model_ids['tiny-pt2']}"]


def test_keys_are_those_of_the_configuration_file() -> None:
    from smoothscan.cli.tables import FIELDS

    elsewhere = {"output_dir", "format", "write_back", "set_alias", "attest", "attest_key", "sarif_anchor"}
    assert set(known()) == (set(FIELDS) | {"uri", "input"}) - elsewhere
    assert options({"memory": 2**30, "input": {"size": (8, 9), "channels": 3}, "spaces": ["l2"]}) == {
        "memory_bytes": 2**30,
        "input": {"channels": 3, "height": 8, "width": 9},
        "spaces": ["l2"],
    }
    assert ScanConfig(uri="-", images=Path(), **options({"spaces": ["l2"], "input": {"size": (8, 9)}})).input.width == 9


def test_images_of_a_table_keep_its_order_and_their_names_apart(tmp_path: Path) -> None:
    import pandas as pd

    for sub, value in (("b", 1), ("a", 2)):
        write_images(tmp_path / sub, images(value))
    paths = [str(tmp_path / "b" / "000.png"), tmp_path / "a" / "000.png"]
    folder = gather(pd.DataFrame({"path": paths}), tmp_path)
    assert [path.name for path in sorted(folder.iterdir())] == ["000000-000.png", "000001-000.png"]
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == [Path(path).read_bytes() for path in paths]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"path": ["nowhere.png"]}, "nowhere.png of the evaluated data does not exist"),
        ({"path": [1.0]}, "holds no paths"),
        ({"path": []}, "holds no paths"),
        ({"a": ["x"], "b": ["y"]}, r"columns \['a', 'b'\]"),
    ],
)
def test_data_that_names_no_images_is_refused(values: dict[str, list[Any]], message: str, tmp_path: Path) -> None:
    import pandas as pd

    with pytest.raises(UsageError, match=message) as caught:
        gather(pd.DataFrame(values), tmp_path)
    assert "'images': FOLDER" in caught.value.hint
    with pytest.raises(UsageError, match="a ndarray"):
        gather(images(1).numpy(), tmp_path)


def test_mlflow_loads_the_evaluator_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys, mlflow.models.evaluation as e; before = 'torch' in sys.modules\n"
        "assert 'smoothscan' in e.list_evaluators(), 'install this checkout again: its entry point is missing'\n"
        "import mlflow_smoothscan; print(before, 'torch' in sys.modules, 'smoothscan.pipeline' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "False False False\n", done.stderr
