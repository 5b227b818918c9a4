from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smoothscan.errors import ConfigError
from smoothscan.events import Silent
from smoothscan.gate import judge
from smoothscan.promotion import promote, require_registered
from smoothscan.result import ModelInfo, Promotion, ScanResult, VerdictName
from smoothscan.sources import present


@pytest.fixture
def name(registry: Any, request: pytest.FixtureRequest) -> str:
    """A registered model of the test's own, without versions."""
    own = request.node.name.partition("[")[0]
    registry.client().create_registered_model(own)
    return str(own)


@pytest.fixture
def source(registry: Any, tmp_path: Path) -> Path:
    """Files of a model, of the test's own."""
    return Path(shutil.copytree(registry.model_folder("tiny-pt2"), tmp_path / "files"))


def register(registry: Any, name: str, source: Path) -> str:
    return str(registry.client().create_model_version(name, source.as_uri()).version)


def scanned(model: ModelInfo, verdict: VerdictName = "clean") -> ScanResult:
    return judge(ScanResult(status="completed", verdict=verdict, model=model), "suspicious")


def files_of(uri: str, tracking_uri: str) -> ModelInfo:
    return present(uri, tracking_uri=tracking_uri, registry_uri=None, events=Silent())


def move(result: ScanResult, tracking_uri: str, alias: str = "production") -> Promotion:
    return promote(result, alias, tracking_uri=tracking_uri, registry_uri=None, events=Silent())


def alias_of(registry: Any, name: str, alias: str = "production") -> str | None:
    found = registry.client().get_registered_model(name).aliases.get(alias)
    return None if found is None else str(found)


def test_an_alias_moves_from_version_to_version(registry: Any, name: str, source: Path) -> None:
    tracking = registry.tracking_uri
    versions = [files_of(f"models:/{name}/{register(registry, name, source)}", tracking) for _ in range(2)]
    first = move(scanned(versions[0]), tracking)
    assert (first.status, first.before, first.message) == ("moved", None, "production moved to version 1.")
    assert alias_of(registry, name) == "1"
    second = move(scanned(versions[1]), tracking)
    assert (second.status, second.before) == ("moved", "1")
    assert second.message == "production moved from version 1 to version 2."
    assert alias_of(registry, name) == "2"
    again = move(scanned(versions[1]), tracking)
    assert (again.status, again.before, again.message) == ("unchanged", "2", "production is on version 2 already.")


@pytest.mark.parametrize("outcome", ["backdoored", "suspicious", "inconclusive", "failed", "no gate"])
def test_an_alias_stays_where_it_is_if_the_gate_does_not_pass(
    registry: Any, name: str, source: Path, outcome: Any
) -> None:
    model = files_of(f"models:/{name}/{register(registry, name, source)}", registry.tracking_uri)
    held = scanned(model, "clean")
    if outcome == "no gate":
        held = held.model_copy(update={"gate": None})
    elif outcome == "failed":
        held = judge(ScanResult(status="failed", model=model), "suspicious")
    else:
        held = scanned(model, outcome)
    done = move(held, registry.tracking_uri)
    assert (done.status, done.message) == ("held", "production was left unset: the gate did not pass.")
    assert alias_of(registry, name) is None
    registry.client().set_registered_model_alias(name, "production", "1")
    done = move(held, registry.tracking_uri)
    assert (done.status, done.before) == ("held", "1")
    assert "was left on version 1, the version that was scanned" in done.message
    registry.client().delete_registered_model(name)


def test_files_that_were_exchanged_after_the_scan_are_not_promoted(registry: Any, name: str, source: Path) -> None:
    register(registry, name, source)
    registry.client().set_registered_model_alias(name, "production", "1")
    model = files_of(f"models:/{name}/{register(registry, name, source)}", registry.tracking_uri)
    path = source / "data" / "model.pt2"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    done = move(scanned(model), registry.tracking_uri)
    assert (done.status, done.before) == ("failed", "1")
    assert "production was left on version 1" in done.message
    assert "no longer those that were scanned" in done.message
    assert alias_of(registry, name) == "1"
    path.write_bytes(data)
    assert move(scanned(model), registry.tracking_uri).status == "moved"


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Has something done by others while the files are downloaded once more."""

    def do(what: Callable[[], object]) -> None:
        def busy(*args: Any, **options: Any) -> ModelInfo:
            found = present(*args, **options)
            what()
            return found

        monkeypatch.setattr("smoothscan.promotion.present", busy)

    return do


@pytest.mark.parametrize(("first", "then"), [("1", "3"), ("1", None), (None, "3"), ("2", "3"), ("2", None)])
def test_an_alias_that_somebody_moves_meanwhile_is_left_to_them(
    registry: Any, name: str, source: Path, meanwhile: Any, first: str | None, then: str | None
) -> None:
    for _ in range(3):
        register(registry, name, source)
    client = registry.client()
    if first is not None:
        client.set_registered_model_alias(name, "production", first)
    model = files_of(f"models:/{name}/2", registry.tracking_uri)
    if then is not None:
        meanwhile(lambda: client.set_registered_model_alias(name, "production", then))
    else:
        meanwhile(lambda: client.delete_registered_model_alias(name, "production"))
    done = move(scanned(model), registry.tracking_uri)
    assert (done.status, done.before) == ("failed", then)
    assert "somebody took it off meanwhile" in done.message if then is None else "moved it to version 3" in done.message
    assert alias_of(registry, name) == then
    client.delete_registered_model(name)


def test_an_alias_that_somebody_moves_to_the_scanned_version_meanwhile_is_there(
    registry: Any, name: str, source: Path, meanwhile: Any
) -> None:
    model = files_of(f"models:/{name}/{register(registry, name, source)}", registry.tracking_uri)
    meanwhile(lambda: registry.client().set_registered_model_alias(name, "production", "1"))
    done = move(scanned(model), registry.tracking_uri)
    assert (done.status, done.before) == ("unchanged", "1")


def test_a_registry_that_is_lost_meanwhile_is_reported(registry: Any, name: str, source: Path, meanwhile: Any) -> None:
    model = files_of(f"models:/{name}/{register(registry, name, source)}", registry.tracking_uri)
    meanwhile(lambda: registry.client().delete_registered_model(name))
    done = move(scanned(model), registry.tracking_uri)
    assert done.status == "failed"
    assert "production was left unset: the registry could not be read once more" in done.message


def test_a_version_that_is_gone_is_not_promoted(registry: Any, name: str, source: Path) -> None:
    model = files_of(f"models:/{name}/{register(registry, name, source)}", registry.tracking_uri)
    registry.client().delete_model_version(name, "1")
    done = move(scanned(model), registry.tracking_uri)
    assert done.status == "failed"
    assert "could not be read once more" in done.message


def test_a_real_server_moves_it_and_one_that_refuses_is_reported(server: Any, guarded: Callable[[str], str]) -> None:
    result = scanned(files_of("models:/tiny-static/1", server.tracking_uri))
    done = move(result, guarded("registered-models/alias"))
    assert (done.status, done.before) == ("failed", None)
    assert "the registry refused to move it" in done.message
    assert "403" in done.message
    assert alias_of(server, "tiny-static") is None
    done = move(result, guarded("registered-models/get"))
    assert done.status == "failed"
    assert "could not be read" in done.message
    done = move(scanned(result.model, "backdoored"), guarded("registered-models/get"))
    assert (done.status, done.message) == ("held", "production was left where it is: the gate did not pass.")
    assert move(result, server.tracking_uri).status == "moved"
    assert alias_of(server, "tiny-static") == "1"


def test_a_lost_server_is_reported_without_its_password() -> None:
    model = ModelInfo(uri="models:/x/1", name="x", version="1", digest="sha256:0")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        done = move(scanned(model), f"http://me:secret@127.0.0.1:{probe.getsockname()[1]}")
    assert done.status == "failed"
    assert "secret" not in done.message


def test_a_scan_that_found_no_version_moves_nothing() -> None:
    result = judge(ScanResult(status="failed", model=ModelInfo(uri="models:/nobody/1")), "suspicious")
    assert move(result, "sqlite:///nowhere.db").status == "held"
    assert not Path("nowhere.db").exists()


@pytest.mark.parametrize("uri", ["models:/x/1", "models:/x@champion", "models:/x/latest", "models:/a.b.c/2"])
def test_versions_can_have_an_alias(uri: str) -> None:
    require_registered(uri)


@pytest.mark.parametrize("uri", ["folder", "models:/m-" + "0" * 32, "runs:/1/model", "s3://me:secret@b/x", "models:/x"])
def test_what_is_no_version_is_told_before_the_scan(uri: str) -> None:
    with pytest.raises(ConfigError, match="--set-alias needs a version") as caught:
        require_registered(uri)
    assert "secret" not in caught.value.message
