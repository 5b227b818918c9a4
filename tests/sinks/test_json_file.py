from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.exhibits import Exhibits
from smoothscan.result import ClassResult, ModelInfo, ScanResult
from smoothscan.sinks.json_file import JsonSink, schema, to_json

from .samples import Sample, backdoored


def strictly(data: bytes) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(data, parse_constant=refuse)


def test_every_result_survives_the_round_trip(any_sample: Sample, tmp_path: Path) -> None:
    (path,) = JsonSink().write(any_sample.result, any_sample.exhibits, tmp_path / "out")
    assert path == tmp_path / "out" / "result.json"
    data = path.read_bytes()
    assert ScanResult.model_validate(strictly(data)) == any_sample.result
    assert data.startswith(b'{\n  "schema_version": "1.0",\n  "status": ')
    assert data.endswith(b"}\n")


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, finite, finite, st.text(st.characters(codec="utf-8")), st.dictionaries(st.text("abc"), finite))
def test_numbers_and_text_survive(
    score: float, epsilon: float, low: float, label: str, config: dict[str, float]
) -> None:
    one = ClassResult(
        index=0, label=label, score=score, transfer_rate=low, transfer_ci=(low, low), n_images=1, epsilon=epsilon,
        sigma=0.1, p_value=None, flagged=False,
    )  # fmt: skip
    result = ScanResult(status="completed", model=ModelInfo(uri="x"), score=score, classes=(one,), config=config)
    assert ScanResult.model_validate(strictly(to_json(result))) == result


def test_equal_results_give_equal_bytes() -> None:
    result = backdoored().result
    turned = result.model_copy(
        update={
            "config": dict(reversed(result.config.items())),
            "environment": dict(reversed(result.environment.items())),
            "model": result.model.model_copy(update={"files": dict(reversed(result.model.files.items()))}),
        }
    )
    assert to_json(turned) == to_json(result)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_refuses_what_json_cannot_say(bad: float, tmp_path: Path) -> None:
    result = backdoored().result.model_copy(update={"score": bad})
    with pytest.raises(ValueError, match="JSON"):
        JsonSink().write(result, Exhibits(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_file_names_that_are_no_unicode() -> None:
    result = ScanResult(status="failed", model=ModelInfo(uri="models\udcff", files={"a\udcff": "sha256:0"}))
    (name,) = strictly(to_json(result))["model"]["files"]
    assert name.startswith("a")
    name.encode("utf-8")


def test_the_shipped_schema_is_the_present_one() -> None:
    shipped = resources.files("smoothscan").joinpath("result.schema.json").read_text("utf-8")
    again = "regenerate it: python -m smoothscan.sinks.json_file > smoothscan/result.schema.json"
    assert json.loads(shipped) == {"$schema": json.loads(shipped)["$schema"], **ScanResult.model_json_schema()}, again
    assert shipped == schema(), again


def test_the_module_prints_the_schema() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "smoothscan.sinks.json_file"], capture_output=True, text=True, check=True
    )
    assert done.stdout == schema()


def test_results_follow_the_schema(any_sample: Sample) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(json.loads(to_json(any_sample.result)), json.loads(schema()))


def test_loads_neither_torch_nor_mlflow() -> None:
    code = (
        "import smoothscan.sinks.json_file, sys; print([m for m in ('torch', 'mlflow', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
