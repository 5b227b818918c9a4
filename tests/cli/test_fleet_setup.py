from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from smoothscan.cli.fleet_setup import Rules, scanner_of
from smoothscan.cli.settings import choices
from smoothscan.errors import ConfigError, OutputError
from smoothscan.fleet.ledger import Ledger
from smoothscan.sources.inventory import Registered
from tests.fleet.world import Engine, Watch, World
from tests.stores import draw_images

SIGNS = Registered(name="signs", version="1", identity="i", created=0.0)


def test_the_server_scans_what_is_due_of_the_versions_it_hears_of(
    registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    world = World(tmp_path, registry.tracking_uri)
    name = f"heard-{uuid.uuid4().hex}"
    one, _ = world.register(name, f"{name}-too")
    chosen = choices({"images": draw_images(tmp_path / "images", 2), "tracking_uri": registry.tracking_uri})
    engine = Engine()
    with Ledger(world.ledger_path) as ledger:
        scan = scanner_of(chosen, chosen.common("out"), ledger, lambda: engine, Watch())
        found = scan([(name, "1"), ("gone", "7")])
        assert (found[name, "1"].verdict, found[name, "1"].passed) == ("clean", True)
        assert (found["gone", "7"].status, found["gone", "7"].verdict) == ("failed", None)
        assert scan([(name, "1")])[name, "1"].action == "kept"
    assert engine.scanned == [one], "nothing else of the registry was scanned, and nothing twice"


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
