"""A real cluster of two nodes: the same model gives the same verdict as on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smoothscan.config import ScanConfig
from smoothscan.errors import EngineError
from smoothscan.fleet.engines.interface import Job, Outcome, Take
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
