"""The engine of Ray clusters, on a cluster of two nodes on this machine."""

from __future__ import annotations

import builtins
import http.server
import importlib
import json
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from smoothscan.config import ScanConfig
from smoothscan.errors import ConfigError, EngineError
from smoothscan.fleet.engines import ray as module
from smoothscan.fleet.engines.interface import Job
from smoothscan.fleet.engines.ray import Bundle, RayEngine
from smoothscan.packed import unpack
from smoothscan.result import ScanResult
from smoothscan.sources.images import images_digest, list_images
from tests.stores import draw_images, free_port

from .stubs import jobs

needs_ray = pytest.mark.skipif("not __import__('importlib.util').util.find_spec('ray')", reason="needs Ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a Ray cluster of two nodes with a core each."""
    utils = pytest.importorskip("ray.cluster_utils", reason="needs Ray: pip install 'smoothscan[ray]'")
    nodes = utils.Cluster()
    for _ in range(2):
        nodes.add_node(num_cpus=1, include_dashboard=False, object_store_memory=2**27)
    yield nodes.address
    nodes.shutdown()


@pytest.fixture
def engine(cluster: str) -> Iterator[RayEngine]:
    engine = RayEngine(cluster, None, threads=None)
    yield engine
    engine.close()


@pytest.mark.slow
def test_a_node_finds_what_this_machine_finds(
    engine: RayEngine, real: ScanConfig, scanned_here: ScanResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine.describe() == "ray, 2 at a time on 2 nodes"
    assert real.calibration is not None
    shutil.copytree(real.images, tmp_path / "images")
    shutil.copy(real.calibration, tmp_path)
    read = Bundle.of

    def read_and_remove(config: ScanConfig) -> Bundle:
        bundle = read(config)
        shutil.rmtree(tmp_path / "images")  # so that no node can find them where they were
        (tmp_path / "clean.json").unlink()
        return bundle

    monkeypatch.setattr(Bundle, "of", staticmethod(read_and_remove))
    here = {"images": tmp_path / "images", "calibration": tmp_path / "clean.json", "threads": 4}
    (outcome,) = engine.run(jobs(real, tmp_path, here))
    assert outcome.ended == "scanned", outcome.message
    assert outcome.seconds > 0
    found, pictures = unpack(outcome.job.into)
    assert (found.verdict, found.target_classes) == (scanned_here.verdict, scanned_here.target_classes)
    assert found.config_digest == scanned_here.config_digest
    assert found.model.digest == scanned_here.model.digest
    assert found.calibration is not None
    assert pictures
    assert found.config["threads"] == 1, "one for each of the node's cores"


def _stub() -> Any:
    """Return what tasks do instead of scanning; Ray sends functions of functions to its nodes as they are."""

    def scan(text: str, bundle: Any, starts: Any) -> bytes | None:
        import json
        import os
        import tempfile
        import time
        from pathlib import Path

        from smoothscan.errors import ConfigError
        from smoothscan.fleet.engines.interface import Job
        from smoothscan.sources.images import images_digest, list_images

        job = Job.model_validate_json(text)
        starts.note.remote(f"{job.scan_id} {job.attempt}")
        match job.config.uri.split("/")[1]:
            case "killed":
                os.kill(os.getpid(), 9)
            case "slow":
                time.sleep(600)
            case "nap":
                time.sleep(1.5)
            case "misused":
                raise ConfigError("2 labels for 10 classes.", "Give one for each.")
            case "bug":
                raise ZeroDivisionError("boom")
            case "unchanged":
                return None
        with tempfile.TemporaryDirectory() as folder:
            config = bundle.unpacked(job.config, Path(folder))
            told = {"images": images_digest(list_images(config.images)), "threads": config.threads, "pid": os.getpid()}
        return json.dumps(told).encode()

    return scan


@pytest.mark.slow
def test_every_end_of_a_job_is_told(engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_scan", _stub())
    monkeypatch.setattr(module, "GRACE", 0.0)
    images = draw_images(tmp_path / "images", 3)
    config = ScanConfig(uri="", images=images)
    names = ["slow", "killed", "misused", "bug", "unchanged", "fine", "gone", "fine"]
    changes: list[dict[str, Any]] = [{"uri": f"models:/{name}/1"} for name in names]
    changes[0]["time_limit"] = 1.0
    changes[6]["images"] = tmp_path / "gone"
    take, under_way, most = jobs(config, tmp_path, *changes), 0, 0

    def counted() -> Job | None:
        nonlocal under_way, most
        job = take()
        under_way += job is not None
        most = max(most, under_way)
        return job

    outcomes = {}
    for outcome in engine.run(counted):
        under_way -= 1
        outcomes[outcome.job.scan_id] = outcome
    ends = {names[int(scan_id)]: (each.ended, each.message, each.hint) for scan_id, each in outcomes.items()}
    assert len(outcomes) == len(names)
    assert ends["slow"] == ("overdue", "The scan did not end within 1 s and 0 s more, and was killed.", "")
    assert ends["killed"][0] == "crashed"
    assert ends["killed"][1].startswith("The scanning process died: ")
    assert ends["misused"] == ("misused", "2 labels for 10 classes.", "Give one for each.")
    assert ends["bug"] == ("crashed", "ZeroDivisionError: boom", "")
    assert ends["unchanged"] == ("unchanged", "", "")
    assert ends["fine"] == ("scanned", "", "")
    assert ends["gone"][0] == "misused"
    assert "does not exist" in ends["gone"][1]
    assert most <= 4, "two under way, one that is told of, and one that could not be sent"
    first, second = (json.loads((tmp_path / f"{n}.safetensors").read_bytes()) for n in (5, 7))
    assert first["images"] == second["images"] == images_digest(list_images(images))
    assert first["pid"] != second["pid"], "each model is scanned in a process of its own"
    assert len(engine._sent) == 1, "images are sent once"


@pytest.mark.slow
def test_the_clock_does_not_run_while_a_scan_waits_for_room(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_scan", _stub())
    monkeypatch.setattr(module, "GRACE", 0.0)
    config = ScanConfig(uri="models:/nap/1", images=draw_images(tmp_path / "images", 1), time_limit=2.5)
    engine, looks = RayEngine(cluster, 4, threads=None), []
    outcomes = list(engine.run(jobs(config, tmp_path, {}, {}, {}, {}), lambda: looks.append(1)))
    engine.close()
    assert [each.ended for each in outcomes] == ["scanned"] * 4, "two of them waited for longer than a scan may take"
    assert looks, "other things are done in the meantime"


@pytest.mark.slow
def test_signals_stay_the_programs_own(cluster: str) -> None:
    def mine(*_: Any) -> None: ...

    before = signal.signal(signal.SIGTERM, mine)
    try:
        engine = RayEngine(cluster, None, threads=None)
        assert signal.getsignal(signal.SIGTERM) is mine
        engine.close()
    finally:
        signal.signal(signal.SIGTERM, before)


@needs_ray
class TestLostCluster:
    def engine(self, monkeypatch: pytest.MonkeyPatch, wait: Callable[..., Any]) -> RayEngine:
        """Return an engine whose cluster is what `wait` makes of it."""
        engine = RayEngine.__new__(RayEngine)
        ray = MagicMock()
        ray.exceptions = importlib.import_module("ray.exceptions")
        ray.wait = wait
        engine.__dict__ |= {"_ray": ray, "_workers": 1, "_started": True, "_ages": None}
        engine.__dict__["_watch"] = module._Watch({("127.0.0.1", free_port()): 0.0})
        monkeypatch.setattr(engine, "_begin", lambda job: job.scan_id)
        return engine

    @pytest.mark.parametrize(
        ("ends", "reason"),
        [
            (lambda *_, **__: ([], []), "nobody answers at 127.0.0.1:"),
            (lambda *_, **__: sys.exit(1), "Ray ended on this machine"),
        ],
        ids=["silent", "gone"],
    )
    def test_is_an_error_with_a_hint(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: Callable[..., Any], reason: str
    ) -> None:
        engine = self.engine(monkeypatch, ends)
        with pytest.raises(EngineError, match="cluster was lost") as caught:
            list(engine.run(jobs(ScanConfig(uri="models:/a/1", images=tmp_path), tmp_path, {})))
        assert reason in caught.value.message
        assert "not scanned again" in caught.value.hint
        assert caught.value.exit_code == 3
        assert not engine._ray.cancel.called, "there is nobody to tell"

    def test_a_short_silence_is_none(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            watch = module._Watch({server.getsockname(): 60.0})
            watch.look()
        watch.look()


@pytest.mark.slow
def test_a_disk_that_is_full_here_is_the_end_of_one_job(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_scan", _stub())
    config = ScanConfig(uri="models:/fine/1", images=draw_images(tmp_path / "images", 1))
    (outcome,) = engine.run(jobs(config, tmp_path / "no folder", {}))
    assert (outcome.ended, "No such file" in outcome.message) == ("crashed", True)


@needs_ray
class TestNoCluster:
    def told(self, address: str) -> str:
        start = time.monotonic()
        with pytest.raises(EngineError) as caught:
            RayEngine(address, None, threads=1)
        assert time.monotonic() - start < 15
        assert "--ray-address" in caught.value.hint
        return caught.value.message

    def test_nobody_listens(self) -> None:
        port = free_port()
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
            message = self.told(address)
            assert message.startswith(f"There is no Ray cluster at {address}: ")
            assert "refused" in message

    def test_a_web_server_listens(self) -> None:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            assert "a web server answers" in self.told(f"127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            server.server_close()

    @pytest.mark.parametrize("address", ["no-such-host.invalid:6379", "http://127.0.0.1:8265"])
    def test_no_address_of_a_cluster(self, address: str) -> None:
        assert f"There is no Ray cluster at {address}" in self.told(address)


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "ray":
            raise ImportError("No module named 'ray'")
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    with pytest.raises(ConfigError, match="No module named 'ray'") as caught:
        RayEngine(None, None, threads=1)
    assert "smoothscan[ray]" in caught.value.hint


class TestBundle:
    @pytest.fixture
    def images(self, tmp_path: Path) -> Path:
        """A folder for each class, as some data sets have it, and things that are no images."""
        root = tmp_path / "data" / "images"
        for kind in ("cats", "dogs"):
            draw_images(root / kind, 2)
        (root / "cats" / "notes.txt").write_text("private")
        (root / "cats" / ".hidden.png").write_text("private")
        return root

    def test_images_stay_what_they_are(self, images: Path, tmp_path: Path) -> None:
        config = ScanConfig(uri="models:/a/1", images=images)
        bundle = Bundle.of(config)
        assert len(bundle.files) == 4, "nothing travels but what a scan reads"
        before = images_digest(list_images(images))
        shutil.rmtree(images)
        there = bundle.unpacked(config, tmp_path / "node")
        assert images_digest(list_images(there.images)) == before
        assert there.model_copy(update={"images": images}) == config

    def test_other_files_travel_too(self, images: Path, tmp_path: Path) -> None:
        (tmp_path / "my clean.json").write_text("{}")
        (tmp_path / "denoiser" / "unet").mkdir(parents=True)
        (tmp_path / "denoiser" / "unet" / "weights.safetensors").write_bytes(b"weights")
        (tmp_path / "denoiser" / "model_index.json").write_text("{}")
        config = ScanConfig(
            uri="models:/a/1",
            images=images,
            calibration=tmp_path / "my clean.json",
            denoiser=str(tmp_path / "denoiser"),
        )
        there = Bundle.of(config).unpacked(config, tmp_path / "node")
        assert there.calibration is not None
        assert there.calibration.read_text() == "{}"
        assert there.denoiser is not None
        assert (Path(there.denoiser) / "unet" / "weights.safetensors").read_bytes() == b"weights"
        assert (tmp_path / "node") in Path(there.denoiser).parents

    def test_a_denoiser_that_is_no_folder_is_fetched_there(self, images: Path, tmp_path: Path) -> None:
        config = ScanConfig(uri="models:/a/1", images=images, denoiser="owner/name")
        assert Bundle.of(config).unpacked(config, tmp_path / "node").denoiser == "owner/name"
