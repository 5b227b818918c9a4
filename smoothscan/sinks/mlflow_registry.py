"""Writes a result back to MLflow: tags on the model version, and a run in the experiment `smoothscan`.

Tags are for people to read. Whoever may edit a model may edit its tags, so none decides what is scanned, or whether a
model passes; a worse verdict of a later scan keeps an older one from being written over it, and that is all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from smoothscan._version import __version__
from smoothscan.posture import Standing
from smoothscan.result import ScanResult, WriteBack
from smoothscan.sinks import runs
from smoothscan.sinks.runs import MAX_TAG, PREFIX
from smoothscan.sinks.text import instant, plain

if TYPE_CHECKING:
    from mlflow import MlflowClient

WORSE = "The tags tell of a later scan, which found worse: {}. They are left as they are."
"""What is said where tags are not written, with the word that stands there."""
SCAN_ID = f"{PREFIX}scan_id"
"""Tag by which the run of one scan is found again."""
VALID_FOR = timedelta(days=90)
"""How long a verdict holds before the model should be examined again."""
_CLOCKS_DIFFER = timedelta(minutes=5)
_WORDS: tuple[tuple[str, ...], ...] = (
    ("clean",),
    ("inconclusive", "unsupported", "refused", "timed_out", "failed"),
    ("suspicious",),
    ("backdoored",),
)
_BADNESS = {word: badness for badness, words in enumerate(_WORDS) for word in words}


def write_back(
    result: ScanResult,
    folder: Path,
    *,
    tracking_uri: str | None,
    registry_uri: str | None,
    scan_id: str | None = None,
) -> WriteBack:
    """Log a run with the result, and tag the model version if the model is registered.

    The verdict never depends on this: a server that refuses or is lost is reported in the answer, not raised, and
    what did succeed is said.

    Args:
        result: the finished scan, whatever its status.
        folder: what was written for it; uploaded to the run as it is.
        tracking_uri: MLflow tracking server; None for MLflow's own setting.
        registry_uri: MLflow model registry; None for MLflow's own setting.
        scan_id: names this scan, and comes with the same result each time: a run that an earlier try made for it is
            gone on with, so that a process killed on the way leaves one run and not two. None for a new run.
    """
    registered = result.model.name is not None and result.model.version is not None
    if not registered and not _is_tracked(result):
        found = result.model.digest is not None
        message = "The model comes from no MLflow registry or run." if found else "The model was not found."
        return WriteBack(status="not_applicable", message=message)
    from mlflow import MlflowClient  # sets up its loggers, so before they are quieted

    problems: list[str] = []
    run_id: str | None = None
    tagged, note = False, "" if registered else "The model is not registered, so there is no version to tag."
    with runs.quick_and_quiet():
        try:
            client = MlflowClient(tracking_uri, registry_uri)
        except Exception as error:
            return WriteBack(status="failed", message=f"MLflow could not be reached: {runs.reason(error)}")
        try:
            run_id = _open_run(client, result, scan_id)
            _fill_run(client, run_id, result, folder)
        except Exception as error:  # the client, the database and the artifact store have errors of their own
            what = "the run could not be logged" if run_id is None else f"the run {run_id} is incomplete"
            problems.append(f"{what}: {runs.reason(error)}")
        if registered:
            try:
                _, worse = _tag(client, result, run_id)
                tagged, note = not worse, WORSE.format(worse) if worse else ""
            except Exception as error:
                problems.append(f"the model version could not be tagged: {runs.reason(error)}")
    if problems:
        done = [text for text, is_done in ((f"run {run_id} is there", run_id), ("the tags are set", tagged)) if is_done]
        message = "; ".join(problems) + (f" ({', '.join(done)})" if done else "")
        return WriteBack(status="failed", run_id=run_id, tagged=tagged, message=message)
    return WriteBack(status="done", run_id=run_id, tagged=tagged, message=note)


def version_tags(result: ScanResult, run_id: str | None) -> dict[str, str | None]:
    """Return the tags of a model version, in the order of writing; None for those that a former scan may have left.

    A scan that did not complete replaces an older verdict by the word for what happened: `failed`, `refused`, ...
    """
    scanned_at = runs.timestamp(result.finished_at)
    return {
        **_found(result, result.model.digest),
        "scanned_at": scanned_at.isoformat(timespec="seconds"),
        "version": __version__,
        "run_id": run_id,
        "expires_at": (scanned_at + VALID_FOR).isoformat(timespec="seconds"),
    }


def known_tags(standing: Standing) -> dict[str, str | None]:
    """Return the tags that a version should have, as far as they are known without its result; None for none."""
    times = {"scanned_at": standing.scanned_at, "expires_at": standing.expires_at}
    tags = {**_found(standing, standing.model_digest), **times, "run_id": standing.write_back.run_id}
    return {PREFIX + tag: value and value[:MAX_TAG] for tag, value in tags.items()}


def worse_since(present: Mapping[str, str], known: ScanResult | Standing) -> str:
    """Return what tags say that a later scan than the known one has found, if that is worse; else nothing.

    `smoothscan check` writes tags, but no ledger. Nobody gains by forging a worse verdict, and nothing is decided by
    it: but what may be a warning is not replaced by an older, milder word.

    Args:
        present: the tags of the version as they are.
        known: the newest scan that the ledger knows.
    """
    said = present.get(f"{PREFIX}verdict", "")
    ours = _found(known, None)["verdict"] or ""
    later, own = instant(present.get(f"{PREFIX}scanned_at")), instant(_scanned_at(known))
    is_worse = _BADNESS.get(said, -1) > _BADNESS.get(ours, -1)
    # A time that is still to come is forged; clocks may differ a little.
    is_later = later is not None and own is not None and own < later < datetime.now(UTC) + _CLOCKS_DIFFER
    return said if is_worse and is_later else ""


def _scanned_at(known: ScanResult | Standing) -> str | None:
    return known.scanned_at if isinstance(known, Standing) else known.finished_at


def _found(known: ScanResult | Standing, model_digest: str | None) -> dict[str, str | None]:
    completed = known.status == "completed" and known.verdict is not None
    return {
        "verdict": known.verdict if completed else known.status,
        "score": f"{known.score:.6g}" if completed and known.score is not None else None,
        "target_classes": json.dumps(known.target_classes) if completed else None,
        "model_digest": model_digest,
        "config_digest": known.config_digest,
    }


def tag_again(result: ScanResult, *, tracking_uri: str | None, registry_uri: str | None) -> WriteBack | None:
    """Put the tags of a version right that was written back before; None if nothing was wrong with them.

    Args:
        result: the scan, with what became of its write-back then.
        tracking_uri: MLflow tracking server; None for MLflow's own setting.
        registry_uri: MLflow model registry; None for MLflow's own setting.
    """
    from mlflow import MlflowClient

    before = result.write_back
    with runs.quick_and_quiet():
        try:
            changed, _ = _tag(MlflowClient(tracking_uri, registry_uri), result, before.run_id)
        except Exception as error:
            message = f"the tags were changed, and could not be put right: {runs.reason(error)}"
            return before.model_copy(update={"status": "failed", "tagged": False, "message": message})
    return before if changed else None


def _tag(client: MlflowClient, result: ScanResult, run_id: str | None) -> tuple[bool, str]:
    """Set the tags that a version does not have yet; return whether there were any, and what is worse and stays."""
    name, version = str(result.model.name), str(result.model.version)
    present = client.get_model_version(name, version).tags
    if worse := worse_since(present, result):
        return False, worse
    changed = False
    # The verdict comes first: should the server be lost half-way, no older `clean` is left standing.
    for tag, value in version_tags(result, run_id).items():
        key, wanted = PREFIX + tag, value and value[:MAX_TAG]
        if wanted == present.get(key):
            continue  # each request costs a server with passwords a quarter of a second
        if wanted is None:
            client.delete_model_version_tag(name, version, key)
        else:
            client.set_model_version_tag(name, version, key, wanted)
        changed = True
    return changed, ""


def _open_run(client: MlflowClient, result: ScanResult, scan_id: str | None) -> str:
    model = result.model
    tags = {
        f"{PREFIX}status": result.status,
        f"{PREFIX}verdict": result.verdict,
        f"{PREFIX}reason": plain(result.reasons[0]) if result.reasons else None,
        f"{PREFIX}model_uri": model.resolved_uri or model.uri,
        f"{PREFIX}model_name": model.name,
        f"{PREFIX}model_version": model.version,
        f"{PREFIX}model_digest": model.digest,
    }
    title = f"{model.name} {model.version}" if model.name else model.resolved_uri or model.uri
    run = runs.open_run(client, title, tags, None if scan_id is None else (SCAN_ID, scan_id))
    return str(run.info.run_id)


def _fill_run(client: MlflowClient, run_id: str, result: ScanResult, folder: Path) -> None:
    ended = "FAILED"
    try:
        # The trigger space that the scan came to report is what no metric can say.
        config = result.config | ({"space": result.space} if result.spaces else {})
        metrics = runs.metrics(_metrics(result), runs.timestamp(result.finished_at))
        runs.log(client, run_id, runs.params(config), metrics)
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


def _metrics(result: ScanResult) -> dict[str, float | None]:
    return {
        "model_passes": result.cost.model_passes,
        "seconds": result.cost.seconds,
        "peak_rss_bytes": result.cost.peak_rss_bytes,
        "classes_examined": result.coverage.classes_examined,
        "images": result.coverage.images,
        "score": result.score,
        "anomaly": result.anomaly,
        "p_value": result.p_value,
        "calibration_p_value": result.calibration.p_value if result.calibration else None,
        **{f"anomaly/{entry.space}": entry.anomaly for entry in result.spaces},
        **{f"transfer_rate/{entry.index}": entry.transfer_rate for entry in result.classes},
    }


def _is_tracked(result: ScanResult) -> bool:
    """Whether the model lies in a tracking server, registered or not."""
    return result.model.uri.startswith(("runs:/", "models:/")) and result.model.digest is not None
