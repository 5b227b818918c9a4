from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sql

from smoothscan.errors import ConfigError, LedgerError
from smoothscan.fleet import ledger as module
from smoothscan.fleet.ledger import Ledger
from smoothscan.result import ScanResult, WriteBack
from tests.sinks.samples import backdoored, clean

from .stand import registered

R, HERE = "sqlite:///registry.db", "here:/out"
SIGNS = registered()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(str(tmp_path / "deep" / "ledger.db"))


def scanned(ledger: Ledger, result: ScanResult, digest: str = "sha256:a", place: str = HERE) -> str:
    scan_id = ledger.begin(R, SIGNS, digest, place)
    ledger.judge(scan_id, result, "{}")
    return scan_id


def test_a_scan_goes_from_started_to_judged_to_recorded(ledger: Ledger) -> None:
    scan_id = ledger.begin(R, SIGNS, "sha256:a", HERE)
    assert ledger.newest(R) == {}
    assert ledger.begin(R, SIGNS, "sha256:a", HERE) == scan_id, "the same place goes on"
    assert ledger.begin(R, SIGNS, "sha256:a", "there:/out") != scan_id, "another place has a scan of its own"
    assert ledger.begin(R, SIGNS, "sha256:b", HERE) != scan_id, "other settings are another scan"
    ledger.judge(scan_id, backdoored().result, "{}")
    entry = ledger.newest(R)["signs", "1"]
    assert (entry.state, entry.verdict, entry.config_digest) == ("judged", "backdoored", "sha256:a")
    ledger.record(scan_id, WriteBack(status="done", run_id="r", tagged=True))
    assert ledger.newest(R)["signs", "1"].state == "recorded"
    kept = ledger.result(scan_id)
    assert kept is not None
    assert kept == backdoored().result.model_copy(update={"write_back": kept.write_back})
    assert kept.write_back.run_id == "r"
    assert ledger.begin(R, SIGNS, "sha256:a", HERE) != scan_id, "what is done is not begun again"


def test_registries_do_not_mix(ledger: Ledger) -> None:
    scanned(ledger, clean().result)
    assert ledger.newest("sqlite:///another.db") == {}
    assert ledger.newest_of("sqlite:///another.db", SIGNS) is None


def test_the_newest_is_the_one_that_was_judged_last_even_if_it_was_recalled(ledger: Ledger) -> None:
    old = clean().result.model_copy(update={"finished_at": "2020-01-01T00:00:00+00:00"})
    scanned(ledger, backdoored().result, "sha256:b")
    recalled = scanned(ledger, old, "sha256:a")
    newest = ledger.newest_of(R, SIGNS)
    assert newest is not None
    assert newest.scan_id == recalled == ledger.newest(R)["signs", "1"].scan_id
    assert newest.expires_at is not None
    assert newest.expires_at < time.time(), "it holds from the day on which it was done"


def test_only_scans_that_nobody_is_at_are_left(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = scanned(ledger, clean().result), scanned(ledger, clean().result, place="there:/out")
    done = scanned(ledger, clean().result, "sha256:c")
    ledger.record(done, WriteBack())
    assert [entry.scan_id for entry in ledger.unrecorded(R, HERE)] == [mine]
    monkeypatch.setattr(module, "_ABANDONED", -1.0)
    assert {entry.scan_id for entry in ledger.unrecorded(R, HERE)} == {mine, other}


def test_what_was_begun_in_vain_is_forgotten_and_what_is_judged_is_not(ledger: Ledger) -> None:
    scan_id = ledger.begin(R, SIGNS, "sha256:a", HERE)
    ledger.forget(scan_id)
    assert ledger.begin(R, SIGNS, "sha256:a", HERE) != scan_id
    judged = scanned(ledger, clean().result, "sha256:b")
    ledger.forget(judged)
    assert ledger.newest(R)["signs", "1"].scan_id == judged


def test_a_result_that_cannot_be_read_any_more_is_none(ledger: Ledger, tmp_path: Path) -> None:
    scan_id = scanned(ledger, clean().result)
    engine = sql.create_engine(f"sqlite:///{tmp_path}/deep/ledger.db")
    with engine.begin() as connection:
        connection.execute(sql.text("update smoothscan_scans set result = x'00'"))
    assert ledger.result(scan_id) is None
    assert ledger.result("never") is None


@pytest.mark.parametrize("url", ["nothing://x", "postgresql+nodriver://user:secret@host/db", "://"])
def test_a_url_without_a_driver_is_a_usage_error(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Ledger(url)
    assert "secret" not in caught.value.message


def test_a_file_that_is_no_database_is_an_error_of_the_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("no database at all, but a text that is long enough to be looked at" * 9)
    with pytest.raises(LedgerError, match=r"ledger\.db"):
        Ledger(str(tmp_path / "ledger.db"))


_WRITE = """
import sys
from smoothscan.fleet.ledger import Ledger
from tests.fleet.stand import registered
from tests.sinks.samples import clean
result = clean().result
with Ledger(sys.argv[1]) as ledger:
    for number in range(20):
        version = registered(version=f"{sys.argv[2]}{number}")
        ledger.judge(ledger.begin("r", version, "sha256:a", sys.argv[2]), result, "{}")
"""


def test_two_processes_write_at_the_same_time_and_lose_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WRITE, str(tmp_path / "ledger.db")]
    both = [subprocess.Popen([*command, who], cwd=Path(__file__).parents[2]) for who in ("1", "2")]
    assert [process.wait(60) for process in both] == [0, 0]
    with Ledger(str(tmp_path / "ledger.db")) as ledger:
        assert len(ledger.newest("r")) == 40
