"""Both engines with real scans: the same model gives the same verdict, whoever scans it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from smoothscan.config import ScanConfig
from smoothscan.errors import EngineError
from smoothscan.fleet.engines import local
from smoothscan.fleet.engines.interface import Job, Outcome, Take
from smoothscan.fleet.engines.local import LocalEngine
from smoothscan.fleet.machine import Share
from smoothscan.packed import unpack
from tests import planted


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ScanConfig:
    """A quick scan of a backdoored model in a local folder."""
    import mlflow

    folder = tmp_path_factory.mktemp("engines")
    images = planted.write_images(folder / "images", planted.images())
    mlflow.pytorch.save_model(
        planted.PlantedNet(True).eval(),
        folder / "model",
        input_example=planted.images(2).numpy(),
        pip_requirements=["torch"],
    )
    return ScanConfig(
        uri=str(folder / "model"),
        images=images,
        profile="quick",
        spaces=("l2",),
        input={"value_range": (0, 1)},
        cache=False,
        threads=1,
    )


def jobs(config: ScanConfig, folder: Path, *changes: dict[str, Any]) -> Take:
    waiting = [
        Job(scan_id=str(n), config=config.model_copy(update=each), into=folder / f"{n}.safetensors")
        for n, each in enumerate(changes)
    ]
    return lambda: waiting.pop(0) if waiting else None


def flags_the_target(outcome: Outcome) -> bool:
    assert outcome.ended == "scanned", outcome.message
    result, exhibits = unpack(outcome.job.into)
    return (
        result.verdict in ("suspicious", "backdoored") and result.target_classes == (planted.TARGET,) and bool(exhibits)
    )


def host_of(worker: psutil.Process) -> list[psutil.Process]:
    return worker.children(recursive=True)


def wait_for(found: Callable[[], Any], limit: float = 60) -> Any:
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if answer := found():
            return answer
        time.sleep(0.05)
    pytest.fail("it did not happen")


def test_a_local_worker_scans_survives_wrong_settings_and_is_replaced_when_it_is_killed(
    config: ScanConfig, tmp_path: Path
) -> None:
    engine = LocalEngine((Share(1),), tmp_path)
    assert engine.describe() == "local, 1 worker with 1 thread"
    take = jobs(config, tmp_path, {"images": tmp_path / "nowhere"}, {}, {"profile": "paper"})
    outcomes = engine.run(take)
    try:
        wrong = next(outcomes)
        assert (wrong.ended, "does not exist" in wrong.message) == ("misused", True)
        assert flags_the_target(next(outcomes))
        worker = psutil.Process(engine._workers[0]._process.pid)
        killer = subprocess.Popen(["sh", "-c", f"sleep 2; kill -9 {worker.pid}"])
        died = next(outcomes)
        killer.wait()
        assert (died.ended, "died" in died.message) == ("crashed", True)
        assert list(outcomes) == []
        again = list(engine.run(jobs(config, tmp_path, {"images": tmp_path / "nowhere"})))
        assert [each.ended for each in again] == ["misused"], "a new process took its place"
    finally:
        engine.close()
    assert not worker.is_running()


def test_a_worker_that_is_overdue_is_killed(
    config: ScanConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "GRACE", 0.0)
    engine = LocalEngine((Share(1),), tmp_path)
    late = list(engine.run(jobs(config, tmp_path, {"profile": "paper", "time_limit": 0.5})))
    assert [each.ended for each in late] == ["overdue"]
    engine.close()


_SWEEP = """
import sys
from pathlib import Path
from smoothscan.fleet.engines.interface import Job
from smoothscan.fleet.engines.local import LocalEngine
from smoothscan.fleet.machine import Share
jobs = [Job.model_validate_json(sys.argv[1])]
list(LocalEngine((Share(1),), Path(sys.argv[2])).run(lambda: jobs.pop() if jobs else None))
"""


def test_workers_and_their_models_end_when_the_sweep_is_killed(config: ScanConfig, tmp_path: Path) -> None:
    job = Job(scan_id="0", config=config.model_copy(update={"profile": "paper"}), into=tmp_path / "0.safetensors")
    sweep = subprocess.Popen([sys.executable, "-c", _SWEEP, job.model_dump_json(), str(tmp_path)])
    worker = wait_for(lambda: psutil.Process(sweep.pid).children())[0]
    hosts = wait_for(lambda: host_of(worker))
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.wait()
    assert psutil.wait_procs([worker, *hosts], timeout=20)[1] == []


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A Ray cluster of two nodes with a core each."""
    utils = pytest.importorskip("ray.cluster_utils", reason="needs Ray: pip install 'smoothscan[ray]'")
    import ray

    nodes = utils.Cluster()
    for _ in range(2):
        nodes.add_node(num_cpus=1, include_dashboard=False, object_store_memory=2**27)
    yield nodes.address
    ray.shutdown()
    nodes.shutdown()


@pytest.mark.slow
def test_ray_gives_what_this_machine_gives_and_tells_what_goes_wrong(
    config: ScanConfig, tmp_path: Path, cluster: str
) -> None:
    from smoothscan.fleet.engines.ray import RayEngine

    engine = RayEngine(cluster, None, threads=1)
    try:
        assert engine.describe() == "ray, 2 at a time on 2 nodes"
        outcomes = {each.job.scan_id: each for each in engine.run(jobs(config, tmp_path, {}, {"seed": 1}))}
        assert flags_the_target(outcomes["0"])
        assert flags_the_target(outcomes["1"])
        result, _ = unpack(outcomes["0"].job.into)
        assert result.config["images"] != str(config.images), "the images travelled"
        late = list(engine.run(jobs(config, tmp_path, {"uri": "no such folder"})))
        assert [unpack(each.job.into)[0].status for each in late] == ["failed"]
    finally:
        engine.close()


@pytest.mark.timeout(60)
def test_a_cluster_that_is_not_there_is_an_error() -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'smoothscan[ray]'")
    from smoothscan.fleet.engines.ray import RayEngine

    with pytest.raises(EngineError, match="There is no Ray cluster at"):
        RayEngine("127.0.0.1:1", None, threads=1)
