"""Reads a model's folder once it is on this machine: digests and the MLmodel file."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import yaml

from smoothscan.errors import ModelLoadError, ModelNotFoundError
from smoothscan.result import ModelInfo
from smoothscan.sources.flavors import stored
from smoothscan.sources.interface import Artifact, about

MLMODEL = "MLmodel"
_MAX_MLMODEL_BYTES = 2**20
_MAX_FILES = 100_000
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


def pin(folder: Path, known: ModelInfo) -> Artifact:
    """Hash every file of a model's folder and read what it says about itself.

    Args:
        folder: private copy of the model's folder.
        known: what the source knows about the model; ids that it does not know are taken from the MLmodel file.

    Raises:
        ModelNotFoundError: the folder holds no MLmodel file.
        ModelLoadError: the MLmodel file is malformed, or a file can not be pinned.
        UnsupportedModelError: it is stored in no way that the scanner knows.
    """
    with about(known):
        mlmodel = read_mlmodel(folder, known.uri)
        files = file_digests(folder)
    info = known.model_copy(
        update={
            "model_id": known.model_id or _id(mlmodel.get("model_id")),
            "run_id": known.run_id or _id(mlmodel.get("run_id")),
            "digest": folder_digest(files),
            "files": files,
        }
    )
    with about(info):
        found = stored(folder, mlmodel, known.uri)
    info = info.model_copy(update={"flavor": found.flavor, "architecture": found.architecture})
    return Artifact(path=folder, info=info, stored=found, mlmodel=mlmodel)


def file_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file, by its path inside the folder, sorted by path.

    Raises:
        ModelLoadError: something is no plain file, or has a name that can not be written down safely.
    """
    digests: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not name.isprintable():  # line breaks could forge the list; lone surrogates are not printable either
            raise ModelLoadError(f"The model has a file whose name holds unprintable characters: {name!r}.")
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ModelLoadError(f"The model's {name!r} is no plain file.")
        if path.is_dir():
            continue
        with path.open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
        if len(digests) > _MAX_FILES:
            raise ModelLoadError(f"The model has more than {_MAX_FILES} files.")
    return dict(sorted(digests.items()))


def folder_digest(files: dict[str, str]) -> str:
    """Return one digest over all files.

    It is the SHA-256 of the list that `sha256sum` prints for the files, sorted by the code points of their paths, so
    that it can be checked by hand.
    """
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    return "sha256:" + hashlib.sha256(lines.encode()).hexdigest()


def read_mlmodel(folder: Path, uri: str) -> dict[str, Any]:
    """Parse the MLmodel file of a folder.

    Raises:
        ModelNotFoundError: there is none.
        ModelLoadError: it is malformed.
    """
    path = folder / MLMODEL
    if not path.is_file():
        below = sorted(found.parent.relative_to(folder).as_posix() for found in folder.glob(f"*/{MLMODEL}"))
        hint = (
            f"A model lies one folder below: {uri.rstrip('/')}/{below[0]}"
            if below
            else "Name the folder that holds it."
        )
        raise ModelNotFoundError(f"{uri} holds no MLmodel file, so it is no MLflow model.", hint)
    if path.stat().st_size > _MAX_MLMODEL_BYTES:
        raise ModelLoadError(f"The MLmodel file of {uri} has more than {_MAX_MLMODEL_BYTES} bytes.")
    try:
        # Not libyaml's loader, though it is faster: deep nesting overflows its stack and ends the process.
        loaded = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ModelLoadError(f"The MLmodel file of {uri} is no valid YAML ({type(error).__name__}).") from error
    if not isinstance(loaded, dict):
        raise ModelLoadError(f"The MLmodel file of {uri} is no list of names and values.")
    return loaded


def _id(value: Any) -> str | None:
    return value if isinstance(value, str) and _ID.fullmatch(value) else None
