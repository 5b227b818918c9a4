"""A PostgreSQL server of the tests' own, where the machine has one installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy

from tests.stores import free_port

_NOBODY = "nobody"
"""Who runs the server where the tests are root, whom it refuses."""


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run a server on loopback; yield the URL of its first database, whose user needs no password.

    Args:
        folder: an empty folder, which everybody may enter.
    """
    pytest.importorskip("psycopg", reason="needs a driver: pip install 'smoothscan[postgresql]'")
    programs = _programs()
    user = _NOBODY if os.geteuid() == 0 else None
    data, port = folder / "data", free_port()
    data.mkdir()
    if user is not None:
        shutil.chown(data, user)

    def run(program: str, *words: str) -> None:
        done = subprocess.run(
            [programs / program, "-D", data, *words],
            user=user,
            cwd="/",
            stdout=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,  # the server would keep a pipe open
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout

    run("initdb", "-U", "scanner", "-A", "trust", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    run("pg_ctl", "-w", "-l", str(data / "log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://scanner@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")


@contextmanager
def database(server: str) -> Iterator[str]:
    """Make an empty database; yield its URL."""
    name = f"scans_{uuid.uuid4().hex}"
    admin = sqlalchemy.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
    with admin.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    yield server.removesuffix("postgres") + name
    with admin.connect() as connection:
        connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))


def _programs() -> Path:
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not places or not (places[-1] / "pg_ctl").exists():
        pytest.skip("needs PostgreSQL's initdb and pg_ctl")
    return places[-1]
