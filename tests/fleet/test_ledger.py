from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st

from smoothscan.errors import ConfigError, LedgerError
from smoothscan.fleet import ledger as module
from smoothscan.fleet.ledger import Entry, Ledger
from smoothscan.result import WriteBack
from tests import postgresql
from tests.cli.program import ENVIRONMENT

from .stubs import DIGEST, REGISTRY, result, version

HERE = "machine:/sweep"
ONE = version()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server; it is started in a folder that another user than root may enter."""
    with tempfile.TemporaryDirectory(prefix="smoothscan-") as folder:
        Path(folder).chmod(0o755)
        with postgresql.running(Path(folder)) as url:
            yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a ledger can be that is not there yet: a file, or an empty database."""
    if request.param == "sqlite":
        yield str(tmp_path / "ledger.db")
    else:
        with postgresql.database(request.getfixturevalue("server")) as found:
            yield found


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with Ledger(url) as opened:
        yield opened


def database(ledger: Ledger) -> sqlalchemy.Engine:
    url = ledger.shown.replace("//127", "//scanner@127") if "://" in ledger.shown else f"sqlite:///{ledger.shown}"
    return sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)


def rows(ledger: Ledger, columns: str = "scan_id, state") -> list[tuple[Any, ...]]:
    with database(ledger).connect() as connection:
        found = connection.execute(sqlalchemy.text(f"SELECT {columns} FROM smoothscan_scans ORDER BY started_at"))
        return [tuple(row) for row in found]


def judged(ledger: Ledger, place: str = HERE, of: Any = ONE, **changes: Any) -> str:
    scan_id = ledger.begin(REGISTRY, of, DIGEST, place)
    ledger.judge(scan_id, result(of.name, of.version, **changes), "{}")
    return scan_id


def test_a_scan_goes_through_its_states_in_order(ledger: Ledger) -> None:
    scan_id = ledger.begin(REGISTRY, ONE, DIGEST, HERE)
    assert rows(ledger) == [(scan_id, "started")]
    assert ledger.newest(REGISTRY) == {}
    assert ledger.newest_of(REGISTRY, ONE) is None
    assert ledger.result(scan_id) is None
    found = result(verdict="backdoored")
    ledger.judge(scan_id, found, '{"verdict": "backdoored"}')
    entry = ledger.newest_of(REGISTRY, ONE)
    assert entry is not None
    finished = time.time()
    assert (entry.scan_id, entry.state, entry.verdict, entry.status) == (scan_id, "judged", "backdoored", "completed")
    assert (entry.identity, entry.config_digest, entry.model_digest) == (ONE.identity, DIGEST, found.model.digest)
    assert (entry.unfinished, entry.summary, entry.write_back) == (False, '{"verdict": "backdoored"}', None)
    assert entry.finished_at == pytest.approx(finished, abs=2)
    assert entry.expires_at == pytest.approx(finished + 90 * 86400, abs=2)
    assert ledger.newest(REGISTRY) == {("digits", "1"): entry}
    assert ledger.unrecorded(REGISTRY, HERE) == (entry,)
    ledger.record(scan_id, WriteBack(status="done", run_id="r", tagged=True))
    assert rows(ledger) == [(scan_id, "recorded")]
    assert ledger.unrecorded(REGISTRY, HERE) == ()
    assert ledger.newest("another registry") == {}


def test_a_result_comes_back_whole_and_knows_what_became_of_its_write_back(ledger: Ledger) -> None:
    found = result("schöne \u202e Namen", kind="backdoored")
    scan_id = ledger.begin(REGISTRY, version("schöne \u202e Namen"), DIGEST, HERE)
    ledger.judge(scan_id, found, "{}")
    assert ledger.result(scan_id) == found
    written = WriteBack(status="failed", message="the server said no", run_id="r")
    ledger.record(scan_id, written)
    assert ledger.result(scan_id) == found.model_copy(update={"write_back": written})
    assert ledger.result("unknown") is None


def test_a_result_that_cannot_be_read_is_none(ledger: Ledger) -> None:
    scan_id = judged(ledger)
    for broken in (b"", b"rubbish", zlib.compress(b"{}"), zlib.compress(b"\xff")):
        with database(ledger).begin() as connection:
            connection.execute(sqlalchemy.text("UPDATE smoothscan_scans SET result = :b"), {"b": broken})
        assert ledger.result(scan_id) is None


def test_beginning_goes_on_with_the_same_scan_of_the_same_place_only(ledger: Ledger) -> None:
    first = ledger.begin(REGISTRY, ONE, DIGEST, HERE)
    assert ledger.begin(REGISTRY, ONE, DIGEST, HERE) == first
    others = [
        ledger.begin(REGISTRY, ONE, DIGEST, "another machine:/sweep"),
        ledger.begin(REGISTRY, ONE, "sha256:other settings", HERE),
        ledger.begin(REGISTRY, version(identity="registered anew"), DIGEST, HERE),
        ledger.begin(REGISTRY, version(number=2), DIGEST, HERE),
        ledger.begin(REGISTRY, version("other"), DIGEST, HERE),
        ledger.begin("another registry", ONE, DIGEST, HERE),
    ]
    assert len({first, *others}) == 7
    ledger.judge(first, result(), "{}")
    assert ledger.begin(REGISTRY, ONE, DIGEST, HERE) not in {first, *others}, "what is judged is not begun again"


def test_the_newest_is_what_was_judged_last_however_old_its_result_is(ledger: Ledger) -> None:
    judged(ledger, finished_at="2026-11-22T21:40:23+00:00")
    recalled = judged(ledger, finished_at="2026-10-01T00:00:00+00:00", recalled=True)
    assert ledger.newest(REGISTRY)["digits", "1"].scan_id == recalled
    entry = ledger.newest_of(REGISTRY, ONE)
    assert entry is not None
    assert entry.scan_id == recalled
    expected = 1790812800 + 90 * 86400  # 2026-10-01
    assert (entry.finished_at, entry.expires_at) == (1790812800, expected)


def test_a_clock_that_was_ahead_hides_no_later_scan(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + 86400)
    judged(ledger, verdict="clean")
    monkeypatch.setattr(module.time, "time", lambda: now)
    later = judged(ledger, verdict="backdoored")
    last = judged(ledger, verdict="suspicious")
    assert later != last
    entry = ledger.newest_of(REGISTRY, ONE)
    assert entry is not None
    assert (entry.scan_id, entry.verdict) == (last, "suspicious")
    assert ledger.newest(REGISTRY)["digits", "1"] == entry
    assert rows(ledger, "judged_at")[0][0] == pytest.approx(now + 86400, abs=1e-3), "to the millisecond"


def test_names_may_be_as_long_as_the_registry_lets_them(ledger: Ledger) -> None:
    long = version("n" * 256, 10**11, identity="f" * 64)
    scan_id = judged(ledger, of=long)
    assert ledger.newest_of(REGISTRY, long).scan_id == scan_id


def test_what_another_place_left_is_recorded_after_an_hour(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    own, others = judged(ledger), judged(ledger, "other:/sweep", version(number=2))
    judged(ledger, of=version("begun again"))
    ledger.begin(REGISTRY, version(number=3), DIGEST, HERE)

    def left() -> set[str]:
        return {entry.scan_id for entry in ledger.unrecorded(REGISTRY, HERE) if entry.name == "digits"}

    assert left() == {own}
    now = time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + 3500)
    assert left() == {own}
    monkeypatch.setattr(module.time, "time", lambda: now + 3700)
    assert left() == {own, others}


def test_only_a_beginning_is_forgotten(ledger: Ledger) -> None:
    begun, done = ledger.begin(REGISTRY, ONE, DIGEST, HERE), judged(ledger, of=version(number=2))
    ledger.forget(begun)
    ledger.forget(done)
    assert rows(ledger) == [(done, "judged")]


def test_a_ledger_outlives_its_process(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "ledger.db"
    with Ledger(str(path)) as first:
        scan_id = judged(first)
    with Ledger(f"sqlite:///{path}") as second:
        assert second.newest(REGISTRY)["digits", "1"].scan_id == scan_id


class TestNoLedger:
    def told(self, url: str, kind: type[Exception] = LedgerError) -> str:
        with pytest.raises(kind) as caught:
            Ledger(url)
        error: Any = caught.value
        assert error.hint
        assert "\n" not in error.message
        assert "secret" not in error.message + error.hint
        return str(error.message)

    def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("no database " * 100)
        assert "not a database" in self.told(str(tmp_path / "notes.txt"))

    def test_a_name_is_no_url(self, tmp_path: Path) -> None:
        with Ledger(str(tmp_path / "who?=me#1.db")) as ledger:
            judged(ledger)
        assert (tmp_path / "who?=me#1.db").stat().st_size > 0

    def test_a_folder(self, tmp_path: Path) -> None:
        assert str(tmp_path) in self.told(str(tmp_path))

    def test_a_file_in_the_way_of_its_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert "file/ledger.db" in self.told(str(tmp_path / "file" / "ledger.db"))

    def test_a_database_of_somebody_else(self, tmp_path: Path) -> None:
        path = tmp_path / "other.db"
        with sqlalchemy.create_engine(f"sqlite:///{path}").begin() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE smoothscan_scans (id INTEGER)"))
        with Ledger(str(path)) as ledger, pytest.raises(LedgerError, match="no such column"):
            ledger.newest(REGISTRY)

    def test_a_server_that_does_not_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # As drivers of real servers report it; none is among the dependencies.
        def refuse(*_args: Any, **_more: Any) -> None:
            raise sqlite3.OperationalError("could not connect to postgresql://me:secret@10.0.0.1:5432\nIs it running?")

        monkeypatch.setattr(sqlite3.dbapi2, "connect", refuse)
        assert "could not connect to postgresql://10.0.0.1:5432" in self.told("sqlite:////x/ledger.db")

    def test_a_driver_that_is_not_installed(self) -> None:
        message = self.told("mssql+pymssql://me:secret@host/scans", ConfigError)
        assert "pymssql" in message

    @pytest.mark.parametrize("url", ["nosuch://me:secret@host/x", "://", "postgresql://me:secret@:x:y/scans"])
    def test_no_url(self, url: str) -> None:
        self.told(url, ConfigError)

    def test_a_password_that_is_not_quoted(self) -> None:
        self.told("nosuch://me:p@ss@secret@host/x", ConfigError)

    def test_a_file_that_may_only_be_read(self, tmp_path: Path) -> None:
        path = tmp_path / "ledger.db"
        with Ledger(str(path)) as ledger:
            scan_id = judged(ledger)
        url = f"sqlite:///file:{path}?mode=ro&uri=true"  # permissions mean nothing to root
        with Ledger(url) as ledger:
            assert ledger.newest(REGISTRY)["digits", "1"].scan_id == scan_id
            with pytest.raises(LedgerError, match="readonly") as caught:
                ledger.record(scan_id, WriteBack())
        assert "--ledger" in caught.value.hint


def test_several_that_start_on_a_new_database_at_once_all_get_to_it(url: str) -> None:
    for place in [url] if "://" in url else [f"{url}{attempt}" for attempt in range(10)]:
        together, failed = threading.Barrier(4), []

        def start(place: str = place, together: Any = together, failed: Any = failed) -> None:
            together.wait()
            try:
                with Ledger(place) as ledger:
                    ledger.newest(REGISTRY)
            except LedgerError as error:
                failed.append(error.message)

        threads = [threading.Thread(target=start) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []


_WRITER = """
import sys
from smoothscan.fleet.ledger import Ledger
from smoothscan.result import WriteBack
from tests.fleet.stubs import REGISTRY, result, version

path, who = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
found = result()
with Ledger(path) as ledger:
    for number in range(50):
        scan_id = ledger.begin(REGISTRY, version(who, number), "digest", who)
        ledger.judge(scan_id, found, "{}")
        ledger.record(scan_id, WriteBack(status="done"))
"""


def test_two_processes_write_to_one_ledger_at_once(url: str) -> None:
    # Neither finds it there.
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, url, who],
            cwd=Path(__file__).parents[2],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for who in ("a", "b")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    ended = [writer.communicate(timeout=60) for writer in writers]
    assert [(writer.returncode, told[1]) for writer, told in zip(writers, ended, strict=True)] == [(0, ""), (0, "")]
    with Ledger(url) as ledger:
        assert set(ledger.newest(REGISTRY)) == {(who, str(number)) for who in "ab" for number in range(50)}
        assert len(rows(ledger)) == 100
        assert {state for (state,) in rows(ledger, "state")} == {"recorded"}


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "judge", "record", "forget"]),
        st.sampled_from(["a", "b"]),  # name
        st.sampled_from(["here", "there"]),  # place
        st.sampled_from(["clean", "suspicious", "backdoored"]),
    ),
    max_size=25,
)


@settings(max_examples=40)
@given(_STEPS)
def test_whatever_happens_the_newest_are_those_of_a_plain_model(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, str, str]]
) -> None:
    begun: dict[tuple[str, str], str] = {}
    left: dict[str, str] = {}
    newest: dict[str, tuple[str, str, str]] = {}
    with Ledger(str(tmp_path_factory.mktemp("ledger") / "ledger.db")) as ledger:
        for step, name, place, verdict in steps:
            scan_id = begun.get((name, place))
            if step == "begin":
                again = ledger.begin(REGISTRY, version(name), DIGEST, place)
                assert scan_id in (None, again)
                begun[name, place] = again
            elif step == "forget" and scan_id is not None:
                ledger.forget(begun.pop((name, place)))
            elif step == "judge" and scan_id is not None:
                ledger.judge(begun.pop((name, place)), result(name, verdict=verdict), "{}")
                newest[name] = (scan_id, "judged", verdict)
                left[scan_id] = place
            elif step == "record" and name in newest:
                scan_id, _, verdict = newest[name]
                ledger.record(scan_id, WriteBack(status="done"))
                newest[name] = (scan_id, "recorded", verdict)
                left.pop(scan_id, None)
            found: dict[tuple[str, str], Entry] = ledger.newest(REGISTRY)
            assert {n: (e.scan_id, e.state, e.verdict) for (n, _), e in found.items()} == newest
            for n in ("a", "b"):
                assert ledger.newest_of(REGISTRY, version(n)) == found.get((n, "1"))
        for place in ("here", "there"):
            mine = {scan_id for scan_id, where in left.items() if where == place}
            assert {entry.scan_id for entry in ledger.unrecorded(REGISTRY, place)} == mine
