from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smoothscan.errors import OutputError
from smoothscan.fleet.folders import PAGE, POSTURE, WORK, folder_of, place_of, sweep_ended, sweep_folder, sweep_id
from tests.cli.program import ENVIRONMENT

NAMES = st.text(min_size=1) | st.sampled_from(["..", ".", "a/../b", "/etc", "sweep.json", "index.html", ".work", "%2E"])
VERSIONS = st.integers(0, 10**12).map(str) | st.text(min_size=1)


@given(NAMES, VERSIONS)
@example("..", "..")
@example("\udcff/\ud800\x00", ".")
@example(POSTURE, "1")
@example(PAGE, "1")
@example(WORK, "lock")
@example("é" * 300, "1")
@example("." * 300, "1")
@example("a" * 300, "9" * 300)
def test_every_version_has_a_folder_of_its_own_in_that_of_the_sweep(name: str, version: str) -> None:
    root = Path("/sweep")
    folder = folder_of(name, version)
    assert len(folder.parts) == 2
    assert not folder.is_absolute()
    assert Path(os.path.normpath(root / folder)) == root / folder
    assert folder.parts[0] not in (POSTURE, PAGE, WORK)
    assert all(0 < len(part.encode()) <= 255 for part in folder.parts)
    assert not any(part.startswith(".") for part in folder.parts)
    assert str(folder).isprintable()
    assert "\\" not in str(folder)


@given(NAMES, NAMES)
@example("sweep.json", "%73weep.json")
@example("%73weep.json", "%2573weep.json")
@example("a" * 400, "a" * 401)
@example("a" * 150, "a" * 151)
@example("é", "%C3%A9")
def test_different_names_have_different_folders(one: str, other: str) -> None:
    assert (folder_of(one, "1") == folder_of(other, "1")) == (one == other)


def test_folders_are_readable_where_names_are() -> None:
    assert folder_of("traffic signs (v2)", "12") == Path("traffic signs (v2)/12")
    assert folder_of("ä/b", "1") == Path("%C3%A4%2Fb/1")
    assert folder_of(".hidden", "1") == Path("%2Ehidden/1")


def test_nobody_finds_two_long_names_with_one_folder() -> None:
    digest = folder_of("a" * 400, "1").parts[0].rpartition("-")[2]
    assert len(digest) * 4 >= 128  # bits


def test_a_place_is_one_folder_wherever_it_is_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "sweep")
    place = place_of(Path("sweep"))
    assert place == place_of(tmp_path / "link") == place_of(tmp_path / "sweep" / ".." / "sweep")
    assert place != place_of(Path("other"))
    (tmp_path / "sweep").rename(tmp_path / "moved")
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    assert place_of(tmp_path / "moved") == place


@pytest.mark.parametrize("broken", [b"", b"\xff", b"../../etc", b"0" * 31])
def test_an_id_that_is_none_is_made_anew(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / ".work").mkdir()
    (tmp_path / ".work" / "place").write_bytes(broken)
    assert re.fullmatch("[0-9a-f]{32}", place_of(tmp_path))
    assert place_of(tmp_path) == place_of(tmp_path)


def test_a_sweep_keeps_its_id_until_it_ended(tmp_path: Path) -> None:
    first = sweep_id(tmp_path)
    assert sweep_id(tmp_path) == first != place_of(tmp_path)
    sweep_ended(tmp_path)
    sweep_ended(tmp_path)
    assert sweep_id(tmp_path) != first


def test_a_folder_is_for_one_sweep_at_a_time(tmp_path: Path) -> None:
    with sweep_folder(tmp_path / "new" / "out") as folder:
        assert folder.is_dir()
        with pytest.raises(OutputError, match="Another sweep") as caught, sweep_folder(folder):
            pass
        assert "--output-dir" in caught.value.hint
        with sweep_folder(tmp_path / "other"):
            pass
    with sweep_folder(folder):
        pass


def test_a_sweep_that_was_killed_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom smoothscan.fleet.folders import sweep_folder\n"
        f"with sweep_folder(Path({str(tmp_path)!r})):\n"
        "    print('held', flush=True)\n    sys.stdin.readline()\n    os.kill(os.getpid(), 9)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(OutputError), sweep_folder(tmp_path):
        pass
    holder.communicate("die\n", timeout=30)
    with sweep_folder(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Cannot write"), sweep_folder(tmp_path / "file"):
        pass
