from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from smoothscan.errors import OutputError
from smoothscan.files import make_folder, remove, write_atomically


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    assert write_atomically(path, b"first") == path
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert names(tmp_path) == ["result.json"]


def test_keeps_to_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        path = write_atomically(tmp_path / "result.json", b"{}")
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o640


def test_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    # A limit on the size of files is a full disk that needs no mount: the write stops half way.
    path = tmp_path / "result.json"
    path.write_bytes(b"old")
    code = (
        "import signal, sys; from pathlib import Path; from smoothscan.errors import OutputError\n"
        "from smoothscan.files import write_atomically\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try: write_atomically(Path(sys.argv[1]), b'x' * 100_000)\n"
        "except OutputError as error: print(error.exit_code, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    assert done.stdout.startswith(f"2 Cannot write {path}: ")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["result.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_says_what_to_do_about_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smoothscan.files._beside", lambda path: path.with_name("draft"))
    (tmp_path / "draft").symlink_to("/dev/full")
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode: opened(self, mode.replace("x", "w")))
    with pytest.raises(OutputError, match="No space left on device") as caught:
        write_atomically(tmp_path / "result.json", b"{}")
    assert "Free some space" in caught.value.hint
    assert names(tmp_path) == []


def test_an_interrupt_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_bytes(b"old")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["report.html"]


def test_a_file_in_the_way_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("I am a file")
    with pytest.raises(OutputError, match="out") as caught:
        make_folder(tmp_path / "out" / "deeper")
    assert caught.value.exit_code == 2
    assert "--output-dir" in caught.value.hint
    with pytest.raises(OutputError):
        make_folder(tmp_path / "out")


def test_a_folder_in_the_way_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "result.json").mkdir()
    with pytest.raises(OutputError, match=r"result\.json"):
        write_atomically(tmp_path / "result.json", b"{}")
    assert names(tmp_path) == ["result.json"]


def test_an_unwritable_folder(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir(mode=0o500)
    if os.geteuid() == 0:
        folder = Path("/proc/self")  # permission bits do not stop root; a file system that takes no files does
    with pytest.raises(OutputError, match="Cannot write") as caught:
        make_folder(folder)
    assert caught.value.hint


def test_makes_parents_and_leaves_no_probe(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a" / "b")
    assert names(folder) == []


def test_remove_reports_what_it_cannot_remove(tmp_path: Path) -> None:
    remove(tmp_path / "absent")
    with pytest.raises(OutputError) as caught:
        remove(tmp_path)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno in (errno.EISDIR, errno.EPERM)
