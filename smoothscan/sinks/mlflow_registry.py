"""Writes a result back to MLflow: tags on the model version, and a run in the experiment `smoothscan`.

Tags are for people to read. Whoever may edit a model may edit its tags, so nothing here decides anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smoothscan._version import __version__
from smoothscan.result import ScanResult, WriteBack
from smoothscan.sinks.text import plain
from smoothscan.surroundings import environment, quiet

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

EXPERIMENT = "smoothscan"
PREFIX = "smoothscan."
VALID_FOR = timedelta(days=90)
"""How long a verdict holds before the model should be examined again."""

_MAX_KEY = 250
_MAX_PARAM = 6000
_MAX_TAG = 5000
_PARAMS_AT_ONCE = 100
_METRICS_AT_ONCE = 1000
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""A lost server must not hold back a verdict for minutes, as MLflow's own settings would, and standard output is for
the result."""
_NOT_IN_KEYS = re.compile(r"[^\w.\- /:]")
USER_INFO = re.compile(r"//[^/@\s]*@")
"""User name and password in a URI."""


def write_back(result: ScanResult, folder: Path, *, tracking_uri: str | None, registry_uri: str | None) -> WriteBack:
    """Log a run with the result, and tag the model version if the model is registered.

    The verdict never depends on this: a server that refuses or is lost is reported in the answer, not raised, and
    what did succeed is said.

    Args:
        result: the finished scan, whatever its status.
        folder: what was written for it; uploaded to the run as it is.
        tracking_uri: MLflow tracking server; None for MLflow's own setting.
        registry_uri: MLflow model registry; None for MLflow's own setting.
    """
    registered = result.model.name is not None and result.model.version is not None
    if not registered and not _is_tracked(result):
        found = result.model.digest is not None
        message = "The model comes from no MLflow registry or run." if found else "The model was not found."
        return WriteBack(status="not_applicable", message=message)
    from mlflow import MlflowClient  # sets up its loggers, so before they are quieted

    problems: list[str] = []
    run_id: str | None = None
    tagged = False
    with environment(ENVIRONMENT), quiet("mlflow", "alembic"):
        try:
            client = MlflowClient(tracking_uri, registry_uri)
        except Exception as error:
            return WriteBack(status="failed", message=f"MLflow could not be reached: {reason(error)}")
        try:
            run_id = _create_run(client, result)
            _fill_run(client, run_id, result, folder)
        except Exception as error:  # the client, the database and the artifact store have errors of their own
            what = "the run could not be logged" if run_id is None else f"the run {run_id} is incomplete"
            problems.append(f"{what}: {reason(error)}")
        if registered:
            try:
                _tag(client, result, run_id)
                tagged = True
            except Exception as error:
                problems.append(f"the model version could not be tagged: {reason(error)}")
    if problems:
        done = [text for text, is_done in ((f"run {run_id} is there", run_id), ("the tags are set", tagged)) if is_done]
        message = "; ".join(problems) + (f" ({', '.join(done)})" if done else "")
        return WriteBack(status="failed", run_id=run_id, tagged=tagged, message=message)
    note = "" if registered else "The model is not registered, so there is no version to tag."
    return WriteBack(status="done", run_id=run_id, tagged=tagged, message=note)


def version_tags(result: ScanResult, run_id: str | None) -> dict[str, str | None]:
    """Return the tags of a model version, in the order of writing; None for those that a former scan may have left.

    A scan that did not complete replaces an older verdict by the word for what happened: `failed`, `refused`, ...
    """
    completed = result.status == "completed" and result.verdict is not None
    scanned_at = _timestamp(result.finished_at)
    return {
        "verdict": result.verdict if completed else result.status,
        "score": f"{result.score:.6g}" if completed and result.score is not None else None,
        "target_classes": json.dumps(result.target_classes) if completed else None,
        "model_digest": result.model.digest,
        "config_digest": result.config_digest,
        "scanned_at": scanned_at.isoformat(timespec="seconds"),
        "version": __version__,
        "run_id": run_id,
        "expires_at": (scanned_at + VALID_FOR).isoformat(timespec="seconds"),
    }


def _tag(client: MlflowClient, result: ScanResult, run_id: str | None) -> None:
    name, version = str(result.model.name), str(result.model.version)
    present = client.get_model_version(name, version).tags
    # The verdict comes first: should the server be lost half-way, no older `clean` is left standing.
    for tag, value in version_tags(result, run_id).items():
        key = PREFIX + tag
        if value is not None:
            client.set_model_version_tag(name, version, key, value[:_MAX_TAG])
        elif key in present:
            client.delete_model_version_tag(name, version, key)


def _create_run(client: MlflowClient, result: ScanResult) -> str:
    model = result.model
    tags = {
        "mlflow.source.name": "smoothscan",
        f"{PREFIX}status": result.status,
        f"{PREFIX}verdict": result.verdict,
        f"{PREFIX}reason": plain(result.reasons[0]) if result.reasons else None,
        f"{PREFIX}model_uri": model.resolved_uri or model.uri,
        f"{PREFIX}model_name": model.name,
        f"{PREFIX}model_version": model.version,
        f"{PREFIX}model_digest": model.digest,
        f"{PREFIX}version": __version__,
    }
    title = f"{model.name} {model.version}" if model.name else model.resolved_uri or model.uri
    run = client.create_run(
        _experiment(client),
        tags={key: value[:_MAX_TAG] for key, value in tags.items() if value is not None},
        run_name=title[:_MAX_KEY],
    )
    return str(run.info.run_id)


def _fill_run(client: MlflowClient, run_id: str, result: ScanResult, folder: Path) -> None:
    ended = "FAILED"
    try:
        for batch in _chunks(_params(result), _PARAMS_AT_ONCE):
            client.log_batch(run_id, params=batch)
        for batch in _chunks(_metrics(result), _METRICS_AT_ONCE):
            client.log_batch(run_id, metrics=batch)
        _link(client, run_id, result)
        client.log_artifacts(run_id, str(folder))
        ended = "FINISHED" if result.status == "completed" else "FAILED"
    finally:
        client.set_terminated(run_id, ended)


def _link(client: MlflowClient, run_id: str, result: ScanResult) -> None:
    """Make the logged model an input of the run, so that MLflow shows the one on the page of the other."""
    from mlflow.entities import LoggedModelInput

    if result.model.model_id and (result.model.name or _is_tracked(result)):
        client.log_inputs(run_id, models=[LoggedModelInput(result.model.model_id)])


def _experiment(client: MlflowClient) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        try:
            return str(client.create_experiment(EXPERIMENT))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(EXPERIMENT)  # another scan was quicker
    if found is None or found.lifecycle_stage != "active":
        raise RuntimeError(f"the experiment '{EXPERIMENT}' is deleted; restore it")
    return str(found.experiment_id)


def _params(result: ScanResult) -> list[Param]:
    """Return the configuration, and the trigger space that the scan came to report, which no metric can say."""
    from mlflow.entities import Param

    return [
        Param(_NOT_IN_KEYS.sub("_", key)[:_MAX_KEY], value[:_MAX_PARAM])
        for key, value in _flat(result.config | ({"space": result.space} if result.spaces else {}), "")
        if value  # an empty value is refused by some stores
    ]


def _flat(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}" if key else str(name))
    else:
        yield key, USER_INFO.sub("//", value if isinstance(value, str) else json.dumps(value, default=str))


def _metrics(result: ScanResult) -> list[Metric]:
    from mlflow.entities import Metric

    now = int(_timestamp(result.finished_at).timestamp() * 1000)
    values: dict[str, float] = {
        "model_passes": result.cost.model_passes,
        "seconds": result.cost.seconds,
        "peak_rss_bytes": float(result.cost.peak_rss_bytes),
        "classes_examined": float(result.coverage.classes_examined),
        "images": float(result.coverage.images),
    }
    calibrated = result.calibration.p_value if result.calibration else None
    for key, value in (
        ("score", result.score),
        ("anomaly", result.anomaly),
        ("p_value", result.p_value),
        ("calibration_p_value", calibrated),
    ):
        if value is not None:
            values[key] = value
    values.update({f"anomaly/{entry.space}": entry.anomaly for entry in result.spaces})
    values.update({f"transfer_rate/{entry.index}": entry.transfer_rate for entry in result.classes})
    return [Metric(key, float(value), now, 0) for key, value in values.items()]


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _is_tracked(result: ScanResult) -> bool:
    """Whether the model lies in a tracking server, registered or not."""
    return result.model.uri.startswith(("runs:/", "models:/")) and result.model.digest is not None


def _timestamp(text: str | None) -> datetime:
    moment = datetime.fromisoformat(text) if text else datetime.now(UTC)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def reason(error: Exception) -> str:
    """Return what MLflow says went wrong, in one bounded line without credentials."""
    text = USER_INFO.sub("//", str(error).partition("\n")[0]) or type(error).__name__
    return text if len(text) <= 300 else text[:300] + "..."
