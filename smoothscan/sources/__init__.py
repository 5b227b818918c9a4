"""From a model URI and an image folder to pinned, hashed, local data. Never unpickles."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from smoothscan.errors import SmoothscanError
from smoothscan.events import Events
from smoothscan.result import ModelInfo
from smoothscan.sources.interface import Artifact, Source, model_of

__all__ = ["Artifact", "Source", "fetch", "is_local", "model_of", "present", "registered_name"]

_REGISTERED = re.compile(r"models:/+(?:([^/]+)/[^/]+|([^/]+)@[^/@]+)/*")


def fetch(uri: str, into: Path, *, tracking_uri: str | None, registry_uri: str | None, events: Events) -> Artifact:
    """Bring a model to this machine, pinned to a version and to the digests of its files.

    Args:
        uri: `models:/name/3`, `models:/name@alias`, `models:/name/latest`, `models:/m-<id>`, `runs:/<run>/<path>`,
            the URI of an artifact store (`mlflow-artifacts:`, `s3:`, ...), or a folder (a path or `file:` URI).
        into: empty folder that receives the files; nothing else is written.
        tracking_uri: MLflow tracking server; None for MLflow's own setting.
        registry_uri: MLflow model registry; None for MLflow's own setting.
        events: listens.

    Raises:
        ModelNotFoundError: there is no such model, version, alias, run or folder, or it holds no MLmodel file.
        RegistryError: the server or the artifact store did not answer, or refused.
        ModelLoadError: the files can not be taken over, such as a symbolic link that leaves the folder.
        UnsupportedModelError: it is stored in no way that the scanner knows.
        ConfigError: the URI is none that a model can have.

    Where the model was resolved before that happened, `model_of(error)` says which one it is.
    """
    source: Source
    if is_local(uri):
        from smoothscan.sources.local_folder import LocalFolder

        source = LocalFolder()
    else:
        from smoothscan.sources.mlflow_registry import MlflowRegistry  # MLflow takes seconds to import

        source = MlflowRegistry(tracking_uri, registry_uri)
    return source.fetch(uri, into, events)


def present(uri: str, *, tracking_uri: str | None, registry_uri: str | None, events: Events) -> ModelInfo:
    """Return which files a model consists of at present; nothing is kept of them.

    Files that are no model that a scan takes have digests all the same.

    Args:
        uri: as for `fetch`.
        tracking_uri: MLflow tracking server; None for MLflow's own setting.
        registry_uri: MLflow model registry; None for MLflow's own setting.
        events: listens.

    Raises:
        ScanFailedError: the files could not be fetched, or not be hashed.
    """
    with TemporaryDirectory(prefix="smoothscan-") as folder:
        try:
            return fetch(uri, Path(folder), tracking_uri=tracking_uri, registry_uri=registry_uri, events=events).info
        except SmoothscanError as error:
            known = model_of(error)
            if known is None or known.digest is None:
                raise
            return known


def is_local(uri: str) -> bool:
    """Return whether a model URI means a folder of this machine: a path or a `file:` URI."""
    scheme, colon, _ = uri.partition(":")
    return not colon or not scheme.isascii() or not scheme.replace("-", "").isalnum() or scheme == "file"


def registered_name(uri: str) -> str | None:
    """Return the name of the registered model that a URI holds; None where only the registry knows it."""
    found = _REGISTERED.fullmatch(uri)
    return found and (found[1] or found[2])
