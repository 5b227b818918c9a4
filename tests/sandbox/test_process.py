"""A confined process reaches what it was given and nothing else, with bubblewrap around it and without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from smoothscan.sandbox import confine, process
from smoothscan.sandbox.disk import DiskWatch
from smoothscan.sandbox.doctor import examine
from smoothscan.sandbox.installation import listable, readable
from smoothscan.sandbox.limits import limits, peak_rss
from smoothscan.sandbox.policy import Limits, Policy
from smoothscan.sandbox.process import run
from smoothscan.sandbox.protections import Protections, protections

needs_sandbox = pytest.mark.skipif(not protections().hold, reason="no sandbox holds here: see smoothscan doctor")
LIMITS = Limits(memory_bytes=2**32, cpu_seconds=60)


def without_bubblewrap() -> Protections:
    here = protections()
    return Protections(None, here.landlock, here.seccomp)


@needs_sandbox
@pytest.mark.parametrize("bubblewrap", [True, False])
def test_nothing_gets_out(bubblewrap: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not bubblewrap:
        if not without_bubblewrap().hold:
            pytest.skip("only bubblewrap holds here")
        monkeypatch.setattr(process, "protections", without_bubblewrap)
    elif protections().bubblewrap is None:
        pytest.skip("bubblewrap does not work here")
    monkeypatch.setenv("SMOOTHSCAN_DOCTOR", "secret")
    report = examine()
    assert report.trouble == ""
    assert len(report.attempts) == 12
    assert [what for what, stopped_by in report.attempts.items() if not stopped_by] == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_without_any_protection_the_attempts_succeed_and_are_seen_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "protections", lambda: Protections(None, 0, False))
    report = examine()
    got_out = {what for what, stopped_by in report.attempts.items() if not stopped_by}
    assert got_out >= {"read a file of yours", "connect to a server", "fork", "start a program"}
    assert not report.holds


def test_a_module_is_run_to_its_end_and_what_it_says_is_returned(tmp_path: Path) -> None:
    done = run("json.tool", ["--help"], read=[], seconds=30)
    assert done.code == 0
    assert b"usage" in done.output
    failed = run("json.tool", [str(tmp_path / "missing.json")], read=[], seconds=30)
    assert failed.code not in (0, None)
    assert "missing.json" in failed.errors


def test_what_nobody_wants_can_be_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text("{}")
    assert run("json.tool", [str(tmp_path / "file.json"), os.devnull], read=[tmp_path], seconds=30).code == 0


def test_a_module_that_takes_too_long_is_stopped() -> None:
    started = time.monotonic()
    assert run("http.server", ["--help"], read=[], seconds=0.01).code is None
    assert time.monotonic() - started < 10


@needs_sandbox
def test_what_may_be_read_can_be_read(tmp_path: Path) -> None:
    for name in ("given", "kept"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.json").write_text('{"a": 1}')
    assert json.loads(
        run("json.tool", [str(tmp_path / "given/file.json")], read=[tmp_path / "given"], seconds=30).output
    )
    assert run("json.tool", [str(tmp_path / "kept/file.json")], read=[tmp_path / "given"], seconds=30).code != 0


def test_a_protection_that_was_promised_and_fails_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_policy: Policy) -> None:
        raise OSError("the kernel has changed its mind")

    monkeypatch.setattr(confine, "_restrict_files", refuse)
    monkeypatch.setattr(confine, "_limit", lambda *_, **__: None)
    policy = Policy((), (), (), (), LIMITS, landlock=True, seccomp=False, parent=os.getppid())
    with pytest.raises(OSError, match="changed its mind"):
        confine.confine(policy)


def test_a_policy_travels_as_text() -> None:
    policy = Policy(("/usr",), ("/a b",), ('/"quoted"',), (), LIMITS, landlock=True, seccomp=False, parent=1)
    assert Policy.from_json(policy.to_json()) == policy


def test_the_view_of_the_disk_has_python_and_not_the_present_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    shown = [Path(path) for path in readable()]
    for needed in (Path(json.__file__), Path(pytest.__file__), Path(process.__file__)):
        assert any(needed.is_relative_to(path) for path in shown)
    assert not any(tmp_path.is_relative_to(path) for path in shown)
    assert Path("/etc/passwd") not in shown
    assert not any(Path("/etc/passwd").is_relative_to(path) for path in shown)
    assert [Path(path) for path in listable()] == [Path(process.__file__).parents[2]]


def test_a_folder_that_grows_beyond_its_bounds_ends_its_process(tmp_path: Path) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    watch = DiskWatch(sleeper, tmp_path)
    for name in range(10_001):
        (tmp_path / str(name)).touch()
    try:
        assert sleeper.wait(10) != 0
        assert watch.exceeded
    finally:
        watch.close()
        sleeper.kill()
        sleeper.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_limits_are_below_what_the_machine_has() -> None:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert peak_rss(os.getpid()) < limits(100).memory_bytes < max(total, 16 * 2**30)
    assert limits(100, 2**30).memory_bytes == 2**30
    assert limits(100).cpu_seconds >= 100
    assert limits(float("1e300")).cpu_seconds < 2**63
