from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from smoothscan.errors import OutputError
from smoothscan.posture import Posture
from smoothscan.sinks.sweep_json import schema, to_json, write_posture

from .postures import POSTURES, mixed, posture, standing

every_posture = pytest.mark.parametrize("make", POSTURES.values(), ids=POSTURES)


def strictly(data: bytes) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(data, parse_constant=refuse)


@every_posture
def test_every_sweep_survives_the_round_trip(make: Callable[[], Posture], tmp_path: Path) -> None:
    path = write_posture(make(), tmp_path / "out")
    assert path == tmp_path / "out" / "sweep.json"
    data = path.read_bytes()
    assert strictly(data)["schema_version"] == "1.0"
    assert data.endswith(b"}\n")
    again = Posture.model_validate_json(path.read_bytes())
    assert to_json(again) == data
    if make is not POSTURES["hostile"]:  # a surrogate by itself is no character and becomes a mark
        assert again == make()


@every_posture
def test_sweeps_follow_the_schema(make: Callable[[], Posture]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(strictly(to_json(make())), json.loads(schema()))


def test_equal_sweeps_give_equal_bytes() -> None:
    sweep = mixed()
    turned = {name: dict(reversed(getattr(sweep, name).items())) for name in ("selection", "counts", "environment")}
    assert to_json(sweep.model_copy(update=turned)) == to_json(sweep)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_refuses_what_json_cannot_say(bad: float, tmp_path: Path) -> None:
    wrong = standing("a", "1").model_copy(update={"score": bad})
    with pytest.raises(ValueError, match="JSON"):
        write_posture(mixed().model_copy(update={"models": (wrong,)}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_older_sweep_stays_where_the_new_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_posture(mixed(), tmp_path)
    before = path.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("smoothscan.files.write_whole", full)
    with pytest.raises(OutputError, match="No space left"):
        write_posture(posture([]), tmp_path)
    assert path.read_bytes() == before


def test_fields_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    path = write_posture(mixed(), tmp_path)
    data = json.loads(path.read_bytes())
    data["later"] = data["models"][0]["later"] = {"a": 1}
    path.write_text(json.dumps(data))
    assert Posture.model_validate_json(path.read_bytes()) == mixed()


def test_the_shipped_schema_is_the_present_one() -> None:
    shipped = resources.files("smoothscan").joinpath("sweep.schema.json").read_text("utf-8")
    again = "regenerate it: python -m smoothscan.sinks.sweep_json > smoothscan/sweep.schema.json"
    assert shipped == schema(), again


def test_the_module_prints_the_schema_and_loads_nothing_heavy() -> None:
    code = (
        "import runpy, sys; runpy.run_module('smoothscan.sinks.sweep_json', run_name='__main__')\n"
        "print([m for m in ('torch', 'mlflow', 'jinja2') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == schema()
    assert done.stderr.strip() == "[]"
