"""Models in an MLflow registry, tracking server or artifact store. Files are downloaded, never loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from smoothscan.errors import ConfigError, ModelNotFoundError, RegistryError
from smoothscan.events import Events
from smoothscan.result import ModelInfo
from smoothscan.sources import registry_hints
from smoothscan.sources.interface import Artifact, about
from smoothscan.sources.mlflow_errors import is_missing, mlflow_exception, reported, shown
from smoothscan.sources.model_folder import pin
from smoothscan.suggestions import close_to
from smoothscan.surroundings import environment

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

_RESOLVING = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
"""MLflow's own settings keep trying a server that is down for minutes; a gate should say so within seconds."""
_DOWNLOADING = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
_LOGGED_MODEL = re.compile(r"m-[0-9a-f]{32}")
_HANDED_OUT = "/mlflow-artifacts/artifacts"
"""What stands in the address of files that an MLflow server hands out itself."""
_FORMS = (
    "models:/<name>/<version>, models:/<name>@<alias>, models:/<name>/latest, models:/m-<id>, runs:/<run>/<model>, a "
    "folder, or the URI of an artifact store such as s3://<bucket>/<path>"
)


@dataclass(frozen=True)
class _Pinned:
    """Where a model's files lie, and which model they are."""

    resolved_uri: str
    location: str
    name: str | None = None
    version: str | None = None
    model_id: str | None = None
    run_id: str | None = None


class MlflowRegistry:
    """Takes `models:`, `runs:` and artifact URIs.

    Args:
        tracking_uri: MLflow tracking server; None for MLflow's own setting.
        registry_uri: MLflow model registry; None for MLflow's own setting.
    """

    def __init__(self, tracking_uri: str | None, registry_uri: str | None) -> None:
        self._tracking_uri = tracking_uri
        self._registry_uri = registry_uri

    def fetch(self, uri: str, into: Path, events: Events) -> Artifact:
        """Resolve the URI to a version, download its files into `into` and pin them.

        Raises:
            ModelNotFoundError: no such model, version, alias or run, or no MLmodel file there.
            RegistryError: the server or the artifact store did not answer, or refused.
            ConfigError: the URI is none that a model can have.
            ModelLoadError: the files can not be pinned.
            UnsupportedModelError: it is stored in no way that the scanner knows.
        """
        return pin(into, self.bring(uri, into, events))

    def bring(self, uri: str, into: Path, events: Events) -> ModelInfo:
        """Resolve the URI to a version, download its files into `into`, and return which model it is.

        Raises:
            ModelNotFoundError: no such model, version, alias or run.
            RegistryError: the server or the artifact store did not answer, or refused.
            ConfigError: the URI is none that a model can have.
        """
        with environment(_RESOLVING), reported(uri):
            resolver = _Resolver(*client_of(self._tracking_uri, self._registry_uri))
            pinned = resolver.resolve(uri)
        known = ModelInfo(
            uri=uri,
            resolved_uri=pinned.resolved_uri,
            name=pinned.name,
            version=pinned.version,
            model_id=pinned.model_id,
            run_id=pinned.run_id,
        )
        events.stage("download", pinned.resolved_uri)
        with about(known), environment(_DOWNLOADING), reported(uri):
            resolver.download(pinned.location, into)
        return known


def client_of(tracking_uri: str | None, registry_uri: str | None) -> tuple[MlflowClient, str]:
    """Return a client and the URI of its tracking store.

    Raises:
        RegistryError: a store is a database file that is not there.
    """
    from mlflow import MlflowClient, get_tracking_uri

    tracking_uri = tracking_uri or get_tracking_uri()
    for store in filter(None, (tracking_uri, registry_uri)):
        _require_database(store)
    return MlflowClient(tracking_uri, registry_uri), tracking_uri


class _Resolver:
    """Turns a URI into a version and a place in an artifact store.

    MLflow's own downloader looks versions up in the process-wide registry, whatever registry it was given, and adds a
    file of its own to the model. Here every step goes through the client, down to the plain artifact location.
    """

    def __init__(self, client: MlflowClient, tracking_uri: str) -> None:
        self._client = client
        self._tracking_uri = tracking_uri

    def resolve(self, uri: str) -> _Pinned:
        scheme, _, rest = uri.partition(":")
        if scheme == "runs":
            return self._run(uri, rest.strip("/"))
        if scheme != "models":
            _require_store(uri, scheme)
            return _Pinned(resolved_uri=uri, location=uri)
        body = rest.strip("/")
        if _LOGGED_MODEL.fullmatch(body):
            return self._logged_model(body)
        name, slash, suffix = body.partition("/")
        if slash and suffix:
            return self._version(name, suffix)
        stem, at, alias = body.rpartition("@")
        if at and stem and alias:
            return self._alias(stem, alias)
        raise self._without_version(uri, body)

    def _version(self, name: str, suffix: str) -> _Pinned:
        if suffix.isdecimal():
            try:
                return self._pinned(self._client.get_model_version(name, suffix))
            except mlflow_exception() as error:
                if not is_missing(error):
                    raise
                model = self._model(name)
                hint = registry_hints.for_version(self._client, model) + registry_hints.whole(model)
                raise ModelNotFoundError(f"The model {name!r} has no version {suffix}.", hint) from error
        model = self._model(name)
        if suffix.lower() != "latest":
            hint = registry_hints.for_alias(model, suffix) + registry_hints.whole(model)
            raise ModelNotFoundError(f"'models:/{name}/{suffix}': {suffix!r} is no version number.", hint)
        if (newest := registry_hints.newest(model)) is None:
            raise ModelNotFoundError(f"The model {name!r} has no versions yet.", "Register a version first.")
        return self._pinned(self._client.get_model_version(name, newest))

    def _alias(self, name: str, alias: str) -> _Pinned:
        try:
            return self._pinned(self._client.get_model_version_by_alias(name, alias))
        except mlflow_exception() as error:
            # The SQL store calls an unknown alias an invalid parameter, other stores a missing resource.
            if not is_missing(error) and error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            model = self._model(name)
            hint = registry_hints.for_alias(model, alias) + registry_hints.whole(model)
            raise ModelNotFoundError(f"The model {name!r} has no alias {alias!r}.", hint) from error

    def _without_version(self, uri: str, name: str) -> ModelNotFoundError:
        try:
            hint = registry_hints.whole(self._client.get_registered_model(name))
        except Exception:  # the URI is wrong whatever the registry says
            hint = registry_hints.for_name(self._client, name) if name else ""
            hint += "Name one: models:/<name>/<version>, models:/<name>@<alias> or models:/<name>/latest."
        return ModelNotFoundError(f"{uri!r} names no version.", hint)

    def _model(self, name: str) -> RegisteredModel:
        try:
            return self._client.get_registered_model(name)
        except mlflow_exception() as error:
            if not is_missing(error):
                raise
            raise ModelNotFoundError(
                f"There is no registered model {name!r} in {shown(self._tracking_uri)}.",
                registry_hints.for_name(self._client, name)
                + "Check the name, and that --tracking-uri or MLFLOW_TRACKING_URI leads to the right server.",
            ) from error

    def _pinned(self, version: ModelVersion) -> _Pinned:
        number = str(version.version)
        return _Pinned(
            resolved_uri=f"models:/{version.name}/{number}",
            location=self._location(self._client.get_model_version_download_uri(version.name, number)),
            name=version.name,
            version=number,
            model_id=version.model_id,
            run_id=version.run_id,
        )

    def _location(self, uri: str) -> str:
        """Follow a version's source, which may be a logged model, down to an artifact store."""
        body = uri.removeprefix("models:/").strip("/")
        if uri.startswith("models:/") and _LOGGED_MODEL.fullmatch(body):
            return str(self._client.get_logged_model(body).artifact_location)
        return self.resolve(uri).location if uri.startswith("runs:/") else uri

    def _logged_model(self, model_id: str) -> _Pinned:
        try:
            model = self._client.get_logged_model(model_id)
        except mlflow_exception() as error:
            if not is_missing(error):
                raise
            raise ModelNotFoundError(
                f"There is no logged model {model_id!r} in {shown(self._tracking_uri)}.",
                "Check the id, and that --tracking-uri or MLFLOW_TRACKING_URI leads to the right server.",
            ) from error
        return _Pinned(
            resolved_uri=f"models:/{model_id}",
            location=model.artifact_location,
            model_id=model_id,
            run_id=model.source_run_id,
        )

    def _run(self, uri: str, body: str) -> _Pinned:
        run_id, _, path = body.partition("/")
        if not path:
            raise ModelNotFoundError(
                f"{uri!r} names a run, but no model in it.",
                f"Add the name under which the run logged the model, such as runs:/{run_id or '<run>'}/model.",
            )
        try:
            run = self._client.get_run(run_id)
        except mlflow_exception() as error:
            if not is_missing(error) and error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            raise ModelNotFoundError(
                f"There is no run {run_id!r} in {shown(self._tracking_uri)}.",
                "Check the id, and that --tracking-uri or MLFLOW_TRACKING_URI leads to the right server.",
            ) from error
        # Since MLflow 3 a run's models are logged models of their own; before, they lay among its artifacts.
        models = self._client.search_logged_models(
            [run.info.experiment_id], filter_string=f"source_run_id = '{run.info.run_id}'"
        )
        for model in models:
            if model.name == unquote(path):
                return self._logged_model(model.model_id)
        location = f"{run.info.artifact_uri.rstrip('/')}/{path}"
        return _Pinned(resolved_uri=f"runs:/{run_id}/{path}", location=location, run_id=run_id)

    def download(self, location: str, into: Path) -> None:
        """Copy the files at an artifact location into a folder."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if location.startswith("models:/"):
            location = self.resolve(location).location
        into.mkdir(parents=True, exist_ok=True)
        repository = get_artifact_repository(location, tracking_uri=self._tracking_uri)
        repository.download_artifacts("", dst_path=str(into))  # type: ignore[no-untyped-call]
        if not any(into.iterdir()):
            raise ModelNotFoundError(
                f"There are no files at {shown(location)}.",
                "Check the path; it may be a folder of another machine, out of reach from here.",
            )


def _require_store(uri: str, scheme: str) -> None:
    """Refuse a URI that no artifact store is behind, of which MLflow would complain in words about its own insides."""
    from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories

    if scheme in ("http", "https") and _HANDED_OUT not in uri:
        raise ConfigError(
            f"{shown(uri)} is the address of a server, not that of a model.",
            f"Pass an MLflow server as --tracking-uri; a model is {_FORMS}.",
        )
    known = get_registered_artifact_repositories()
    if scheme not in known:
        meant = close_to(scheme, known)
        question = "" if meant is None else f"Did you mean {shown(meant + uri.removeprefix(scheme))}? "
        raise ConfigError(
            f"{shown(uri)} is no URI of a model: none begins with '{scheme}:'.", f"{question}A model is {_FORMS}."
        )


def _require_database(uri: str) -> None:
    """Refuse a database file that is not there; MLflow would create an empty one and find nothing in it."""
    scheme, _, path = uri.partition(":///")
    if not scheme.startswith("sqlite") or not path or ":memory:" in path:
        return
    file = Path(path.partition("?")[0])
    if not file.is_file():
        raise RegistryError(
            f"There is no MLflow database at {file.absolute()}.",
            "Pass --tracking-uri or set MLFLOW_TRACKING_URI to your tracking server or database.",
        )
