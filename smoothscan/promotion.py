"""Moves an alias of the registry to a scanned version: only if the gate passes, and for the bytes that were scanned."""

from __future__ import annotations

from typing import Literal

from smoothscan.errors import ConfigError, SmoothscanError
from smoothscan.events import Events
from smoothscan.result import Promotion, ScanResult
from smoothscan.sinks.runs import quick_and_quiet, reason
from smoothscan.sources import present, registered_name
from smoothscan.sources.mlflow_errors import shown


def require_registered(uri: str) -> None:
    """Make sure that a URI means a version of a registered model, before anything is scanned.

    Raises:
        ConfigError: it means something else, which can have no alias.
    """
    if registered_name(uri) is None:
        raise ConfigError(
            f"--set-alias needs a version of a registered model, and {shown(uri)} is none.",
            "Name it as models:/name/3, models:/name@alias or models:/name/latest; or leave --set-alias out.",
        )


def promote(
    result: ScanResult, alias: str, *, tracking_uri: str | None, registry_uri: str | None, events: Events
) -> Promotion:
    """Move an alias to the scanned version if the gate passes, and say what happened; nothing is raised.

    The version's files are downloaded once more, right before: an artifact store keeps nobody from exchanging them.
    That takes a while, in which somebody else may move the alias: then it is left to them.

    Args:
        result: the scan, with its gate.
        alias: the alias.
        tracking_uri: MLflow tracking server; None for MLflow's own setting.
        registry_uri: MLflow model registry; None for MLflow's own setting.
        events: told what is done.
    """
    passed = result.gate is not None and result.gate.passed
    name, version = result.model.name, result.model.version
    before: str | None = None

    def ended(status: Literal["moved", "unchanged", "held", "failed"], message: str) -> Promotion:
        return Promotion(alias=alias, status=status, before=before, message=message)

    if name is None or version is None:
        return ended("failed" if passed else "held", f"{alias} was left where it is: there is no registered version.")
    events.stage("alias", f"{alias} of {name}")
    from mlflow import MlflowClient

    def read() -> str | None:
        with quick_and_quiet():
            found = client.get_registered_model(name).aliases.get(alias)
        return None if found is None else str(found)

    try:
        with quick_and_quiet():
            client = MlflowClient(tracking_uri, registry_uri)
        before = read()
    except Exception as error:  # the client and the database have errors of their own
        left = f"{alias} was left where it is"
        if not passed:
            return ended("held", f"{left}: the gate did not pass.")
        return ended("failed", f"{left}: the registry could not be read: {reason(error)}")
    left = f"{alias} was left {'unset' if before is None else f'on version {before}'}"
    if not passed:
        scanned = ", the version that was scanned" if before == version else ""
        return ended("held", f"{left}{scanned}: the gate did not pass.")
    if problem := _changed(result, f"models:/{name}/{version}", tracking_uri, registry_uri, events):
        return ended("failed", f"{left}: {problem}")
    try:
        first, before = before, read()
    except Exception as error:
        return ended("failed", f"{left}: the registry could not be read once more: {reason(error)}")
    if before == version:
        return ended("unchanged", f"{alias} is on version {version} already.")
    if before != first:
        meanwhile = "took it off meanwhile" if before is None else f"moved it to version {before} meanwhile"
        return ended("failed", f"{alias} was left where it is: somebody {meanwhile}.")
    try:
        with quick_and_quiet():
            client.set_registered_model_alias(name, alias, version)
    except Exception as error:
        return ended("failed", f"{left}: the registry refused to move it: {reason(error)}")
    return ended("moved", f"{alias} moved {'' if before is None else f'from version {before} '}to version {version}.")


def _changed(result: ScanResult, uri: str, tracking_uri: str | None, registry_uri: str | None, events: Events) -> str:
    """Return why a version is not what was scanned; empty if it is."""
    try:
        model = present(uri, tracking_uri=tracking_uri, registry_uri=registry_uri, events=events)
    except SmoothscanError as error:
        return f"the files of {uri} could not be read once more: {error.message}"
    if model.digest == result.model.digest:
        return ""
    return f"the files of {uri} are no longer those that were scanned ({model.digest} now, {result.model.digest} then)."
