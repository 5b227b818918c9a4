"""Reads an attestation, which anybody may have written, and says what speaks against relying on it."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from smoothscan.errors import AttestationError
from smoothscan.products import RESULT
from smoothscan.result import ModelInfo
from smoothscan.sinks.attestation.signing import PAYLOAD_TYPE
from smoothscan.sinks.attestation.statement import TREE, Outcome
from smoothscan.sinks.text import count, duration, instant, plain, shorten

_MOST_BYTES = 2**26
_MOST_SIGNATURES = 16
_LISTED = 5
_CLOCKS_DIFFER = timedelta(minutes=5)


class _Read(BaseModel):
    """Base of what is read: types exactly as they are written, unknown fields ignored as in-toto asks."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", use_attribute_docstrings=True)


class Descriptor(_Read):
    """A file or folder, by its digests."""

    name: str | None = None
    """Path inside the model's folder, or the name of a part of the configuration."""
    uri: str | None = None
    """Where the model was scanned."""
    digest: dict[str, str] = Field(default_factory=dict)
    """Digests by algorithm."""
    annotations: dict[str, Any] = Field(default_factory=dict)
    """What else is said about it."""


class Predicate(_Read):
    """The test result."""

    result: Outcome
    """How the scan ended."""
    configuration: list[Descriptor]
    """What it rests on beside the model."""


class Statement(_Read):
    """An in-toto statement about a model."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    """Which version of in-toto it is written in."""
    predicate_type: Literal["https://in-toto.io/attestation/test-result/v0.1"] = Field(alias="predicateType")
    """What kind of statement it is."""
    subject: list[Descriptor]
    """The model's files, and their folder as a whole."""
    predicate: Predicate
    """The test result."""

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of every file that the statement is about, by path."""
        return {str(entry.name): entry.digest["sha256"] for entry in self.subject if "sha256" in entry.digest}

    @property
    def scan(self) -> dict[str, Any]:
        """What is said about the scan: `status`, `verdict`, `started_at`, `finished_at`, and `waived_until`."""
        found = [entry.annotations for entry in self.predicate.configuration if entry.name == RESULT]
        return found[0] if found else {}

    @property
    def finished_at(self) -> datetime | None:
        """When the scan ended; None if that is not said."""
        return instant(str(self.scan.get("finished_at")))


class _Signature(_Read):
    sig: str


class _Envelope(_Read):
    payload_type: str = Field(alias="payloadType")
    payload: str
    signatures: list[_Signature]


@dataclass(frozen=True)
class Attestation:
    """An attestation as it was read; nothing in it is verified."""

    statement: Statement
    """What it says."""
    payload: bytes
    """The statement's bytes, which signatures are about."""
    signatures: list[bytes]
    """Signatures; none if it is a bare statement."""


def read_attestation(path: Path) -> Attestation:
    """Read an attestation, signed or not.

    Raises:
        AttestationError: it cannot be read, or is none about a scanned model.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise AttestationError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(data) > _MOST_BYTES:
        raise AttestationError(f"{path} has more than {_MOST_BYTES} bytes, which no attestation has.")
    try:
        return _parsed(data)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, detail["loc"]))
        raise _unfit(path, f"{place}: {detail['msg'][0].lower()}{detail['msg'][1:]}") from None
    except ValueError as error:
        raise _unfit(path, str(error)) from None


def objections(
    statement: Statement, model: ModelInfo, *, allow_warned: bool, max_age: timedelta, now: datetime
) -> list[str]:
    """Return in sentences what speaks against relying on a statement for a model; empty if nothing does.

    Args:
        statement: what the attestation says.
        model: the model as it is now.
        allow_warned: whether a scan that passed with reservations is enough.
        max_age: how old the scan may be.
        now: the present.
    """
    found = _differences(statement, model)
    outcome = statement.predicate.result
    if outcome == "FAILED":
        found.append(f"The model did not pass: {_verdict(statement)}.")
    elif outcome == "WARNED" and not allow_warned:
        found.append(f"The model passed with reservations only: {_verdict(statement)}; --allow-warned accepts that.")
    if "waived_until" in statement.scan and _is_over(until := str(statement.scan["waived_until"]), now):
        found.append(f"It passed by a waiver that held until {plain(until, 100)}.")
    finished = statement.finished_at
    if finished is None:
        found.append("It does not say when the model was scanned.")
    elif finished > now + _CLOCKS_DIFFER:
        found.append("It says that the model was scanned in the future.")
    elif now - finished > max_age:
        age, limit = _span(now - finished), _span(max_age)
        found.append(f"It is too old: the model was scanned {age} ago, and at most {limit} is accepted.")
    return found


def _differences(statement: Statement, model: ModelInfo) -> list[str]:
    then, now = statement.files, model.files
    changed = [name for name in now if name in then and then[name] != now[name]]
    found = [
        f"{count(len(names), 'file')} {what}: {_listed(names)}."
        for names, what in (
            (changed, "changed since the scan"),
            (now.keys() - then.keys(), "not there when it was scanned"),
            (then.keys() - now.keys(), "missing now"),
        )
        if names
    ]
    wholes = [entry.digest[TREE] for entry in statement.subject if TREE in entry.digest]
    if not found and wholes != [str(model.digest).removeprefix("sha256:")]:
        found.append("Its digest of the whole folder is not that of the model, though all files are the same.")
    return found


def _parsed(data: bytes) -> Attestation:
    content = from_json(data)
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    if "payload" not in content:
        return Attestation(_checked(content), data, [])
    envelope = _Envelope.model_validate(content)
    if envelope.payload_type != PAYLOAD_TYPE:
        raise ValueError(f"it is an envelope around {envelope.payload_type!r}, not around {PAYLOAD_TYPE}")
    if not 0 < len(envelope.signatures) <= _MOST_SIGNATURES:
        raise ValueError(f"an envelope has 1 to {_MOST_SIGNATURES} signatures, this one {len(envelope.signatures)}")
    payload = _decoded(envelope.payload)
    return Attestation(_checked(from_json(payload)), payload, [_decoded(each.sig) for each in envelope.signatures])


def _checked(content: Any) -> Statement:
    statement = Statement.model_validate(content)
    named = [entry.name for entry in statement.subject if "sha256" in entry.digest]
    if None in named:
        raise ValueError("a file in it has no name")
    twice = [str(name) for name, times in Counter(named).items() if times > 1]
    if twice:
        raise ValueError(f"it names {_listed(twice)} more than once")
    return statement


def _decoded(text: str) -> bytes:
    """Decode base64 in either of the alphabets that DSSE allows."""
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("its payload or a signature is no base64") from None


def _is_over(day: str, now: datetime) -> bool:
    """Return whether a day in UTC has passed, or is none."""
    try:
        return now.astimezone(UTC).date() > date.fromisoformat(day)
    except ValueError:
        return True


def _span(time: timedelta) -> str:
    return f"{time.days} days" if time.days > 1 else duration(time.total_seconds())


def _verdict(statement: Statement) -> str:
    scan = statement.scan
    return plain(f"{scan.get('verdict') or scan.get('status') or 'no reason is given'}", 100)


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(shorten(name, 80) for name in sorted(names)[:_LISTED])
    return shown + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def _unfit(path: Path, why: str) -> AttestationError:
    return AttestationError(
        f"{path} is no attestation that smoothscan reads: {plain(why, 300)}.",
        "Name an attestation.json, which smoothscan check --attest writes.",
    )
