"""The durable queue: a row for each delivery, from its acceptance to its result, in a sqlite file of its own.

A row is `queued`, `working` while its version is scanned, then `done` or `failed`. It is on the disk before its
delivery is answered. Rows are taken up by one batch at a time, so that those that are `working` when the next one is
taken belong to a batch that came to no end, and are queued again.
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, get_args

from sqlalchemy import (
    URL,
    Column,
    ColumnElement,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    case,
    create_engine,
    func,
    select,
)
from sqlalchemy.event import listen
from sqlalchemy.exc import SQLAlchemyError

from smoothscan.errors import OutputError
from smoothscan.serve.interface import Version
from smoothscan.serve.payload import Event

MOST_ATTEMPTS = 12
"""How often a version is taken up; with the pauses in between about four hours."""
RETENTION = 30 * 24 * 3600.0
"""Seconds for which results are kept; longer than any delivery can be replayed, which its timestamp forbids."""
_FIRST_PAUSE, _LONGEST_PAUSE = 10.0, 3600.0
_DETAIL = 1000

_ROWS = Table(
    "deliveries",
    MetaData(),
    Column("number", Integer, primary_key=True),
    Column("delivery_id", String(64), nullable=False, unique=True),
    Column("event", String(64), nullable=False),
    Column("name", String(256), nullable=False),
    Column("version", String(18), nullable=False),
    Column("state", String(8), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("received_at", Float, nullable=False),  # times are seconds since 1970, UTC
    Column("due_at", Float, nullable=False),
    Column("finished_at", Float),
    Column("outcome", String(32)),  # a verdict, the status of a scan without one, or `given up`
    Column("detail", Text),
    Index("deliveries_by_state", "state", "due_at"),
)
_c = _ROWS.c

Put = Literal["queued", "duplicate", "full"]
State = Literal["queued", "working", "done", "failed"]


class QueueUnavailableError(Exception):
    """The file cannot be read or written at present: the disk is full, for example."""


@dataclass(frozen=True)
class Depth:
    """How much there is."""

    rows: Mapping[State, int]
    """Deliveries by state; those that are done or failed until they are dropped."""
    oldest_age: float
    """Seconds since the oldest delivery that has no result was received; 0 if there is none."""


class Queue:
    """The queue of one server.

    Args:
        path: the file; it is made if it is not there, and its folder, too.
        limit: most deliveries that wait or are worked on; more are not taken.
        now: seconds since 1970, UTC.

    Raises:
        OutputError: the file cannot be used, or another server uses it.
    """

    def __init__(self, path: Path, limit: int, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self._limit = limit
        self._now = now
        self._turn = threading.Lock()  # sqlite lets one write at a time, and makes the others wait less fairly
        self._lock = _locked(path)
        # No string is parsed as a URL: the name of a file may hold a question mark.
        self._engine = create_engine(URL.create("sqlite", database=str(path)))
        listen(self._engine, "connect", _prepare)
        try:
            with self._transaction() as connection:
                _ROWS.metadata.create_all(connection)
        except QueueUnavailableError as error:
            self.close()
            raise OutputError(f"The queue {path} cannot be used: {error}.", "Pass another --queue.") from error

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()
        self._lock.close()

    def put(self, delivery_id: str, event: Event) -> Put:
        """Take a delivery, unless it is known already or there are too many; afterwards it is on the disk."""
        name, version = event.version
        with self._transaction() as connection:
            if connection.execute(select(_c.number).where(_c.delivery_id == delivery_id)).first() is not None:
                return "duplicate"
            if not self._room(connection):
                return "full"
            now = self._now()
            connection.execute(
                _ROWS.insert().values(
                    delivery_id=delivery_id,
                    event=event.kind,
                    name=name,
                    version=version,
                    state="queued",
                    received_at=now,
                    due_at=now,
                )
            )
        return "queued"

    def take(self, most: int) -> list[Version]:
        """Take up the versions that are due, the longest due first, with every delivery about them.

        A version that was taken up before goes alone: if it brings the scanner down, it does so to no other.

        Args:
            most: most versions.
        """
        with self._transaction() as connection:
            self._retry(connection, "the server ended while it was scanned", pause=False)
            due = (
                select(_c.name, _c.version, func.max(_c.attempts).label("attempts"))
                .where(_c.state == "queued")
                .group_by(_c.name, _c.version)
                .having(func.min(_c.due_at) <= self._now())
                .order_by(func.min(_c.due_at), func.min(_c.number))
                .limit(most)
            )
            versions: list[Version] = []
            for name, version, attempts in connection.execute(due):
                if attempts and versions:
                    break
                versions.append((name, version))
                if attempts:
                    break
            for version_of in versions:
                rows = _ROWS.update().where(_c.state == "queued", *_about(version_of))
                connection.execute(rows.values(state="working", attempts=_c.attempts + 1))
        return versions

    def finish(self, version: Version, outcome: str, detail: str) -> None:
        """Record the result of every delivery about a version that was taken up."""
        with self._transaction() as connection:
            self._end(connection, "done", outcome, detail, *_about(version))

    def postpone(self, versions: Sequence[Version], reason: str) -> list[Version]:
        """Put versions back that came to no result, each for longer than before.

        Args:
            versions: versions that were taken up.
            reason: what went wrong.

        Returns:
            Those that are given up instead, because they were taken up too often.
        """
        with self._transaction() as connection:
            return [lost for one in versions for lost in self._retry(connection, reason, *_about(one), pause=True)]

    def put_back(self) -> None:
        """Put everything back that was taken up, as if it had not been: the scan was interrupted on purpose."""
        with self._transaction() as connection:
            rows = _ROWS.update().where(_c.state == "working")
            connection.execute(rows.values(state="queued", attempts=_c.attempts - 1))

    def prune(self) -> None:
        """Drop results that are older than anybody asks for, so that the file stays bounded."""
        with self._transaction() as connection:
            connection.execute(_ROWS.delete().where(_c.finished_at < self._now() - RETENTION))

    def seconds_to_next(self) -> float | None:
        """Return how long it takes until a delivery is due; None if none waits."""
        with self._transaction() as connection:
            due = connection.scalar(select(func.min(_c.due_at)).where(_c.state == "queued"))
        return None if due is None else max(0.0, due - self._now())

    def depth(self) -> Depth:
        """Return how much there is."""
        with self._transaction() as connection:
            counted = connection.execute(select(_c.state, func.count()).group_by(_c.state))
            found = {row[0]: row[1] for row in counted}
            oldest = connection.scalar(select(func.min(_c.received_at)).where(_is_open()))
        age = 0.0 if oldest is None else max(0.0, self._now() - oldest)
        return Depth({state: found.get(state, 0) for state in get_args(State)}, age)

    def has_room(self) -> bool:
        """Return whether a delivery would be taken, with a write that changes nothing.

        Raises:
            QueueUnavailableError: the file cannot be written.
        """
        with self._transaction() as connection:
            connection.execute(_ROWS.update().where(_c.number < 0).values(attempts=0))
            return self._room(connection)

    def _room(self, connection: Connection) -> bool:
        waiting = connection.scalar(select(func.count()).select_from(_ROWS).where(_is_open()))
        return waiting is not None and waiting < self._limit

    def _retry(self, connection: Connection, reason: str, *which: ColumnElement[bool], pause: bool) -> list[Version]:
        """Put rows that are `working` back, or give them up; return the versions of those that are given up."""
        working = (_c.state == "working", *which)
        spent = (*working, _c.attempts >= MOST_ATTEMPTS)
        lost = [(name, version) for name, version in connection.execute(select(_c.name, _c.version).where(*spent))]
        self._end(connection, "failed", "given up", f"{reason}; attempts: {MOST_ATTEMPTS}", *spent)
        due = self._now() + _pauses() if pause else _c.due_at
        connection.execute(_ROWS.update().where(*working).values(state="queued", due_at=due))
        return list(dict.fromkeys(lost))

    def _end(
        self, connection: Connection, state: State, outcome: str, detail: str, *which: ColumnElement[bool]
    ) -> None:
        ended = {"state": state, "finished_at": self._now(), "outcome": outcome, "detail": detail[:_DETAIL]}
        connection.execute(_ROWS.update().where(_c.state == "working", *which).values(ended))

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._turn, self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise QueueUnavailableError(str(getattr(error, "orig", None) or error)) from error


def pause_after(attempts: int) -> float:
    """Return how many seconds to wait after so many failures in a row."""
    return float(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempts - 1, 30)))


def _pauses() -> ColumnElement[float]:
    """The same for the attempts of a row, in SQL."""
    return case({n: pause_after(n) for n in range(1, MOST_ATTEMPTS + 1)}, value=_c.attempts, else_=_LONGEST_PAUSE)


def _about(version: Version) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return _c.name == version[0], _c.version == version[1]


def _is_open() -> ColumnElement[bool]:
    return _c.state.in_(("queued", "working"))


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):  # in WAL mode, FULL alone outlives the machine
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _locked(path: Path) -> BinaryIO:
    """Lock the queue: a second server would take the rows that the first one works on for abandoned ones."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = path.with_name(f"{path.name}.lock").open("wb")
    except OSError as error:
        raise OutputError(f"The queue {path} cannot be used: {error.strerror}.", "Pass another --queue.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise OutputError(f"Another server uses the queue {path}.", "Stop it, or pass another --queue.") from None
    return file
