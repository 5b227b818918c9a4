from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smoothscan.errors import ConfigError, RegistryError
from smoothscan.sources import inventory
from smoothscan.sources.inventory import Registered, Selection, registered_versions, registry_name
from tests.stores import free_port

HOSTILE = ("a%2Fb", "<script>", "a' OR '1'='1", "\x1b[31mred", "%2e%2e", "a@b", "ünïcode \u202e", "[x", "-v", "*")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A registry with versions of which only the descriptions are there."""
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("inventory")
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    client.uri = f"sqlite:///{folder}/mlflow.db"
    for name, count in (("traffic-lights", 2), ("traffic-signs", 11), ("faces", 1)):
        client.create_registered_model(name)
        for number in range(1, count + 1):
            client.create_model_version(name, f"s3://bucket/{name}/{number}", tags={"team": f"team {number % 2}"})
    client.set_registered_model_alias("traffic-signs", "champion", "3")
    client.set_registered_model_alias("traffic-signs", "champion-eu", "3")
    client.set_registered_model_alias("traffic-signs", "challenger", "11")
    client.set_registered_model_alias("faces", "champion", "1")
    client.set_model_version_tag("faces", "1", "smoothscan.verdict", "clean")
    client.create_registered_model("without versions")
    return client


@pytest.fixture
def listed(client: Any) -> Callable[..., list[str]]:
    """List versions as `name/number`."""

    def call(**selection: Any) -> list[str]:
        found = registered_versions(Selection(**selection), tracking_uri=client.uri, registry_uri=None)
        return [f"{each.name}/{each.version}" for each in found]

    return call


def test_all_versions_by_name_and_number(client: Any, listed: Callable[..., list[str]]) -> None:
    lights, signs = [f"traffic-lights/{n}" for n in (1, 2)], [f"traffic-signs/{n}" for n in range(1, 12)]
    assert listed() == ["faces/1", *lights, *signs]
    versions = registered_versions(Selection(), tracking_uri=client.uri, registry_uri=None)
    third = next(each for each in versions if each.uri == "models:/traffic-signs/3")
    assert third.aliases == ("champion", "champion-eu")
    assert third.stage is None
    assert third.created == pytest.approx(time.time(), abs=600)
    assert len({each.identity for each in versions}) == len(versions)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"names": ["traffic-l*"]}, ["traffic-lights/1", "traffic-lights/2"]),
        ({"names": ["faces", "*lights"]}, ["faces/1", "traffic-lights/1", "traffic-lights/2"]),
        ({"names": ["FACES"]}, []),
        ({"names": ["face"]}, []),
        ({"aliases": ["champion"]}, ["faces/1", "traffic-signs/3"]),
        ({"aliases": ["cha*er"]}, ["traffic-signs/11"]),
        ({"aliases": ["*"]}, ["faces/1", "traffic-signs/3", "traffic-signs/11"]),
        ({"aliases": ["*"], "names": ["t*"]}, ["traffic-signs/3", "traffic-signs/11"]),
        ({"filter": "name = 'faces'"}, ["faces/1"]),
        ({"filter": "name LIKE 'traffic-%' AND version_number > 10"}, ["traffic-signs/11"]),
        ({"filter": "tags.team = 'team 0'", "names": ["*lights"]}, ["traffic-lights/2"]),
        ({"filter": "tags.team = 'nobody'"}, []),
        ({"versions": [("faces", "1"), ("traffic-signs", "7")]}, ["faces/1", "traffic-signs/7"]),
        ({"versions": [("faces", "1"), ("faces", "2"), ("gone", "1")]}, ["faces/1"]),
        ({"versions": [("traffic-signs", "7"), ("traffic-signs", "3")], "aliases": ["*"]}, ["traffic-signs/3"]),
        ({"stages": ["none"], "names": ["faces"]}, ["faces/1"]),
        ({"stages": ["Production"]}, []),
    ],
)
def test_what_is_selected(selection: dict[str, Any], expected: list[str], listed: Callable[..., list[str]]) -> None:
    assert listed(**selection) == expected


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_stages_of_registries_that_have_them(client: Any, listed: Callable[..., list[str]]) -> None:
    client.transition_model_version_stage("traffic-lights", "2", "Production")
    try:
        assert listed(stages=["production"]) == ["traffic-lights/2"]
        assert listed(stages=["Staging", "PRODUCTION"]) == ["traffic-lights/2"]
        (found,) = registered_versions(Selection(stages=("Production",)), tracking_uri=client.uri, registry_uri=None)
        assert found.stage == "Production"
    finally:
        client.transition_model_version_stage("traffic-lights", "2", "None")


def test_however_many_there_are(listed: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    everything = listed()
    monkeypatch.setattr(inventory, "_PAGE", 2)
    assert listed() == everything
    assert listed(aliases=["champion"]) == ["faces/1", "traffic-signs/3"]  # its model stands on the second page
    assert listed(filter="name LIKE 'traffic-s%'") == everything[3:]


@pytest.mark.parametrize(
    "expression", ["nonsense", "name = ", "colour = 'red'", "name = 'x' OR name = 'y'", "name ~ 'x'"]
)
def test_a_wrong_filter_is_the_users_mistake(expression: str, listed: Callable[..., list[str]]) -> None:
    with pytest.raises(ConfigError) as caught:
        listed(filter=expression)
    assert repr(expression) in caught.value.message
    assert "name = 'signs'" in caught.value.hint


def test_a_forged_tag_changes_no_version_and_is_told(client: Any) -> None:
    before = registered_versions(Selection(names=("faces",)), tracking_uri=client.uri, registry_uri=None)
    client.set_model_version_tag("faces", "1", "smoothscan.verdict", "backdoored")
    after = registered_versions(Selection(names=("faces",)), tracking_uri=client.uri, registry_uri=None)
    assert [replace(version, tags={}) for version in after] == [replace(version, tags={}) for version in before]
    assert after[0].identity == before[0].identity
    assert after[0].tags["smoothscan.verdict"] == "backdoored"


def test_another_model_under_an_old_name_is_another_model(client: Any) -> None:
    def register() -> Registered:
        client.create_registered_model("again")
        client.create_model_version("again", "s3://bucket/again")
        (found,) = registered_versions(Selection(names=("again",)), tracking_uri=client.uri, registry_uri=None)
        client.delete_registered_model("again")
        time.sleep(0.002)  # registries tell the time in milliseconds
        return found

    first, second = register(), register()
    assert (first.name, first.version) == (second.name, second.version)
    assert first.identity != second.identity


@pytest.fixture
def hostile(client: Any) -> Iterator[None]:
    for name in HOSTILE:
        client.create_registered_model(name)
        client.create_model_version(name, f"{name}\nsource", tags={"team": name})
        client.set_registered_model_alias(name, "champion", "1")
    yield
    for name in HOSTILE:
        client.delete_registered_model(name)


@pytest.mark.usefixtures("hostile")
def test_names_may_be_anything(listed: Callable[..., list[str]]) -> None:
    assert {each.rpartition("/")[0] for each in listed()} == {*HOSTILE, "faces", "traffic-lights", "traffic-signs"}
    assert listed(names=["a@b"]) == ["a@b/1"]
    assert listed(names=["[[]x"]) == ["[x/1"]
    assert listed(versions=[(name, "1") for name in HOSTILE]) == sorted(f"{name}/1" for name in HOSTILE)


def test_a_real_server(server: Any) -> None:
    found = registered_versions(Selection(names=("tiny-*",)), tracking_uri=server.tracking_uri, registry_uri=None)
    by_name = {each.name: each for each in found if each.version == "1"}
    assert {"tiny-pt2", "tiny-static", "tiny-pickle"} <= set(by_name)
    assert by_name["tiny-pt2"].aliases == ("champion",)
    assert by_name["tiny-static"].aliases == ()
    wanted = Selection(filter="name = 'tiny-pt2'", aliases=("champion",))
    assert registered_versions(wanted, tracking_uri=server.tracking_uri, registry_uri=None) == (by_name["tiny-pt2"],)
    alone = Selection(versions=(("tiny-pt2", "1"), ("tiny-pt2", "999")))
    assert registered_versions(alone, tracking_uri=server.tracking_uri, registry_uri=None) == (by_name["tiny-pt2"],)
    with pytest.raises(ConfigError, match="colour"):
        registered_versions(Selection(filter="colour = 'x'"), tracking_uri=server.tracking_uri, registry_uri=None)


def test_a_server_that_refuses(guarded: Callable[[str], str]) -> None:
    with pytest.raises(RegistryError, match="403"):
        registered_versions(Selection(), tracking_uri=guarded("model-versions/search"), registry_uri=None)


def test_a_version_that_we_may_not_see_hides_no_others(guarded: Callable[[str], str]) -> None:
    wanted = Selection(versions=(("tiny-pt2", "1"), ("tiny-static", "1")))
    seen = registered_versions(wanted, tracking_uri=guarded("model-versions/get?name=tiny-static"), registry_uri=None)
    assert [each.name for each in seen] == ["tiny-pt2"]


def test_a_server_that_is_down_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # the user's own setting wins
    with pytest.raises(RegistryError, match="did not answer") as caught:
        registered_versions(Selection(), tracking_uri=f"http://me:secret@127.0.0.1:{free_port()}", registry_uri=None)
    assert "secret" not in caught.value.message
    assert "MLFLOW_TRACKING_URI" in caught.value.hint


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"nowhere\.db"):
        registered_versions(Selection(), tracking_uri=f"sqlite:///{tmp_path}/nowhere.db", registry_uri=None)
    assert list(tmp_path.iterdir()) == []


class TestNameOfTheRegistry:
    @pytest.fixture(autouse=True)
    def _no_settings(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
        # Who logged to a store set it in this process, and MLflow prefers that to the environment.
        monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)

    def test_a_file_has_the_same_name_from_everywhere(self, tmp_path: Path) -> None:
        absolute = registry_name(f"sqlite:///{tmp_path}/mlflow.db", None)
        assert absolute == f"sqlite:///{tmp_path}/mlflow.db"
        (tmp_path / "sub").mkdir()
        (tmp_path / "link").symlink_to(tmp_path)
        for relative in ("mlflow.db", "./mlflow.db", "sub/../mlflow.db", "link/mlflow.db"):
            assert registry_name(f"sqlite:///{relative}", None) == absolute
        assert registry_name("sqlite:///other.db", None) != absolute

    def test_folders_are_files_too(self, tmp_path: Path) -> None:
        absolute = registry_name((tmp_path / "mlruns").as_uri(), None)
        assert str(tmp_path) in absolute
        for relative in ("mlruns", "./mlruns", "mlruns/", str(tmp_path / "mlruns"), f"file:{tmp_path}/mlruns"):
            assert registry_name(relative, None) == absolute
        assert registry_name("databricks", None) == "databricks"

    @pytest.mark.parametrize("uri", ["http://host:5000", "http://me:secret@host:5000", "http://me:secret@host:5000/"])
    def test_a_server_has_one_name(self, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
        assert registry_name(uri, None) == "http://host:5000"
        assert registry_name(None, uri) == "http://host:5000"
        assert registry_name("http://elsewhere", uri) == "http://host:5000"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert registry_name(None, None) == "http://host:5000"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
        monkeypatch.setenv("MLFLOW_REGISTRY_URI", uri)
        assert registry_name(None, None) == "http://host:5000"
        assert registry_name("http://tracking", None) == "http://host:5000"

    def test_workspaces_of_a_server_are_registries_of_their_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = registry_name("http://host:5000", None)
        monkeypatch.setenv("MLFLOW_WORKSPACE", "default")
        assert registry_name("http://host:5000", None) == plain
        monkeypatch.setenv("MLFLOW_WORKSPACE", "vision")
        assert registry_name("http://host:5000", None) == f"{plain}#vision"

    def test_it_is_the_registry_that_mlflow_itself_takes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from mlflow import MlflowClient

        for env in ({}, {"MLFLOW_REGISTRY_URI": "http://r"}, {"MLFLOW_TRACKING_URI": "http://t"}):
            with monkeypatch.context() as changed:
                for name, value in env.items():
                    changed.setenv(name, value)
                for uris in (("http://a", None), (None, "http://b"), ("http://a", "http://b")):
                    assert registry_name(*uris) == MlflowClient(*uris)._registry_uri, (env, uris)

    def test_a_database_with_a_password(self) -> None:
        assert registry_name("postgresql://me:p@ss@host/mlflow", None) == "postgresql://host/mlflow"
