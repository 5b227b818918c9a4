from __future__ import annotations

import uuid
from contextlib import nullcontext
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from smoothscan.cli.display import steady
from smoothscan.cli.fleet_setup import Rules, scanner_of
from smoothscan.cli.settings import choices
from smoothscan.cli.sweep import _run
from smoothscan.errors import ConfigError, OutputError
from smoothscan.fleet.ledger import Ledger
from smoothscan.fleet.sweep import Sweep, SweepOptions
from smoothscan.result import WriteBack
from smoothscan.sources.inventory import Registered, Selection
from tests.fleet.stubs import digest_of
from tests.fleet.world import Engine, Watch, World, ended, scanned
from tests.stores import draw_images

SIGNS = Registered(name="signs", version="1", identity="i", created=0.0)


@pytest.fixture
def world(registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A real registry, and an empty folder as the current one."""
    monkeypatch.chdir(tmp_path)
    return World(tmp_path, registry.tracking_uri)


@pytest.fixture
def name() -> str:
    """The name of a model that no other test has."""
    return f"model-{uuid.uuid4().hex}"


@pytest.fixture
def options(world: World, tmp_path: Path) -> dict[str, Any]:
    """What a command is told of images and registry."""
    return {"images": draw_images(tmp_path / "images", 2), "tracking_uri": world.tracking_uri}


def test_the_server_scans_what_is_due_of_the_versions_it_hears_of(
    world: World, name: str, options: dict[str, Any]
) -> None:
    one, _ = world.register(name, f"{name}-too")
    chosen = choices(options)
    engine = Engine()
    with Ledger(world.ledger_path) as ledger:
        scan = scanner_of(chosen, chosen.common("out"), ledger, lambda: engine, Watch())
        found = scan([(name, "1"), ("gone", "7")])
        assert (found[name, "1"].verdict, found[name, "1"].passed) == ("clean", True)
        assert (found["gone", "7"].status, found["gone", "7"].verdict) == ("failed", None)
        assert scan([(name, "1")])[name, "1"].action == "kept"
    assert engine.scanned == [one], "nothing else of the registry was scanned, and nothing twice"


def test_a_server_uses_an_engine_for_each_batch_and_tries_as_often_as_it_is_told(
    world: World, name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smoothscan.fleet.sweep._PAUSE", 0.001)
    world.register(name)
    chosen = choices(options)
    engines: list[Engine] = []

    def make() -> Engine:
        engines.append(Engine({name: ended("crashed", "no")}))
        return engines[-1]

    with Ledger(world.ledger_path) as ledger:
        scan = scanner_of(chosen, chosen.common("out"), ledger, make, Watch(), retries=1)
        for _ in range(2):
            assert scan([(name, "1")])[name, "1"].status == "failed"
    assert [(len(each.jobs), each.closed) for each in engines] == [(2, 1), (2, 1)]


def test_waivers_that_were_taken_back_are_not_remembered(world: World, name: str, options: dict[str, Any]) -> None:
    (uri,) = world.register(name)
    waivers = Path("waivers.toml")
    waivers.write_text(f"""
        [[waiver]]
        model_digest = "{digest_of(uri)}"
        class = 0
        reason = "known"
        owner = "ann"
        expires = {date.today() + timedelta(days=9)}
    """)
    chosen = choices({**options, "waivers": waivers})
    engine = Engine({name: lambda job: scanned(job, "backdoored")})
    with Ledger(world.ledger_path) as ledger:
        scan = scanner_of(chosen, chosen.common("out"), ledger, lambda: engine, Watch())
        first = scan([(name, "1")])[name, "1"]
        assert first.passed
        assert f"is waived by ann until {date.today() + timedelta(days=9)}: known." in first.set_aside[0]
        waivers.write_text("")
        assert not scan([(name, "1")])[name, "1"].passed
    assert len(engine.jobs) == 1


def test_a_sweep_that_is_run_again_goes_on_with_its_run(
    world: World, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from smoothscan.sinks import sweep_run

    world.register(name)
    ids: list[str] = []

    def log(_posture: Any, _folder: Path, *, sweep_id: str, **_: Any) -> WriteBack:
        ids.append(sweep_id)
        if len(ids) == 1:
            raise KeyboardInterrupt
        return WriteBack(status="done", run_id="r")

    monkeypatch.setattr(sweep_run, "log_sweep", log)
    common = choices({"tracking_uri": world.tracking_uri}).common("out")
    what = SweepOptions(
        selection=Selection(names=(name,)), output_dir=tmp_path / "out", tracking_uri=world.tracking_uri
    )
    events = steady("none", verbose=False)
    with Ledger(world.ledger_path) as ledger:
        for stopped in (True, False, False):
            sweep = Sweep(what, world.order_of, world.judged, ledger, Engine(), Watch())
            with pytest.raises(KeyboardInterrupt) if stopped else nullcontext():
                _run(sweep, what, "none", common, events, ledger)
    assert ids[0] == ids[1] != ids[2]


def test_files_that_waive_or_sign_are_read_before_anything_is_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = draw_images(tmp_path / "images", 2)
    Path("waivers.toml").write_text("[[waiver]]\n")
    with pytest.raises(ConfigError, match=r"waivers\.toml"):
        order_of({"images": images, "waivers": Path("waivers.toml")})
    with pytest.raises(ConfigError, match=r"key\.pem"):
        order_of({"images": images, "attest": True, "attest_key": Path("key.pem")})
    with pytest.raises(OutputError, match="folder of images"):
        order_of({"images": images, "output_dir": images / "out"})


def test_what_is_about_one_model_is_left_out_and_wrong_settings_are_a_problem_of_their_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = draw_images(tmp_path / "images", 2)
    order = order_of({"images": images, "set_alias": "champion", "baseline": Path("older.json")})
    assert (order.config.set_alias, order.config.baseline, order.problem) == (None, None, None)
    assert order.config.output_dir == Path("out/signs/1")
    wrong = order_of({"images": tmp_path / "nowhere"})
    assert "does not exist" in wrong.problem.message
    assert (wrong.config.uri, wrong.digest) == ("models:/signs/1", "")


def order_of(options: dict[str, Any]) -> Any:
    chosen = choices(options)
    return Rules(chosen, chosen.common("out")).order_of(SIGNS)
