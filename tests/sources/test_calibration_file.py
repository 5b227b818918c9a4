from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from smoothscan.config import ScanConfig
from smoothscan.errors import ConfigError
from smoothscan.sources import calibration_file
from smoothscan.sources.calibration_file import (
    SCHEMA_VERSION,
    calibration_for,
    differences,
    read_calibration,
    settings_of,
    to_json,
)
from smoothscan.verdict.calibration import Calibration, CleanModel


def config(**changes: Any) -> ScanConfig:
    return ScanConfig(uri="models:/x/1", images=Path("images"), **changes)


def calibration(**changes: Any) -> Calibration:
    models = (
        CleanModel(uri="models:/clean/1", digest="sha256:a", anomaly=0.3),
        CleanModel(uri="models:/tr\u00e4ger/2", digest=None, anomaly=-0.1),
    )
    return Calibration(settings=settings_of(config(**changes)), models=models)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "clean.json"
    file.write_bytes(to_json(calibration()))
    return file


def test_what_is_written_is_read(path: Path) -> None:
    assert read_calibration(path) == calibration()
    data = json.loads(path.read_bytes())
    assert data["schema_version"] == SCHEMA_VERSION
    assert abs((datetime.now(UTC) - datetime.fromisoformat(data["created_at"])).total_seconds()) < 60
    assert data["settings"]["smoothscan"]


def test_a_scan_without_a_calibration_needs_no_file() -> None:
    assert calibration_for(config()) is None


def test_what_does_not_change_an_anomaly_may_differ(path: Path) -> None:
    scan = config(calibration=path, seed=5, threads=1, fail_on="backdoored", tracking_uri="http://elsewhere")
    assert calibration_for(scan) == calibration()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"profile": "paper"}, r"profile is standard \(\w+\) there and paper \(\w+\) here"),
        ({"spaces": ("warp", "l2")}, "spaces is the profile's there and l2, warp here"),
        ({"pairs": True}, "pairs is not searched there and searched here"),
        ({"sigma": 0.25}, "sigma is the profile's there and 0.25 here"),
        ({"synthesis_images": 3}, "synthesis_images is 1 there and 3 here"),
    ],
)
def test_other_settings_are_named(path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        calibration_for(config(calibration=path, **changes))
    assert str(path) in caught.value.message
    assert "smoothscan calibrate" in caught.value.hint
    (name,) = changes
    assert differences(calibration(), config(**changes)).count(" there and ") == 1, f"only {name} differs"


def test_an_anomaly_of_another_version_is_not_compared(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration_file, "__version__", "99.0")
    with pytest.raises(ConfigError, match=r"smoothscan is .* there and 99\.0 here"):
        calibration_for(config(calibration=path))


def test_a_changed_profile_is_another_profile(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = {**calibration_file.PROFILES}
    profiles["standard"] = profiles["standard"].model_copy(update={"steps": 31})
    monkeypatch.setattr(calibration_file, "PROFILES", profiles)
    with pytest.raises(ConfigError, match="profile is standard"):
        calibration_for(config(calibration=path))


def test_settings_that_were_not_recorded_differ(path: Path) -> None:
    data = json.loads(path.read_bytes())
    del data["settings"]
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match="sigma is not recorded there"):
        calibration_for(config(calibration=path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"clean models", "it holds no JSON"),
        (b"\xff\xfe", "it holds no JSON"),
        (b"[1, 2]", "it has no schema_version"),
        (b'{"models": []}', "it has no schema_version"),
        (b'{"schema_version": "2.0", "models": []}', "schema version 2.0; this smoothscan reads 1.0"),
        (b'{"schema_version": "1.0", "status": "completed"}', "models: field required"),
        (b'{"schema_version": "1.0", "models": [{"uri": "x", "digest": null}]}', "models.0.anomaly"),
        (b'{"schema_version": "1.0", "models": [{"uri": "x", "digest": null, "anomaly": NaN}]}', "models.0.anomaly"),
        (b'{"schema_version": "1.0", "models": []}', "holds no clean models"),
    ],
)
def test_what_is_no_calibration(path: Path, text: bytes, said: str) -> None:
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=said) as caught:
        read_calibration(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.json does not exist") as caught:
        read_calibration(tmp_path / "nowhere.json")
    assert "smoothscan calibrate --clean" in caught.value.hint
    with pytest.raises(ConfigError, match="cannot be read"):
        read_calibration(tmp_path)
