"""Deliveries as MLflow makes them, and the application without a network."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smoothscan.posture import Standing
from smoothscan.serve.signature import sign

SECRET = b"0123456789abcdef-of-the-tests"


@dataclass(frozen=True)
class Delivery:
    """One request of MLflow's."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def delivery_id(self) -> str:
        return self.headers["X-MLflow-Delivery-Id"]


def body_of(data: Any, entity: str = "model_version", action: str = "created", **more: Any) -> bytes:
    """The body of an event."""
    stamp = "2026-01-02T03:04:05.678901+00:00"
    return json.dumps({"entity": entity, "action": action, "timestamp": stamp, "data": data, **more}).encode()


def created(name: str = "digits", version: str = "1") -> bytes:
    """The body of a new version's event."""
    about = {"source": "models:/m-1", "run_id": None, "tags": {}, "description": None}
    return body_of({"name": name, "version": version, **about})


def delivery(
    body: bytes = created(), *, secret: bytes = SECRET, at: float | None = None, delivery_id: str | None = None
) -> Delivery:
    """A delivery that is signed with the secret."""
    delivery_id = delivery_id or str(uuid.uuid4())
    timestamp = str(int(time.time() if at is None else at))
    headers = {
        "Content-Type": "application/json",
        "X-MLflow-Delivery-Id": delivery_id,
        "X-MLflow-Timestamp": timestamp,
        "X-MLflow-Signature": sign(secret, delivery_id, timestamp, body),
    }
    return Delivery(headers, body)


@dataclass(frozen=True)
class Answer:
    """What the application answers."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    read: int
    """How many pieces of the request's body it has asked for."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(
    app: Any,
    method: str,
    path: str,
    headers: Sequence[tuple[bytes, bytes]] = (),
    chunks: Iterable[bytes] = (b"",),
) -> Answer:
    """Let the application answer a request whose body comes in pieces."""
    pieces = list(chunks)
    read = 0
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        nonlocal read
        if read == len(pieces):
            return {"type": "http.disconnect"}
        read += 1
        return {"type": "http.request", "body": pieces[read - 1], "more_body": read < len(pieces)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in headers],
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
    }
    asyncio.run(app(scope, receive, send))
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:]), read)


def post(app: Any, one: Delivery, *, chunks: Iterable[bytes] | None = None) -> Answer:
    """Let the application answer a delivery."""
    headers = [(name.encode(), value.encode()) for name, value in one.headers.items()]
    if chunks is None:
        headers.append((b"content-length", str(len(one.body)).encode()))
    return request(app, "POST", "/webhooks/mlflow", headers, [one.body] if chunks is None else chunks)


def query(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Ask or change a queue's file behind its back."""
    with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
        return connection.execute(statement).fetchall()


def standing(version: tuple[str, str], **more: Any) -> Standing:
    """What a scan says about a version; clean unless told otherwise."""
    name, number = version
    words = {"action": "scanned", "status": "completed", "verdict": "clean", "seconds": 2.0, "reason": "no trigger"}
    return Standing(name=name, version=number, uri=f"models:/{name}/{number}", **{**words, **more})
