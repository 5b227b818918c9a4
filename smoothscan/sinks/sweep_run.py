"""One MLflow run that sums a sweep up, beside the runs of its scans."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from smoothscan.posture import Posture
from smoothscan.result import WriteBack
from smoothscan.sinks import runs
from smoothscan.sinks.runs import PREFIX
from smoothscan.sinks.sweep_words import (
    changed,
    changes,
    false_alarms,
    grouped,
    headline,
    is_not_written,
    is_stale,
    is_waived,
    summary,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SWEEP_ID = f"{PREFIX}sweep_id"
"""Tag by which the run of one sweep is found again."""
FILES = ("sweep.json", "index.html")
"""What is uploaded of a sweep's folder; the results of its scans are in runs of their own."""


def log_sweep(
    posture: Posture, folder: Path, tracking_uri: str | None, registry_uri: str | None, sweep_id: str
) -> WriteBack:
    """Log a run with the numbers of a sweep, its `sweep.json` and its `index.html`.

    A run that this sweep has already, from a process that was stopped, is brought up to date instead of a second one
    being made. A server that refuses or is lost is reported in the answer, not raised.

    Args:
        posture: the sweep, finished or interrupted.
        folder: where its files lie.
        tracking_uri: MLflow tracking server; None for MLflow's own setting.
        registry_uri: MLflow model registry; None for MLflow's own setting.
        sweep_id: names this sweep, also after a restart.
    """
    from mlflow import MlflowClient  # sets up its loggers, so before they are quieted

    run_id: str | None = None
    with runs.quick_and_quiet():
        try:
            client = MlflowClient(tracking_uri, registry_uri)
            started = runs.timestamp(posture.started_at)
            run = runs.open_run(client, f"sweep {started:%Y-%m-%d %H:%M}", {}, (SWEEP_ID, sweep_id))
            run_id = str(run.info.run_id)
            _fill_run(client, run, posture, folder)
        except Exception as error:  # the client, the database and the artifact store have errors of their own
            what = "the run could not be logged" if run_id is None else f"the run {run_id} is incomplete"
            return WriteBack(status="failed", run_id=run_id, message=f"{what}: {runs.reason(error)}")
    return WriteBack(status="done", run_id=run_id)


def _fill_run(client: MlflowClient, run: Run, posture: Posture, folder: Path) -> None:
    from mlflow.entities import RunTag

    run_id = str(run.info.run_id)
    ended = "FAILED"
    try:
        tags = [RunTag(key, value) for key, value in _tags(posture).items()]
        client.log_batch(run_id, tags=tags)
        # MLflow never changes a parameter; a sweep that goes on may well do so with another engine.
        settings = {"registry": posture.registry, "engine": posture.engine, "selection": posture.selection}
        new = [param for param in runs.params(settings) if param.key not in run.data.params]
        runs.log(client, run_id, new, runs.metrics(_metrics(posture), runs.timestamp(posture.finished_at)))
        for name in FILES:
            if (folder / name).is_file():
                client.log_artifact(run_id, str(folder / name))
        ended = "FINISHED" if posture.complete else "KILLED"
    finally:
        client.set_terminated(run_id, ended)


def _tags(posture: Posture) -> dict[str, str]:
    said = [headline(posture), summary(posture), changes(posture), false_alarms(posture)]
    return {
        f"{PREFIX}exit_code": str(posture.exit_code),
        f"{PREFIX}complete": str(posture.complete).lower(),
        "mlflow.note.content": "\n\n".join(filter(None, said)),  # numbers and our own words, as MLflow renders it
    }


def _metrics(posture: Posture) -> dict[str, float | None]:
    models, found = posture.models, posture.discoveries
    actions = Counter(model.action for model in models)
    verdicts = Counter(model.verdict for model in models)
    wall = runs.timestamp(posture.finished_at) - runs.timestamp(posture.started_at)
    return {
        "versions": len(models),
        **{action: actions[action] for action in ("scanned", "kept", "pending")},
        **{str(name): n for name, n in grouped(models).items()},
        **{verdict: verdicts[verdict] for verdict in ("backdoored", "suspicious")},
        "waived": sum(map(is_waived, models)),
        "stale": sum(is_stale(model, posture.finished_at) for model in models),
        "not_written_back": sum(map(is_not_written, models)),
        "unscanned_promoted": len(posture.unscanned_promoted),
        **({str(name): n for name, n in changed(posture).items()} if posture.history else {}),
        "seconds": wall.total_seconds(),
        "scan_seconds": sum(model.seconds or 0 for model in models if model.action == "scanned"),
        "exit_code": posture.exit_code,
        "tested": found.tested if found else 0,
        "discoveries": found.discoveries if found else 0,
        "expected_false": found.expected_false if found else None,
    }
