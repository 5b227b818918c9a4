"""The host process lives and dies with the scanner, whatever happens to the scanner."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from smoothscan.sandbox.limits import peak_rss
from smoothscan.sandbox.protections import protections

from .hosts import ended, save_odd_models

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_a_scanner_that_is_killed_leaves_no_host_behind(tmp_path: Path, image_folder: Path) -> None:
    (tmp_path / "models").mkdir()
    model = save_odd_models(tmp_path / "models", only=("Sleeps",))["Sleeps"]
    options = ["--images", image_folder, "--input-size", "32x32", "--channels", "3", "--value-range", "0,1"]
    options += ["--allow-model-code", "--verbose"]
    scan = subprocess.Popen(
        [sys.executable, "-m", "smoothscan", "check", model, *options],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert scan.stderr is not None
    seen = ""
    while "] load" not in seen:
        line = scan.stderr.readline()
        assert line, seen
        seen += line
    (host,) = (child for child in psutil.Process(scan.pid).children() if "smoothscan.modelhost" in child.cmdline())
    time.sleep(3)  # the model is inside its endless answer by then, and notices no closed connection
    family = [host, *host.children(recursive=True)]
    scan.send_signal(signal.SIGKILL)
    scan.communicate(timeout=30)
    try:
        assert ended(family if protections().hold else [host])
    finally:
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("unshare") is None, reason="needs Linux namespaces")
def test_the_scanner_may_be_the_first_process_of_a_container(tmp_path: Path) -> None:
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode != 0:
        pytest.skip("this system lets users make no namespaces")
    code = """
import os, sys, time
from pathlib import Path
from smoothscan import wire
from smoothscan.classifier.launcher import model_host
assert os.getpid() == 1
with model_host(Path(sys.argv[1]), Path(sys.argv[1]), device="cpu", time_limit=120) as host:
    wire.send(host.channel, {"ask": "weather"})
    print(wire.receive(host.channel, time.monotonic() + 90)["message"])
"""
    done = subprocess.run(
        [*unshare, sys.executable, "-c", code, tmp_path], env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    assert "no such question: weather" in done.stdout, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_of_a_program_does_not_count_the_program_that_started_it() -> None:
    large = bytearray(300 * 2**20)
    large[:: 2**12] = b"x" * len(large[:: 2**12])
    code = "import os; from smoothscan.sandbox.limits import peak_rss; print(peak_rss(os.getpid()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert peak_rss(os.getpid()) > 300 * 2**20
    assert 2**20 < int(done.stdout) < 200 * 2**20
