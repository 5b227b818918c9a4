"""What a delivery announces. Its body is signed by the registry, but names and texts in it are anybody's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from smoothscan.serve.interface import Refused, Version

_SCANNED = ("model_version.created", "model_version_alias.created")
"""Events after which a version may stand unscanned: it is new, or it was promoted. Tags are none of them, so that the
tags which a scan sets cause no further scan."""


@dataclass(frozen=True)
class Event:
    """An event that asks for a scan."""

    kind: str
    """`<entity>.<action>`, as MLflow names it."""
    version: Version
    """The version that is new or promoted."""


class _Body(BaseModel):
    """What every delivery has."""

    model_config = ConfigDict(strict=True, extra="ignore")

    entity: str
    """What has changed, such as `model_version`."""
    action: str
    """What has become of it, such as `created`."""
    workspace: str | None = None
    """Workspace of the registry, where there are several."""
    data: Any = None
    """What the event says about itself."""


class _Subject(BaseModel):
    """What both events that ask for a scan say; MLflow allows names of 256 characters, and numbers as versions."""

    model_config = ConfigDict(strict=True, extra="ignore")

    name: str = Field(min_length=1, max_length=256)
    """Registered name."""
    version: str = Field(pattern=r"^[0-9]{1,18}$")
    """Registered version."""


def read_event(body: bytes, workspace: str) -> Event | None:
    """Return what to scan; None for an event that asks for no scan, or is about another workspace.

    Nesting is bounded by pydantic's parser, size by who read the body.

    Args:
        body: JSON as MLflow sends it.
        workspace: the registry's workspace whose models are scanned: elsewhere the same name is another model.

    Raises:
        Refused: it is no such JSON.
    """
    try:
        envelope = _Body.model_validate_json(body)
        kind = f"{envelope.entity}.{envelope.action}"
        if kind not in _SCANNED or envelope.workspace not in (None, workspace):
            return None
        subject = _Subject.model_validate(envelope.data)
    except ValidationError:
        raise Refused(400, "malformed", "body") from None
    return Event(kind, (subject.name, subject.version))
