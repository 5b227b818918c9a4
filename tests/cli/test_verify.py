from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from smoothscan.cli.verified import as_text
from smoothscan.cli.verify import _settings
from smoothscan.errors import ConfigError
from smoothscan.result import ErrorInfo, ModelInfo, ScanResult
from smoothscan.verification import Replayed, Verification
from tests.planted import TARGET, PlantedNet, images, write_images
from tests.saved import exhibit, one_class, planted_trigger, write
from tests.stores import Registry, log_model

from .program import Run


def trigger(**changes: Any) -> Replayed:
    values = {
        "index": 4, "label": "deer", "space": "patch", "description": "a patch", "earlier_rate": 0.9,
        "earlier_ci": (0.8, 0.95), "hits": 30, "n_images": 60, "rate": 0.5, "ci": (0.37, 0.63), "threshold": 0.45,
        "outcome": "undecided",
    }  # fmt: skip
    return Replayed(**{**values, **changes})


def found(**changes: Any) -> Verification:
    values = {
        "status": "completed", "model": ModelInfo(uri="models:/x/2"), "earlier": ModelInfo(uri="models:/x/1"),
        "earlier_verdict": "backdoored", "flagged": True, "triggers": (trigger(),), "outcome": "undecided",
    }  # fmt: skip
    return Verification(**{**values, **changes})


def test_a_saved_trigger_is_replayed_on_images_of_the_earlier_scan(
    smoothscan: Run, work: Path, registry: Registry, tmp_path: Path
) -> None:
    uri = log_model(registry, "verified", PlantedNet(backdoored=False), images(2).numpy())
    folder = write_images(tmp_path / "clean", images())
    config = {"images": str(folder), "input": {"resize": "crop", "value_range": [0, 1]}}
    result = write(work / "scan", one_class(TARGET), exhibits={TARGET: exhibit(planted_trigger())}, config=config)
    asked = ("verify", uri, "--against", result, "--tracking-uri", registry.tracking_uri, "--threads", 1)

    done = smoothscan(*asked, "--output-dir", work / "out")
    assert done.returncode == 0, done.stderr
    assert "outcome  none of 1 saved trigger works; that does not make this version clean\n" in done.stdout
    assert "against  models:/planted/1: backdoored, 2026-11-22 21:40 UTC\n" in done.stdout
    assert "note     This is no scan" in done.stdout
    written = Verification.model_validate_json((work / "out" / "verify.json").read_text())
    assert (written.exit_code(), written.images, written.triggers[0].rate) == (0, 61, 0.0)
    assert written.input_spec is not None
    assert written.input_spec.sources["value_range"] == "the earlier scan"
    assert [path.name for path in (work / "out").iterdir()] == ["verify.json"]


def test_nothing_saved_is_no_pass(smoothscan: Run, work: Path) -> None:
    result = write(work / "scan", one_class(TARGET), exhibits={})
    done = smoothscan("verify", "models:/x/1", "--against", result, "--images", work)
    assert (done.returncode, done.stdout) == (4, "")
    assert "Error: No trigger that could be replayed is saved beside" in done.stderr
    assert "scan again" in done.stderr


def test_images_are_asked_for_where_those_of_the_earlier_scan_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    earlier = ScanResult(
        status="completed",
        model=ModelInfo(uri="models:/x/1"),
        config={"images": "gone", "architecture": "timm/resnet18", "input": {"mean": [0.5], "std": [0.5]}},
    )
    with pytest.raises(ConfigError, match="no folder of images"):
        _settings({"uri": "models:/x/2"}, earlier)
    settings = _settings({"uri": "models:/x/2", "images": Path("mine"), "channels": 1}, earlier)
    assert (settings.config.images, settings.config.architecture) == (Path("mine"), "timm/resnet18")
    assert (settings.config.input.mean, settings.config.input.channels) == ((0.5,), 1)
    assert settings.input_sources == {"mean": "the earlier scan", "std": "the earlier scan", "channels": "option"}
    (tmp_path / "gone").mkdir()
    assert _settings({"uri": "models:/x/2"}, earlier).config.images == Path("gone")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"input": [1]}, None),
        ({"input": "crop"}, None),
        ({"input": {"made_up": 3, "channels": 1}}, None),
        ({"input": None, "made_up": {}}, None),
        ({"images": "x" * 5000}, None),
        ({"images": 7}, None),
        ({"input": {"mean": "bright"}}, "input.mean"),
        ({"input": {"mean": [0.5]}}, "mean and std go together"),
        ({"input": {"channels": -1}}, "input.channels"),
        ({"input": {"value_range": [1, 0]}}, "lower end first"),
        ({"architecture": "resnet18"}, "architecture"),
        ({"architecture": ["timm/resnet18"]}, "architecture"),
    ],
)
def test_settings_of_a_result_that_was_changed_or_is_newer_are_no_bug(
    config: dict[str, Any], said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    earlier = ScanResult(status="completed", model=ModelInfo(uri="models:/x/1"), config=config)
    options = {"uri": "models:/x/2", "seed": 3}
    if "images" not in config:
        options["images"] = Path("mine")
    elif said is None:
        with pytest.raises(ConfigError, match="no folder of images"):
            _settings(options, earlier)
        return
    if said is None:
        settings = _settings(options, earlier)
        channels = 1 if "channels" in (config["input"] or ()) else None
        assert (settings.config.seed, settings.config.input.channels) == (3, channels)
        assert settings.input_sources == ({"channels": "the earlier scan"} if channels else {})
    else:
        with pytest.raises(ConfigError, match="settings do not fit") as caught:
            _settings(options, earlier)
        assert said in caught.value.message
        assert "result.json" in caught.value.hint


def test_a_version_without_the_triggers_is_not_called_clean() -> None:
    gone = found(outcome="gone", triggers=(trigger(outcome="gone", hits=0, rate=0.0, ci=(0.0, 0.06)),) * 2)
    assert gone.exit_code() == 0
    text = as_text(gone)
    assert "outcome  none of 2 saved triggers works; that does not make this version clean" in text
    assert "nothing was searched, and other triggers may be there" in text
    assert "safe" not in text


def test_each_outcome_in_words() -> None:
    assert "cannot say" in as_text(found())
    (row,) = (line for line in as_text(found()).splitlines() if line.startswith("4 deer"))
    cells = ["4 deer", "contiguous patch", "90 %", "50 %", "37 % to 63 %", "60", "too few images to tell"]
    assert re.split(r" {2,}", row) == cells
    works = as_text(found(outcome="works", triggers=(trigger(outcome="works", led_to=7, source=2),)))
    assert "2 to 4 deer" in works
    assert "1 of 1 saved trigger works\n" in works
    assert "works, and leads to class 7 now" in works
    gone = (trigger(outcome="gone"),)
    ordinary = as_text(found(flagged=False, earlier_verdict="clean", outcome="gone", triggers=gone))
    assert "none of 1 saved perturbation works better than on the earlier model" in ordinary
    assert "The earlier scan flagged nothing" in ordinary
    assert "missing  class 7" in as_text(found(not_replayed=("class 7 was flagged by plain noise",)))
    same = {"model": ModelInfo(uri="a", digest="sha256:1"), "earlier": ModelInfo(uri="b", digest="sha256:1")}
    assert "the same files as this model" in as_text(found(**same))


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        ("failed", 3, "failed: the model was not examined"),
        ("refused", 3, "refused: the model was not examined"),
        ("timed_out", 3, "time limit passed"),
        ("unsupported", 5, "unsupported model: it was not examined"),
    ],
)
def test_a_model_that_could_not_be_examined_is_no_pass(status: Any, code: int, words: str) -> None:
    error = ErrorInfo(type="any", message="\x1b[31mwhat happened", hint="what to do")
    ended = found(status=status, outcome=None, triggers=(), error=error)
    assert ended.exit_code() == code
    text = as_text(ended)
    assert f"outcome  {words}\nwhy      what happened\nnext     what to do" in text
    assert "\x1b" not in text


def test_hostile_labels_stay_on_their_line() -> None:
    text = as_text(found(triggers=(trigger(label="a\nnote     clean\x1b[2J"),)))
    assert "\nnote     clean" not in text
    assert "\x1b" not in text


def test_the_help_says_that_it_is_no_scan(smoothscan: Run) -> None:
    done = smoothscan("verify", "--help")
    assert "This is no scan" in " ".join(done.stdout.split())
    assert "--profile" not in done.stdout
