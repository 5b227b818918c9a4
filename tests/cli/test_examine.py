from __future__ import annotations

from pathlib import Path

import pytest

from smoothscan import publish as module
from smoothscan.cli.examine import examine
from smoothscan.cli.settings import Settings, resolve
from smoothscan.errors import OutputError
from smoothscan.events import Silent
from smoothscan.exhibits import Exhibits
from smoothscan.gate import judge
from smoothscan.result import ModelInfo, ScanResult

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


class Stopping:
    """A sink during which the user presses Ctrl-C, half a file already written."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def write(self, result: ScanResult, exhibits: Exhibits, folder: Path) -> tuple[Path, ...]:
        (folder / "result.json").write_text("{")
        raise self.error


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
    written = ScanResult.model_validate_json((settings.config.output_dir / "result.json").read_text())
    assert written == judge(RESULT)
