"""What the scanner itself knows of every version: its scans, from their beginning to the last tag that they wrote.

Tags in a registry are for people, and whoever may edit a model may edit them; nothing is read from them. The ledger is
a database of the scanner's own: SQLite, or whatever SQLAlchemy can reach.

A scan goes through three states, each one commit. `started`: somebody is at it. `judged`: it is finished, and its
result is in the ledger; it will not be done again, whatever happens now. `recorded`: files, tags and run are written as
well. What a process that was killed left at `judged` is recorded by the next one, under the same id, so that nothing is
written twice.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import platformdirs
import sqlalchemy as sql
from pydantic import ValidationError
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from smoothscan.credentials import without_credentials
from smoothscan.errors import ConfigError, LedgerError
from smoothscan.posture import PastSweep
from smoothscan.result import ScanResult, WriteBack
from smoothscan.sinks.mlflow_registry import VALID_FOR
from smoothscan.sources.inventory import Registered

State = Literal["started", "judged", "recorded"]

_TABLES = sql.MetaData()
_SCANS = sql.Table(
    "smoothscan_scans",
    _TABLES,
    sql.Column("scan_id", sql.String(32), primary_key=True),
    sql.Column("registry", sql.String(500), nullable=False),
    sql.Column("name", sql.String(256), nullable=False),
    sql.Column("version", sql.String(12), nullable=False),  # MySQL bounds the bytes of an index
    sql.Column("identity", sql.String(64), nullable=False),
    sql.Column("config_digest", sql.String(80), nullable=False),
    sql.Column("model_digest", sql.String(80)),
    sql.Column("state", sql.String(16), nullable=False),
    sql.Column("started_at", sql.Double, nullable=False),
    sql.Column("judged_at", sql.Double),
    sql.Column("finished_at", sql.Double),
    sql.Column("expires_at", sql.Double),
    sql.Column("status", sql.String(16)),
    sql.Column("verdict", sql.String(16)),
    sql.Column("unfinished", sql.Boolean),
    sql.Column("result", sql.LargeBinary(2**30)),
    sql.Column("summary", sql.Text),
    sql.Column("write_back", sql.Text),
    sql.Column("place", sql.String(500), nullable=False),
    sql.Index("smoothscan_scans_of_version", "registry", "name", "version"),
)
_SWEEPS = sql.Table(
    "smoothscan_sweeps",
    _TABLES,
    sql.Column("sweep_id", sql.String(32), primary_key=True),
    sql.Column("registry", sql.String(500), nullable=False),
    sql.Column("scope", sql.String(80), nullable=False),
    sql.Column("finished_at", sql.Double, nullable=False),
    sql.Column("summary", sql.Text, nullable=False),
    sql.Column("states", sql.LargeBinary(2**30)),
    sql.Index("smoothscan_sweeps_of_scope", "registry", "scope", "finished_at"),
)
_ABANDONED = 3600.0
"""Seconds after which nobody is at a scan any more that was judged but not recorded."""
_BUSY = 60.0
"""Seconds that a process waits for another one that writes to the same SQLite file."""
_AGAIN = 0.05
"""Seconds between two attempts at that."""
_TICK = 0.001
"""Seconds between two moments that are told apart."""


@dataclass(frozen=True)
class Entry:
    """One scan in the ledger, without its result."""

    scan_id: str
    """Its id; the MLflow run of the scan carries it as well."""
    name: str
    """Registered name."""
    version: str
    """Version number."""
    identity: str
    """What the registry said of the version when it was scanned; see `Registered.identity`."""
    config_digest: str
    """Digest of the settings and images."""
    model_digest: str | None
    """Digest of the model's files; None if they were not had."""
    state: State
    """How far it came."""
    finished_at: float | None
    """End of the scan, in seconds since 1970."""
    expires_at: float | None
    """When its verdict ends to hold, in seconds since 1970."""
    status: str | None
    """Status of the result."""
    verdict: str | None
    """Verdict of the result."""
    unfinished: bool
    """Whether a time budget cut it off."""
    summary: str | None
    """What a sweep tells of the result, as JSON; see `smoothscan.fleet.standing`."""
    write_back: str | None
    """What became of tags and run, as JSON; None until the scan is recorded."""


_COLUMNS = [_SCANS.c[name] for name in Entry.__annotations__]


class Ledger:
    """The scans of all registries.

    Args:
        url: SQLAlchemy URL, or a path of an SQLite file, which is made if it is not there.

    Raises:
        ConfigError: the URL is none that SQLAlchemy understands, or its driver is missing.
        LedgerError: the database cannot be reached or written to.
    """

    def __init__(self, url: str) -> None:
        self.shown = without_credentials(url)
        """The URL without credentials."""
        try:
            # What is no URL is a path, and no string is parsed: the name of a file may hold a question mark.
            address = url if "://" in url else sql.URL.create("sqlite", database=str(Path(url).absolute()))
            arguments = {"timeout": _BUSY, "check_same_thread": False} if _is_sqlite(address) else {}
            self._engine = sql.create_engine(address, connect_args=arguments, pool_pre_ping=True)
        except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
            raise ConfigError(
                f"The ledger {self.shown} cannot be opened: {without_credentials(str(error))}",
                "Pass a file, or a URL that SQLAlchemy understands, with its driver installed; for PostgreSQL "
                "postgresql+psycopg://... and the extra smoothscan[postgresql].",
            ) from None
        with self._reached():
            if "://" not in url:
                Path(url).absolute().parent.mkdir(parents=True, exist_ok=True)
            if self._engine.dialect.name == "sqlite":
                sql.event.listen(self._engine, "connect", _durable)
            self._make_tables()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._engine.dispose()

    def newest(self, registry: str) -> dict[tuple[str, str], Entry]:
        """Return the newest finished scan of every version, by name and number."""
        ordered = sql.select(*_COLUMNS).where(_SCANS.c.registry == registry, _SCANS.c.state != "started")
        with self._reached(), self._engine.connect() as connection:
            rows = connection.execute(ordered.order_by(_SCANS.c.judged_at)).mappings()
            return {(row["name"], row["version"]): _entry(row) for row in rows}

    def newest_of(self, registry: str, version: Registered) -> Entry | None:
        """Return the newest finished scan of one version."""
        wanted = sql.select(*_COLUMNS).where(*_is(registry, version), _SCANS.c.state != "started")
        with self._reached(), self._engine.connect() as connection:
            row = connection.execute(wanted.order_by(_SCANS.c.judged_at.desc()).limit(1)).mappings().first()
        return None if row is None else _entry(row)

    def begin(self, registry: str, version: Registered, config_digest: str, place: str) -> str:
        """Begin a scan, or go on with the one that a process which is gone began; return its id.

        Args:
            registry: the registry; see `registry_name`.
            version: the version.
            config_digest: digest of settings and images.
            place: who is at it: the machine and the folder of results, which one process has at a time.
        """
        same = (*_is(registry, version), _SCANS.c.identity == version.identity, _SCANS.c.state == "started")
        with self._reached(), self._engine.begin() as connection:
            wanted = sql.select(_SCANS.c.scan_id).where(*same, _SCANS.c.config_digest == config_digest)
            wanted = wanted.where(_SCANS.c.place == place)
            if (begun := connection.execute(wanted).scalar()) is not None:
                return str(begun)
            scan_id = uuid.uuid4().hex
            connection.execute(
                _SCANS.insert().values(
                    scan_id=scan_id,
                    registry=registry,
                    name=version.name,
                    version=version.version,
                    identity=version.identity,
                    config_digest=config_digest,
                    state="started",
                    started_at=time.time(),
                    place=place,
                )
            )
        return scan_id

    def judge(self, scan_id: str, result: ScanResult, summary: str) -> None:
        """Take over the result of a scan. From here on it is done, and the newest of its version."""
        finished = _seconds(result.finished_at)
        self._update(
            scan_id,
            state="judged",
            judged_at=self._next_moment(scan_id),  # not its end: what was recalled from the cache ended long ago
            model_digest=result.model.digest,
            status=result.status,
            verdict=result.verdict,
            unfinished=bool(result.coverage.unfinished),
            finished_at=finished,
            expires_at=finished + VALID_FOR.total_seconds(),
            summary=summary,
            result=zlib.compress(result.model_dump_json().encode("utf-8", "surrogatepass")),
        )

    def _next_moment(self, scan_id: str) -> float:
        """Return the time; if the clock was ahead when another scan of the version was judged, a little after that."""
        own, other = _SCANS, _SCANS.alias()
        same = [own.c[name] == other.c[name] for name in ("registry", "name", "version")]
        wanted = sql.select(sql.func.max(other.c.judged_at)).select_from(own.join(other, sql.and_(*same)))
        with self._reached(), self._engine.connect() as connection:
            last = connection.execute(wanted.where(own.c.scan_id == scan_id)).scalar()
        return max(time.time(), (last or 0.0) + _TICK)

    def forget(self, scan_id: str) -> None:
        """Take back the beginning of a scan that there was no need for."""
        with self._reached(), self._engine.begin() as connection:
            connection.execute(_SCANS.delete().where(_SCANS.c.scan_id == scan_id, _SCANS.c.state == "started"))

    def record(self, scan_id: str, write_back: WriteBack) -> None:
        """Note that files, tags and run of a scan are written, as far as the registry let it."""
        self._update(scan_id, state="recorded", write_back=write_back.model_dump_json())

    def unrecorded(self, registry: str, place: str) -> tuple[Entry, ...]:
        """Return the scans that were judged by a process which was gone before it recorded them.

        Args:
            registry: the registry.
            place: the caller's own place, which no other process has now; those of other places count after an hour.
        """
        gone = (_SCANS.c.place == place) | (_SCANS.c.judged_at < time.time() - _ABANDONED)
        wanted = sql.select(*_COLUMNS).where(_SCANS.c.registry == registry, _SCANS.c.state == "judged", gone)
        with self._reached(), self._engine.connect() as connection:
            return tuple(_entry(row) for row in connection.execute(wanted).mappings())

    def under_way(self, registry: str, place: str) -> frozenset[str]:
        """Return the ids of the scans of a place that were begun and are not recorded.

        A beginning that a later scan of the same version has overtaken is left out: nobody comes back to it.
        """
        later = _SCANS.alias()
        overtaken = sql.exists().where(
            later.c.registry == registry,
            later.c.name == _SCANS.c.name,
            later.c.version == _SCANS.c.version,
            later.c.started_at > _SCANS.c.started_at,
        )
        here = (_SCANS.c.registry == registry, _SCANS.c.place == place, _SCANS.c.state != "recorded")
        with self._reached(), self._engine.connect() as connection:
            return frozenset(connection.execute(sql.select(_SCANS.c.scan_id).where(*here, ~overtaken)).scalars())

    def result(self, scan_id: str) -> ScanResult | None:
        """Return the result of a scan, with what became of its write-back; None if it cannot be read any more."""
        wanted = sql.select(_SCANS.c.result, _SCANS.c.write_back).where(_SCANS.c.scan_id == scan_id)
        with self._reached(), self._engine.connect() as connection:
            row = connection.execute(wanted).first()
        try:
            if row is None or row[0] is None:
                return None
            result = ScanResult.model_validate_json(zlib.decompress(row[0]))
            written = WriteBack.model_validate_json(row[1]) if row[1] else result.write_back
        except (zlib.error, ValidationError):
            return None
        return result.model_copy(update={"write_back": written})

    def record_sweep(self, registry: str, scope: str, past: PastSweep, states: Mapping[str, str]) -> None:
        """Note how a registry stands after a finished sweep.

        Args:
            registry: the registry; see `registry_name`.
            scope: digest of the selection.
            past: the sweep in numbers.
            states: verdict or status of every version, by URI. Kept until the next sweep of the same scope.
        """
        same = (_SWEEPS.c.registry == registry, _SWEEPS.c.scope == scope)
        with self._reached(), self._engine.begin() as connection:
            last = connection.execute(sql.select(sql.func.max(_SWEEPS.c.finished_at)).where(*same)).scalar()
            connection.execute(_SWEEPS.update().where(*same).values(states=None))
            connection.execute(
                _SWEEPS.insert().values(
                    sweep_id=uuid.uuid4().hex,
                    registry=registry,
                    scope=scope,
                    finished_at=max(time.time(), (last or 0.0) + _TICK),  # the clock may have been ahead
                    summary=past.model_dump_json(),
                    states=zlib.compress(json.dumps(states).encode("ascii")),
                )
            )

    def past_sweeps(self, registry: str, scope: str, limit: int) -> tuple[tuple[PastSweep, ...], dict[str, str]]:
        """Return the last finished sweeps of a scope, the oldest first, and the states of the versions after the last.

        Args:
            registry: the registry.
            scope: digest of the selection.
            limit: most sweeps to return.
        """
        wanted = sql.select(_SWEEPS.c.summary, _SWEEPS.c.states)
        wanted = wanted.where(_SWEEPS.c.registry == registry, _SWEEPS.c.scope == scope)
        with self._reached(), self._engine.connect() as connection:
            rows = connection.execute(wanted.order_by(_SWEEPS.c.finished_at.desc()).limit(limit)).all()
        kept = next((row.states for row in rows if row.states is not None), None)
        states = {} if kept is None else json.loads(zlib.decompress(kept))
        return tuple(PastSweep.model_validate_json(row.summary) for row in reversed(rows)), states

    def _make_tables(self) -> None:
        for table in _TABLES.sorted_tables:
            try:
                table.create(self._engine, checkfirst=True)
            except SQLAlchemyError:
                # Of several processes that start on a new database at once, all but one are told that it is there.
                if not sql.inspect(self._engine).has_table(table.name):
                    raise

    def _update(self, scan_id: str, **values: Any) -> None:
        with self._reached(), self._engine.begin() as connection:
            connection.execute(_SCANS.update().where(_SCANS.c.scan_id == scan_id).values(**values))

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            reason = without_credentials(str(getattr(error, "orig", None) or error).partition("\n")[0])
            raise LedgerError(
                f"The ledger {self.shown} cannot be used: {reason}",
                "Check that its folder or server can be reached and written to, or pass another --ledger.",
            ) from error


def default_ledger() -> Path:
    """Return the file of the ledger where the user names none: in the user's folder of application state."""
    return platformdirs.user_state_path("smoothscan", appauthor=False) / "ledger.db"


def _durable(connection: Any, _record: Any) -> None:
    """Let readers and a writer work at the same time, and lose nothing when the machine goes down."""
    cursor = connection.cursor()
    give_up = time.monotonic() + _BUSY
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:  # SQLite itself does not wait for another one that changes the mode
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(_AGAIN)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _is_sqlite(address: str | sql.URL) -> bool:
    return sql.make_url(address).get_backend_name() == "sqlite"


def _is(registry: str, version: Registered) -> tuple[Any, ...]:
    return (_SCANS.c.registry == registry, _SCANS.c.name == version.name, _SCANS.c.version == version.version)


def _entry(row: Mapping[Any, Any]) -> Entry:
    return Entry(**{**row, "unfinished": bool(row["unfinished"])})


def _seconds(moment: str | None) -> float:
    return datetime.fromisoformat(moment).timestamp() if moment else time.time()
