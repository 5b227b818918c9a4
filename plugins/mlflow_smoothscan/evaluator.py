"""The evaluator: a scan of the evaluated model as metrics and artifacts of the evaluation's run."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.models.evaluation.base import EvaluationArtifact, EvaluationResult, ModelEvaluator

from mlflow_smoothscan.images import gather
from mlflow_smoothscan.options import asked_for, options
from smoothscan import SmoothscanError, UsageError, check

if TYPE_CHECKING:
    from smoothscan import ScanResult

PREFIX = "smoothscan/"
"""What every metric and artifact of this evaluator begins with."""
FOLDER = "smoothscan"
"""Folder of the reports among the artifacts of the run."""

_logger = logging.getLogger(__name__)


class SmoothscanEvaluator(ModelEvaluator):
    """Scans the evaluated model for a backdoor.

    It runs only when `evaluator_config` names one of its keys, those of smoothscan.toml: MLflow hands every evaluation
    without `evaluators` to all installed evaluators, and a scan takes minutes.

    The scan fetches the model's files anew and loads them in its own sandboxed process. MLflow has loaded the model
    into the calling process by then, so this evaluator protects nobody from code inside a model: run
    `smoothscan check` before the model is loaded for the first time.
    """

    @classmethod
    def can_evaluate(cls, *, model_type: str, evaluator_config: Mapping[str, Any] | None, **_: Any) -> bool:
        """Tell whether the user asked for a scan."""
        return asked_for(evaluator_config)

    def evaluate(
        self,
        *,
        model_type: str,
        dataset: Any,
        run_id: str,
        evaluator_config: Mapping[str, Any],
        model: Any = None,
        model_id: str | None = None,
        **_: Any,
    ) -> EvaluationResult:
        """Scan the model, log metrics and reports to the run, and return them.

        A model that could not be examined, or of which the scan cannot say, has the metrics `smoothscan/passed` (0) and
        `smoothscan/exit_code` only: MLflow's validation fails on a metric that is missing.

        Raises:
            MlflowException: the configuration, the images or the model cannot be used; nothing was scanned.
        """
        from mlflow.exceptions import MlflowException

        with tempfile.TemporaryDirectory(prefix="smoothscan-") as name:
            folder = Path(name)
            try:
                values = options(evaluator_config)
                uri = values.pop("uri", None) or _uri(model, model_id)
                images = values.pop("images", None) or gather(dataset.features_data, folder)
                result = check(uri, images, folder / FOLDER, **values)
            except SmoothscanError as error:
                of_an_option = isinstance(error.__cause__, ValueError)  # pydantic's, whose words alone do not say whose
                whose = "evaluator_config of smoothscan: " if of_an_option else ""
                told = f"{whose}{error.message} {error.hint}".rstrip()
                raise MlflowException.invalid_parameter_value(told) from error
            measured = metrics(result)
            _log(run_id, measured, folder / FOLDER, model_id, dataset)
            artifacts = _artifacts(run_id, folder / FOLDER)
        if not measured[f"{PREFIX}passed"]:
            _logger.warning("smoothscan does not pass %s: %s", uri, "; ".join(result.reasons[:1]) or result.status)
        return EvaluationResult(measured, artifacts, run_id)


def metrics(result: ScanResult) -> dict[str, float]:
    """Return the metrics of a scan; without a verdict for or against the model only those that cannot pass."""
    assert result.gate is not None
    values: dict[str, float | None] = {"passed": result.gate.passed, "exit_code": result.gate.exit_code}
    if result.status == "completed" and result.verdict not in (None, "inconclusive"):
        values |= {
            "flagged": result.verdict != "clean",
            "target_classes": len(result.target_classes),
            "score": result.score,
            "anomaly": result.anomaly,
            "p_value": result.p_value,
        }
    return {PREFIX + name: float(value) for name, value in values.items() if value is not None}


def _uri(model: Any, model_id: str | None) -> str:
    """Return what to scan: the logged model that was loaded, if that is certain."""
    hint = "Give its URI: evaluator_config={'uri': 'models:/NAME/VERSION', ...}."
    metadata = getattr(model, "metadata", None)
    if metadata is None:
        what = "There is no model" if model is None else "The evaluated model is a function or an endpoint"
        raise UsageError(f"{what}, so there are no files to scan.", hint)
    if metadata.model_id is None:
        raise UsageError("The evaluated model does not say which logged model it is.", hint)
    if model_id not in (None, metadata.model_id):  # MLflow falls back to the active model, whatever is evaluated
        raise UsageError(f"The evaluated model is {metadata.model_id}, but MLflow links it to {model_id}.", hint)
    return f"models:/{metadata.model_id}"


def _log(run_id: str, values: Mapping[str, float], folder: Path, model_id: str | None, dataset: Any) -> None:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    about = {"model_id": model_id, "dataset_name": dataset.name, "dataset_digest": dataset.digest, "run_id": run_id}
    client = MlflowClient()
    client.log_batch(run_id, metrics=[Metric(name, value, now, 0, **about) for name, value in values.items()])
    client.log_artifacts(run_id, str(folder), FOLDER)


def _artifacts(run_id: str, folder: Path) -> dict[str, EvaluationArtifact]:
    """Return the reports and pictures by name, with their content: the folder they lie in is about to go."""
    from mlflow.models.evaluation.artifacts import (
        ImageEvaluationArtifact,
        JsonEvaluationArtifact,
        TextEvaluationArtifact,
    )
    from mlflow.tracking.artifact_utils import get_artifact_uri
    from PIL import Image

    artifacts: dict[str, EvaluationArtifact] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        uri = get_artifact_uri(run_id, f"{FOLDER}/{name}")
        match path.suffix:
            case ".html":
                artifacts[PREFIX + name] = TextEvaluationArtifact(uri, path.read_text(encoding="utf-8"))
            case ".json":
                artifacts[PREFIX + name] = JsonEvaluationArtifact(uri, json.loads(path.read_text(encoding="utf-8")))
            case ".png":
                with Image.open(path) as picture:
                    picture.load()
                    artifacts[PREFIX + name] = ImageEvaluationArtifact(uri, picture.copy())
    return artifacts
