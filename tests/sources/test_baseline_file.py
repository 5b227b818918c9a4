from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smoothscan.errors import ConfigError
from smoothscan.result import ModelInfo, ScanResult
from smoothscan.sources import registered_name
from smoothscan.sources.baseline_file import read_baseline


def result(**changes: Any) -> ScanResult:
    values: dict[str, Any] = {"status": "completed", "verdict": "clean", "model": ModelInfo(uri="models:/x/1")}
    return ScanResult(**(values | changes))


def test_what_a_scan_wrote_is_read(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(result().model_dump_json())
    assert read_baseline(path) == result()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no JSON"),
        ("[]", "no schema_version"),
        ('{"models": []}', "no schema_version"),
        ('{"schema_version": "2.0"}', "has the schema version 2.0; this smoothscan reads 1.0"),
        ('{"schema_version": "1.9"}', "status: field required"),
        (result(status="failed", verdict=None).model_dump_json(), "did not complete (failed)"),
        (result(status="timed_out", verdict=None).model_dump_json(), "did not complete (timed_out)"),
    ],
)
def test_anything_else_is_no_baseline(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_baseline(path)
    assert message in caught.value.message
    assert str(path) in caught.value.message


def test_a_baseline_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_baseline(tmp_path / "result.json")


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("models:/digits/3", "digits"),
        ("models:/digits@champion", "digits"),
        ("models:/a@b/3", "a@b"),
        ("models:/a@b@champion", "a@b"),
        ("models:/digits/latest", "digits"),
        ("models:/m-0123456789abcdef0123456789abcdef", None),
        ("runs:/0123/model", None),
        ("a/folder", None),
    ],
)
def test_the_registered_name_in_a_uri(uri: str, name: str | None) -> None:
    assert registered_name(uri) == name
