"""JSON of ours that comes back from outside: a file that anybody may have changed, or another version wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from smoothscan.errors import ConfigError

_MOST_BYTES = 256 * 2**20
"""Largest file that is read: ten times what a scan of a thousand classes writes."""

_Content = TypeVar("_Content", bound=BaseModel)


def read_versioned(
    path: Path, content: type[_Content], version: str, *, what: str, kind: str, needed: str, outdated: str
) -> _Content:
    """Read a file with a `schema_version`.

    Args:
        path: the file.
        content: what is in it.
        version: version of the format that this program writes; those with the same first number are read.
        what: what the file is to the user, at the beginning of a sentence.
        kind: what it has to be, for "... is no {kind}".
        needed: what to pass instead, where it is none.
        outdated: what to do about a file of another version.

    Raises:
        ConfigError: there is no such file, it is none of these, or one of another version of the format.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{what} {path} does not exist.", needed) from None
    except OSError as error:
        raise ConfigError(f"{what} {path} cannot be read: {error.strerror}.", needed) from None
    none = f"{what} {path} is no {kind}"
    if len(text) > _MOST_BYTES:
        raise ConfigError(f"{none}: it is larger than any.", needed)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigError(f"{none}: it holds no JSON.", needed) from None
    found = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(found, str):
        raise ConfigError(f"{none}: it has no schema_version.", needed)
    if found.partition(".")[0] != version.partition(".")[0]:
        raise ConfigError(f"{what} {path} has the schema version {found}; this smoothscan reads {version}.", outdated)
    try:
        return content.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{none}: {where}: {first['msg'].lower()}.", needed) from None
