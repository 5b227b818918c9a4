"""Which versions of which models a registry holds. Metadata only: nothing is downloaded."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from smoothscan.config import Frozen
from smoothscan.credentials import without_credentials
from smoothscan.errors import ConfigError
from smoothscan.sources.mlflow_errors import is_denied, is_missing, mlflow_exception, reported, shown
from smoothscan.sources.mlflow_registry import client_of
from smoothscan.surroundings import environment
from smoothscan.vocabulary import OUR_TAGS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_PAGE = 1000
"""Entries that the registry is asked for at once."""
_LISTING = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
_REACHING = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
_FILTER = "Write it as in MLflow: \"name = 'signs'\", \"tags.team = 'vision'\"; --name takes patterns of names."
_NO_WORKSPACE = "default"
"""What MLflow calls the workspace of who names none."""
_NO_STAGE = "None"
"""What MLflow calls the stage of a version that has none."""


class Selection(Frozen):
    """Which versions are meant; those that every given part agrees with."""

    filter: str | None = None
    """MLflow's search expression for model versions, such as `tags.team = 'vision'`."""
    names: tuple[str, ...] = ()
    """Patterns of names, such as `traffic-*`; any of them."""
    aliases: tuple[str, ...] = ()
    """Patterns of aliases; any of them."""
    stages: tuple[str, ...] = ()
    """Stages, whatever their case; any of them."""
    versions: tuple[tuple[str, str], ...] = ()
    """These versions, by name and number, and no others; empty for all."""

    def matches(self, version: Registered) -> bool:
        """Tell whether a version is meant, apart from the search expression, which the registry answers."""
        return (
            (not self.names or any(fnmatchcase(version.name, pattern) for pattern in self.names))
            and (not self.aliases or any(fnmatchcase(a, p) for a in version.aliases for p in self.aliases))
            and (not self.stages or (version.stage or _NO_STAGE).lower() in {stage.lower() for stage in self.stages})
            and (not self.versions or (version.name, version.version) in self.versions)
        )


@dataclass(frozen=True)
class Registered:
    """One version of a registered model, as the registry describes it."""

    name: str
    """Registered name."""
    version: str
    """Version number."""
    identity: str
    """Digest of where its files lie and when it was made: another one under the same number is another version."""
    created: float
    """When it was registered, in seconds since 1970."""
    aliases: tuple[str, ...] = ()
    """Its aliases, sorted."""
    stage: str | None = None
    """Its stage; None for none."""
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Those of its tags that are ours, as they are now, whoever wrote them. Nothing may be decided by them."""

    @property
    def uri(self) -> str:
        """`models:/<name>/<version>`."""
        return f"models:/{self.name}/{self.version}"


def registered_versions(
    selection: Selection, *, tracking_uri: str | None, registry_uri: str | None
) -> tuple[Registered, ...]:
    """List the versions that are selected, by name and number.

    Args:
        selection: which ones.
        tracking_uri: MLflow tracking server; None for MLflow's own setting.
        registry_uri: MLflow model registry; None for MLflow's own setting.

    Raises:
        ConfigError: the registry does not understand the search expression.
        RegistryError: it did not answer, or refused.
    """
    with environment(_LISTING), reported("the registry"):
        client, _ = client_of(tracking_uri, registry_uri)
        if selection.versions:
            found = [_registered(each, each.aliases) for each in _named(client, selection.versions)]
        else:
            aliases = _aliases(client)
            versions = _versions(client, selection.filter)
            found = [_registered(each, aliases.get((each.name, str(each.version)), ())) for each in versions]
    chosen = {(each.name, each.version): each for each in found if selection.matches(each)}
    return tuple(sorted(chosen.values(), key=lambda each: (each.name, int(each.version))))


def reach(*, tracking_uri: str | None, registry_uri: str | None) -> tuple[str, bool]:
    """Ask a registry for one model; return the registry's name, and whether it has any.

    Raises:
        RegistryError: it did not answer, or refused.
    """
    with environment(_REACHING), reported("the registry"):
        client, _ = client_of(tracking_uri, registry_uri)
        found = client.search_registered_models(max_results=1)
    return registry_name(tracking_uri, registry_uri), bool(found)


def registry_name(tracking_uri: str | None, registry_uri: str | None) -> str:
    """Return what tells a registry from others: its URI without credentials, absolute where it is a file.

    Of a server with workspaces it is one workspace: the same name is another model in another one.
    """
    import mlflow
    from mlflow.environment_variables import MLFLOW_REGISTRY_URI

    own = MLFLOW_REGISTRY_URI.get()  # type: ignore[no-untyped-call]
    uri = registry_uri or own or tracking_uri or mlflow.get_registry_uri()
    scheme, _, path = uri.partition(":///")
    if scheme.startswith("sqlite") and path:
        return f"{scheme}:///{Path(path).resolve()}"
    if uri.startswith("file:") or (":" not in uri and not uri.startswith("databricks")):
        return Path(unquote(urlsplit(uri).path)).resolve().as_uri()
    workspace = os.environ.get("MLFLOW_WORKSPACE", "")
    return without_credentials(uri).rstrip("/") + (f"#{workspace}" if workspace not in ("", _NO_WORKSPACE) else "")


def _versions(client: MlflowClient, expression: str | None) -> Iterator[ModelVersion]:
    def page(token: str | None) -> Any:
        return client.search_model_versions(
            expression or "", max_results=_PAGE, order_by=["name ASC", "version_number ASC"], page_token=token
        )

    try:
        yield from _paged(page)
    except mlflow_exception() as error:
        if expression and error.error_code == "INVALID_PARAMETER_VALUE":
            message = shown(str(error).partition("\n")[0].removeprefix(f"{error.error_code}: "))
            raise ConfigError(f"{expression!r} is no search expression of MLflow: {message}", _FILTER) from None
        raise


def _named(client: MlflowClient, versions: Sequence[tuple[str, str]]) -> Iterator[ModelVersion]:
    """Ask for single versions; those that are gone, or that we may not see, are left out."""
    for name, number in versions:
        try:
            yield client.get_model_version(name, number)
        except mlflow_exception() as error:
            if not is_missing(error) and not is_denied(error):
                raise


def _aliases(client: MlflowClient) -> dict[tuple[str, str], list[str]]:
    """Return the aliases of all versions; a search for versions does not tell them."""
    found = defaultdict(list)
    for model in _paged(lambda token: client.search_registered_models(max_results=_PAGE, page_token=token)):
        for alias, version in model.aliases.items():
            found[model.name, str(version)].append(alias)
    return found


def _paged(page: Callable[[str | None], Any]) -> Iterator[Any]:
    token = None
    while True:
        entries = page(token)
        yield from entries
        token = entries.token
        if not token:
            return


def _registered(version: ModelVersion, aliases: Sequence[str]) -> Registered:
    name, number = str(version.name), str(version.version)
    made = f"{version.source}\n{version.creation_timestamp}"
    return Registered(
        name=name,
        version=number,
        identity=hashlib.sha256(made.encode("utf-8", "surrogatepass")).hexdigest(),
        created=(version.creation_timestamp or 0) / 1000,
        aliases=tuple(sorted(aliases)),
        stage=None if version.current_stage in (None, "", _NO_STAGE) else str(version.current_stage),
        tags={tag: value for tag, value in version.tags.items() if tag.startswith(OUR_TAGS)},
    )
