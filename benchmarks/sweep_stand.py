"""What `sweep.py` stands on: a real registry, sweeps as a user runs them, and what these leave behind."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import network

SCAN = ("--profile", "quick", "--spaces", "l2")
"""How hard the models are searched: the benchmark is about sweeps, so a scan only has to be a real one."""
SCAN_ID = "smoothscan.scan_id"
_ANSWERED = (0, 1, 4)
"""Exit codes of sweeps that came to a verdict or to none on every model: clean, flagged, inconclusive."""
_UP = 120.0
"""Seconds that a server has to come up."""
_AUTHORISED = """[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/users.db
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""
_LAUNCHER = """
import json, os, sys
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
with open(sys.argv[1], "w") as file:
    json.dump({"exit_code": os.waitstatus_to_exitcode(status), "peak_rss_bytes": usage.ru_maxrss * 1024}, file)
"""
"""Starts a program and notes its peak memory. A small one of its own, because the kernel counts the memory of the
process that starts another as the other's too."""


@dataclass(frozen=True)
class Server:
    """A running `mlflow server`, and who may ask it."""

    uri: str
    folder: Path
    pid: int
    admin: dict[str, str]
    """Environment of who may do everything; empty where there is no authentication."""
    reader: dict[str, str]
    """Environment of who may only read."""


@contextmanager
def serving(folder: Path, *, authorised: bool = True) -> Iterator[Server]:
    """Run a server on loopback over `mlflow.db` of a folder, with basic authentication or without.

    Needs the package Flask-WTF for authentication (`mlflow[auth]`).
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri, database = f"http://127.0.0.1:{port}", f"sqlite:///{folder}/mlflow.db"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", database, "--artifacts-destination", str(folder / "artifacts")]
    admin = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": secrets.token_hex(16)}
    reader = {"MLFLOW_TRACKING_USERNAME": "reader", "MLFLOW_TRACKING_PASSWORD": secrets.token_hex(16)}
    own = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    if authorised:
        command += ["--app-name", "basic-auth"]
        (folder / "auth.ini").write_text(_AUTHORISED.format(folder=folder))
        own |= {
            "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": admin["MLFLOW_TRACKING_PASSWORD"],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
        }
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | own, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_until_up(f"{uri}/health", process, folder / "server.log")
        if authorised:
            _add_user(uri, admin, reader)
        yield Server(uri, folder, process.pid, admin if authorised else {}, reader if authorised else {})
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _UP
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"{url} did not come up:\n{log.read_text()[-2000:]}")


def _add_user(uri: str, admin: Mapping[str, str], user: Mapping[str, str]) -> None:
    from mlflow.server.auth.client import AuthServiceClient

    with acting_as(admin):
        AuthServiceClient(uri).create_user(user["MLFLOW_TRACKING_USERNAME"], user["MLFLOW_TRACKING_PASSWORD"])


@contextmanager
def acting_as(user: Mapping[str, str]) -> Iterator[None]:
    """Let MLflow in this process use the credentials of a user."""
    before = dict(os.environ)
    os.environ.update(user)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def register(uri: str, names: Sequence[str], versions: int, artifacts: Path | None = None) -> None:
    """Register models of the zoo as pt2, and further versions of the same files until there are enough.

    Args:
        uri: tracking server and registry.
        names: models of the zoo.
        versions: how many versions there are to be in all; every fifth model has an alias.
        artifacts: folder of the files; None where a server keeps them.
    """
    import mlflow
    import numpy as np

    mlflow.set_tracking_uri(uri)
    place = None if artifacts is None else artifacts.as_uri()
    experiment = mlflow.create_experiment("zoo", artifact_location=place)
    example = (np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32)) / 255).astype(np.float32)
    logged = []
    for name in names:
        with mlflow.start_run(experiment_id=experiment):
            logged.append(
                mlflow.pytorch.log_model(
                    network(name),
                    name="model",
                    input_example=example,
                    serialization_format="pt2",
                    pip_requirements=["torch"],
                    registered_model_name=name,
                )
            )
    for number in range(versions - len(names)):
        position = number % len(names)
        mlflow.register_model(logged[position].model_uri, names[position])
    for name in names[::5]:
        mlflow.MlflowClient().set_registered_model_alias(name, "champion", "1")


@dataclass(frozen=True)
class Place:
    """What a sweep has: its registry, who it is there, and folders of its own."""

    uri: str
    images: Path
    folder: Path
    user: Mapping[str, str]

    @property
    def out(self) -> Path:
        """Folder of the results."""
        return self.folder / "out"

    @property
    def ledger(self) -> Path:
        """File of the ledger."""
        return self.folder / "ledger.db"

    @property
    def temporary(self) -> Path:
        """Where the sweep's temporary files go."""
        return self.folder / "tmp"

    def command(self, *options: str) -> list[str]:
        """Return the command line of a sweep."""
        command = [sys.executable, "-m", "smoothscan", "sweep", "--tracking-uri", self.uri]
        command += ["--images", str(self.images), "--output-dir", str(self.out), "--ledger", str(self.ledger)]
        return [*command, "--cache-dir", str(self.folder / "cache"), *options]

    def environment(self) -> dict[str, str]:
        """Return the environment of the sweep; its temporary files are apart from those of others."""
        self.temporary.mkdir(parents=True, exist_ok=True)
        return {**os.environ, **self.user, "TMPDIR": str(self.temporary), "MLFLOW_DISABLE_TELEMETRY": "true"}

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a sweep as the leader of a process group."""
        environment = self.environment()
        with (self.folder / "sweep.log").open("ab") as log:
            return subprocess.Popen(
                self.command(*options), cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def sweep(self, *options: str) -> dict[str, Any]:
        """Run a sweep to its end; return what it took, and its last line. No model may fail, nor the sweep itself."""
        measured, environment = self.folder / "measured.json", self.environment()
        command = [sys.executable, "-c", _LAUNCHER, str(measured), *self.command(*options)]
        started = time.perf_counter()
        ended = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, check=True)
        seconds = time.perf_counter() - started
        with (self.folder / "sweep.log").open("ab") as log:
            log.write(ended.stderr + ended.stdout)
        taken = {"seconds": round(seconds, 2), **json.loads(measured.read_text())}
        if taken["exit_code"] not in _ANSWERED:
            raise SystemExit(f"{' '.join(command[3:])} ended with {taken['exit_code']}:\n{ended.stderr.decode()}")
        lines = ended.stdout.decode().splitlines() or [""]
        return {**taken, "said": lines[-1]}

    def posture(self) -> dict[str, Any]:
        """Return what the last sweep wrote of the registry."""
        return json.loads((self.out / "sweep.json").read_text())

    def standings(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return what the last sweep wrote of every version."""
        return {(each["name"], each["version"]): each for each in self.posture()["models"]}

    def rows(self) -> list[dict[str, Any]]:
        """Return what the ledger holds, without the results."""
        with closing(sqlite3.connect(self.ledger)) as connection:
            connection.row_factory = sqlite3.Row
            wanted = "SELECT scan_id, name, version, state, started_at, judged_at, verdict, model_digest, write_back"
            found = connection.execute(f"{wanted} FROM smoothscan_scans")
            return [dict(row) for row in found]

    def is_sound(self) -> bool:
        """Tell whether the ledger's file is in order, as SQLite sees it."""
        with closing(sqlite3.connect(self.ledger)) as connection:
            return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def runs(self) -> list[Any]:
        """Return the MLflow runs of single scans."""
        from mlflow import MlflowClient

        with acting_as(self.user):
            client, token, found = MlflowClient(self.uri), None, []
            experiment = client.get_experiment_by_name("smoothscan")
            while experiment is not None:
                page = client.search_runs([experiment.experiment_id], page_token=token)
                found += page
                token = page.token
                if not token:
                    break
        return [run for run in found if SCAN_ID in run.data.tags]

    def tags(self) -> dict[tuple[str, str], dict[str, str]]:
        """Return the tags of all versions."""
        from mlflow import MlflowClient

        with acting_as(self.user):
            found = MlflowClient(self.uri).search_model_versions(max_results=1000)
        return {(each.name, str(each.version)): dict(each.tags) for each in found}


def inconsistent(place: Place, versions: int) -> list[str]:
    """Return where ledger, runs, tags and files disagree after a sweep that came to its end.

    Args:
        place: the sweep.
        versions: how many versions should have been scanned, each once.
    """
    rows, runs, tags = place.rows(), place.runs(), place.tags()
    found = [] if place.is_sound() else ["the ledger's file is damaged"]
    scans = Counter((row["name"], row["version"]) for row in rows)
    found += [f"{name} {version} has {n} scans in the ledger" for (name, version), n in scans.items() if n != 1]
    if len(scans) != versions:
        found.append(f"the ledger has {len(scans)} versions of {versions}")
    known = Counter(run.data.tags[SCAN_ID] for run in runs)
    found += [f"scan {scan} has {n} runs" for scan, n in known.items() if n != 1]
    found += [f"the run of scan {scan} is of no scan in the ledger" for scan in known.keys() - _ids(rows)]
    status = {run.info.run_id: run.info.status for run in runs}
    for row in rows:
        key, written = (row["name"], row["version"]), json.loads(row["write_back"] or "{}")
        who = f"{row['name']} {row['version']}"
        if row["state"] != "recorded":
            found.append(f"{who} was left at {row['state']}")
        if status.get(written.get("run_id")) != "FINISHED":
            found.append(f"the run of {who} is {status.get(written.get('run_id'))}")
        wanted = {"verdict": row["verdict"], "run_id": written.get("run_id"), "model_digest": row["model_digest"]}
        got = {name: tags.get(key, {}).get(f"smoothscan.{name}") for name in wanted}
        found += [f"tag {n} of {who} is {got[n]}, not {wanted[n]}" for n in wanted if got[n] != wanted[n]]
        if not (place.out / row["name"] / row["version"] / "result.json").exists():
            found.append(f"{who} has no result.json")
    return found


def _ids(rows: Sequence[Mapping[str, Any]]) -> set[str]:
    return {row["scan_id"] for row in rows}


def left_behind(place: Place) -> list[str]:
    """Return the temporary files and folders that are there after a sweep."""
    paths = list(place.temporary.iterdir()) if place.temporary.exists() else []
    paths += [path for path in (place.out / ".work").glob("*") if path.name != "lock"]
    paths += [path for path in place.out.rglob(".*") if path.name != ".work"]
    return sorted(str(path.relative_to(place.folder)) for path in paths)
