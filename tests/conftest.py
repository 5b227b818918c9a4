"""Fixtures of several rooms: a registry of tiny models, a tracking server, images. Nothing heavy at import."""

from __future__ import annotations

import atexit
import base64
import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.browser import CHROMIUM
from tests.stores import Registry, draw_images, free_port, log_tiny_models, wait_until_up

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# A slow or busy machine is no bug; on a build server every run tries the same cases.
hypothesis.settings.register_profile("smoothscan", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("smoothscan")

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
if "PYTEST_XDIST_WORKER" in os.environ:  # several processes share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
for _name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
    os.environ.pop(_name, None)


_CACHES = Path(tempfile.mkdtemp(prefix="smoothscan-tests-"))
atexit.register(shutil.rmtree, _CACHES, ignore_errors=True)
os.environ["XDG_CACHE_HOME"] = str(_CACHES)


_LONG = ("docs", "zoo", "cli", "training", "fleet", "hostile")
"""Rooms whose tests start the program, or scan for real."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put rooms that take long first, so that at the end no process waits for another one's last file."""
    tests = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        room = item.path.relative_to(tests).parts[0]
        return _LONG.index(room) if room in _LONG else len(_LONG)

    items.sort(key=rank)


@pytest.fixture(autouse=True)
def _no_scan_is_recalled_from_another_test() -> None:
    shutil.rmtree(_CACHES / "smoothscan", ignore_errors=True)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Model zoo and real images; not part of the project."""
    beside = Path(__file__).parents[2] / "shared"
    folder = Path(os.environ.get("SMOOTHSCAN_SHARED", beside))
    if not (folder / "zoo").is_dir():
        pytest.skip(f"needs the model zoo: set SMOOTHSCAN_SHARED to its folder ({folder} has none)")
    return folder


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Twelve 32x32 RGB images."""
    return draw_images(tmp_path / "images")


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A sqlite store with the tiny models. Shared by all tests: add to it, but leave what is there."""
    folder = tmp_path_factory.mktemp("registry")
    return log_tiny_models(f"sqlite:///{folder}/mlflow.db", folder, (folder / "artifacts").as_uri())


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A real tracking server with the tiny models, artifacts served through it."""
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # Webhooks reach this machine, and those of a test are known at once.
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_CACHE_TTL": "0",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": base64.urlsafe_b64encode(bytes(32)).decode(),
    }
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_until_up(f"http://127.0.0.1:{port}/health", process, folder / "log.txt")
        yield log_tiny_models(f"http://127.0.0.1:{port}", folder, None)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")  # while Playwright runs, nothing else in the process can use asyncio
def browser() -> Iterator[Browser]:
    """Debian's Chromium, driven by Playwright; see `tests.browser.opened`."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium on the PATH")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def guarded(server: Any) -> Iterator[Callable[[str], str]]:
    """A server in front of the real one, which refuses requests to paths that contain a word."""
    host = server.tracking_uri.removeprefix("http://")
    gates: list[ThreadingHTTPServer] = []

    def start(refused: str) -> str:
        class Gate(BaseHTTPRequestHandler):
            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if refused in self.path:
                    status, answer = 403, b"Permission denied"
                else:
                    connection = http.client.HTTPConnection(host)
                    connection.request(self.command, self.path, body, {"Content-Type": "application/json"})
                    response = connection.getresponse()
                    status, answer = response.status, response.read()
                    connection.close()
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        gate = ThreadingHTTPServer(("127.0.0.1", 0), Gate)
        gates.append(gate)
        threading.Thread(target=gate.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{gate.server_port}"

    yield start
    for gate in gates:
        gate.shutdown()
        gate.server_close()
