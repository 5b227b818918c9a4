"""MLflow runs in the experiment `smoothscan`: what the write-back of a scan and the summary of a sweep share."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from smoothscan._version import __version__
from smoothscan.credentials import without_credentials
from smoothscan.sinks.text import instant
from smoothscan.surroundings import environment, quiet
from smoothscan.vocabulary import OUR_TAGS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, Run

EXPERIMENT = "smoothscan"
PREFIX = OUR_TAGS
MAX_TAG = 5000
"""Longest value of a tag in characters."""

_MAX_KEY = 250
_MAX_PARAM = 6000
_PARAMS_AT_ONCE = 100
_METRICS_AT_ONCE = 1000
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""A lost server must not hold back a verdict for minutes, as MLflow's own settings would, and standard output is for
the result."""
_NOT_IN_KEYS = re.compile(r"[^\w.\- /:]")
_NOT_IN_IDS = re.compile(r"[^\w.:/@+-]")


@contextmanager
def quick_and_quiet() -> Iterator[None]:
    """Let MLflow give up soon on a lost server, and write nothing to the terminal."""
    with environment(_ENVIRONMENT), quiet("mlflow", "alembic"):
        yield


def open_run(client: MlflowClient, name: str, tags: Mapping[str, str | None], key: tuple[str, str] | None) -> Run:
    """Make a run, or return the one that an earlier try made and did not come to fill.

    Args:
        client: MLflow.
        name: the run's name.
        tags: its tags; those without a value are left out.
        key: the tag that tells the run from all others, and its value; it is written in the same request that makes
            the run, so that no process can die between the two. None for a new run in any case.

    Returns:
        The run; of several with the same key the oldest.

    Raises:
        ValueError: the value of the key would break out of the search for it.
    """
    if key is not None and _NOT_IN_IDS.search(key[1]):
        raise ValueError(f"{key[1]!r} is no id: letters, digits and .:/@+-_ only")
    experiment = _experiment(client)
    if key is not None:
        wanted = f"tags.`{key[0]}` = '{key[1]}'"
        found = client.search_runs([experiment], wanted, max_results=1, order_by=["attributes.start_time ASC"])
        if found:
            return found[0]
    own = {"mlflow.source.name": "smoothscan", f"{PREFIX}version": __version__, **tags, **dict([key] if key else [])}
    kept = {name: value[:MAX_TAG] for name, value in own.items() if value is not None}
    return client.create_run(experiment, tags=kept, run_name=name[:_MAX_KEY])


def params(config: Mapping[str, Any]) -> list[Param]:
    """Return nested settings as parameters, without credentials."""
    from mlflow.entities import Param

    return [
        Param(_NOT_IN_KEYS.sub("_", key)[:_MAX_KEY], value[:_MAX_PARAM])
        for key, value in _flat(config, "")
        if value  # an empty value is refused by some stores
    ]


def metrics(values: Mapping[str, float | None], at: datetime) -> list[Metric]:
    """Return numbers as metrics of one moment; those that are None are left out."""
    from mlflow.entities import Metric

    moment = int(at.timestamp() * 1000)
    return [Metric(key, float(value), moment, 0) for key, value in values.items() if value is not None]


def log(client: MlflowClient, run_id: str, params: list[Param], metrics: list[Metric]) -> None:
    """Log any number of parameters and metrics."""
    for some in _chunks(params, _PARAMS_AT_ONCE):
        client.log_batch(run_id, params=some)
    for many in _chunks(metrics, _METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=many)


def timestamp(text: str | None) -> datetime:
    """Return a time in UTC; the present for what is none."""
    return instant(text) or datetime.now(UTC)


def reason(error: Exception) -> str:
    """Return the first line of an error, without credentials."""
    text = without_credentials(str(error).partition("\n")[0]) or type(error).__name__
    return text if len(text) <= 300 else text[:300] + "..."


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


def _flat(value: Any, key: str) -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}" if key else str(name))
    else:
        yield key, without_credentials(value if isinstance(value, str) else json.dumps(value, default=str))


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
