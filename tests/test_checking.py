from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from smoothscan import publish as module
from smoothscan.checking import check
from smoothscan.cli.settings import Settings, resolve
from smoothscan.errors import OutputError
from smoothscan.events import Silent
from smoothscan.exhibits import Exhibits
from smoothscan.gate import judge
from smoothscan.result import ModelInfo, Promotion, ScanResult, WriteBack

RESULT = ScanResult(status="completed", verdict="clean", model=ModelInfo(uri="models:/x/1"))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a scan that is over at once."""
    import smoothscan.pipeline

    monkeypatch.setattr(smoothscan.pipeline, "scan", lambda *_args, **_kwargs: (RESULT, Exhibits()))
    options = {
        "uri": "models:/x/1",
        "images": tmp_path / "images",
        "output_dir": tmp_path / "out",
        "formats": ("json",),
    }
    return resolve(options, use_file=False)


def examine(settings: Settings, events: Silent) -> ScanResult:
    return check(settings.config, events, settings.provenance, settings.input_sources)


class Stopping:
    """A sink during which the user presses Ctrl-C, half a file already written."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def write(self, result: ScanResult, exhibits: Exhibits, folder: Path) -> tuple[Path, ...]:
        (folder / "result.json").write_text("{")
        raise self.error


def written(settings: Settings) -> ScanResult:
    return ScanResult.model_validate_json((settings.config.output_dir / "result.json").read_text())


def test_stopped_while_writing_leaves_an_older_result_as_it_was(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = settings.config.output_dir
    out.mkdir()
    (out / "result.json").write_text("older")
    monkeypatch.setattr(module, "sinks", lambda *_: ([], [Stopping(KeyboardInterrupt())]))
    with pytest.raises(KeyboardInterrupt) as caught:
        examine(settings, Silent())
    assert caught.value.args == ()
    assert [path.name for path in out.iterdir()] == ["result.json"]
    assert (out / "result.json").read_text() == "older"


def test_a_full_disk_is_an_output_error(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "sinks", lambda *_: ([], [Stopping(OSError(28, "No space left on device"))]))
    with pytest.raises(OutputError, match="No space left"):
        examine(settings, Silent())
    assert not settings.config.output_dir.exists()


def test_stopped_while_writing_back_says_what_is_there(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    import smoothscan.sinks.mlflow_registry as sink

    def stop(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sink, "write_back", stop)
    with pytest.raises(KeyboardInterrupt, match="the results are in"):
        examine(settings, Silent())
    assert written(settings) == judge(RESULT, "suspicious")


@pytest.mark.parametrize("recalled", [False, True])
def test_the_alias_comes_after_the_write_back_and_stands_in_the_result(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, recalled: bool
) -> None:
    import smoothscan.pipeline
    import smoothscan.promotion
    import smoothscan.sinks.mlflow_registry as sink

    model = ModelInfo(uri="models:/x/1", name="x", version="1", digest="sha256:0", files={"MLmodel": "1"})
    scanned = RESULT.model_copy(update={"model": model, "recalled": recalled})
    monkeypatch.setattr(smoothscan.pipeline, "scan", lambda *_args, **_kwargs: (scanned, Exhibits()))
    seen: list[object] = []

    def write_back(result: ScanResult, folder: Path, **_servers: object) -> WriteBack:
        seen.append((result.promotion, {path.name for path in folder.iterdir()}))
        return WriteBack(status="done")

    def promote(result: ScanResult, alias: str, **_servers: object) -> Promotion:
        seen.append((result.write_back.status, result.gate))
        return Promotion(alias=alias, status="moved", message="moved")

    monkeypatch.setattr(sink, "write_back", write_back)
    monkeypatch.setattr(smoothscan.promotion, "promote", promote)
    config = settings.config.model_copy(update={"set_alias": "approved", "attest": True})
    result = examine(replace(settings, config=config), Silent())
    assert seen == [(None, {"result.json", "attestation.json"}), ("done", judge(RESULT, "suspicious").gate)]
    assert result.promotion == Promotion(alias="approved", status="moved", message="moved")
    assert written(settings) == result


def test_an_attestation_of_an_older_scan_goes_away(settings: Settings) -> None:
    out = settings.config.output_dir
    out.mkdir()
    (out / "attestation.json").write_text("older")
    examine(replace(settings, config=settings.config.model_copy(update={"write_back": False})), Silent())
    assert [path.name for path in out.iterdir()] == ["result.json"]
