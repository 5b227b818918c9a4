"""The server with the scanner that users have, in front of a real registry."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy

from tests.stores import Registry, draw_images

from .deliveries import created, delivery
from .program import Server, rows, wait_until_done

QUICK = ("--profile", "quick", "--spaces", "l2", "--input-size", "32x32", "--value-range", "0,1", "--workers", "1")


def scans(folder: Path) -> list[tuple[Any, ...]]:
    """What the ledger holds: version, state, verdict."""
    if not (folder / "scans.db").exists():
        return []
    with sqlalchemy.create_engine(
        f"sqlite:///{folder}/scans.db", poolclass=sqlalchemy.NullPool
    ).connect() as connection:
        found = connection.execute(sqlalchemy.text("SELECT version, state, verdict FROM smoothscan_scans"))
        return sorted(tuple(row) for row in found)


def wait_for(what: Callable[[], bool], limit: float = 90) -> None:
    end = time.monotonic() + limit
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_delivery_ends_in_a_recorded_scan_although_the_server_is_killed_in_the_middle(
    server: Registry, tmp_path: Path
) -> None:
    client = server.client()
    name, model = f"served-{uuid.uuid4().hex}", server.model_ids["tiny-pt2"]
    client.create_registered_model(name)
    for _ in range(2):
        client.create_model_version(name, f"models:/{model}", model_id=model)
    draw_images(tmp_path / "images", 24)
    # One model is misdescribed, as it happens to somebody all the time; nobody waits for it.
    (tmp_path / "smoothscan.toml").write_text(
        "[sweep]\nledger = 'scans.db'\n[[model]]\nname = 'odd'\nlabels = 'no.txt'\n"
    )
    words = (*QUICK, "--tracking-uri", server.tracking_uri, "--output-dir", "out", "--format", "html,json")
    with Server(tmp_path, *words, stub=False) as first:
        assert first.post(delivery(created("odd", "7"))) == 202
        assert first.post(delivery(created(name, "1"))) == 202
        wait_for(lambda: ("1", "started", None) in scans(tmp_path))
        family = psutil.Process(first.process.pid).children(recursive=True)
        os.kill(first.process.pid, signal.SIGKILL)
    psutil.wait_procs(family, timeout=30)
    with Server(tmp_path, *words, stub=False) as second:
        assert second.post(delivery(created(name, "2"))) == 202
        wait_until_done(tmp_path, 3, limit=120)
        assert second.end(signal.SIGTERM)[0] == 143
    states = {row[:3]: row[3:] for row in rows(tmp_path, "name, version, state, outcome")}
    verdicts = {version: json.loads((tmp_path / f"out/{name}/{version}/result.json").read_text()) for version in "12"}
    assert states == {
        ("odd", "7", "done"): ("failed",),
        (name, "1", "done"): (verdicts["1"]["verdict"],),
        (name, "2", "done"): (verdicts["2"]["verdict"],),
    }
    assert scans(tmp_path) == [(version, "recorded", verdicts[version]["verdict"]) for version in "12"], "one scan each"
    (experiment,) = [each for each in client.search_experiments() if each.name == "smoothscan"]
    for version, result in verdicts.items():
        tags = client.get_model_version(name, version).tags
        assert tags["smoothscan.verdict"] == result["verdict"]
        found = client.search_runs([experiment.experiment_id], f"tags.`smoothscan.model_name` = '{name}'")
        (run,) = [each for each in found if each.data.tags["smoothscan.model_version"] == version]
        assert tags["smoothscan.run_id"] == run.info.run_id
        assert (tmp_path / f"out/{name}/{version}/report.html").exists()
