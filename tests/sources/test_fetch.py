from __future__ import annotations

import hashlib
import os
import pickle
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from smoothscan.errors import (
    ConfigError,
    ModelLoadError,
    ModelNotFoundError,
    RegistryError,
    SmoothscanError,
    UnsupportedModelError,
)
from smoothscan.events import Silent
from smoothscan.sources import Artifact, fetch, is_local, model_of


def get(uri: str, into: Path, tracking_uri: str | None = None) -> Artifact:
    return fetch(uri, into, tracking_uri=tracking_uri, registry_uri=None, events=Silent())


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()}


def write_model(folder: Path, mlmodel: str = "flavors: {pytorch: {model_data: data}}\n") -> Path:
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text(mlmodel)
    (folder / "data" / "model.pt2").write_bytes(b"weights")
    return folder


@pytest.mark.parametrize(
    "form", ["models:/tiny-pt2/1", "models:/tiny-pt2@champion", "models:/tiny-pt2/latest", "models:/tiny-pt2/LATEST"]
)
def test_registered_forms_pin_to_the_version(form: str, registry: Any, tmp_path: Path) -> None:
    artifact = get(form, tmp_path, registry.tracking_uri)
    info = artifact.info
    assert (info.uri, info.resolved_uri, info.name, info.version) == (form, "models:/tiny-pt2/1", "tiny-pt2", "1")
    assert info.model_id == registry.model_ids["tiny-pt2"]
    assert info.run_id == registry.run_ids["tiny-pt2"]
    assert info.flavor == "pytorch/pt2"
    assert artifact.mlmodel["model_id"] == info.model_id
    assert (artifact.path / "MLmodel").is_file()


def test_unregistered_forms_pin_to_the_logged_model(registry: Any, tmp_path: Path) -> None:
    model_id, run_id = registry.model_ids["tiny-static"], registry.run_ids["tiny-static"]
    for number, form in enumerate((f"models:/{model_id}", f"runs:/{run_id}/model")):
        info = get(form, tmp_path / str(number), registry.tracking_uri).info
        assert (info.resolved_uri, info.name, info.version) == (f"models:/{model_id}", None, None)
        assert (info.model_id, info.run_id) == (model_id, run_id)


def test_all_ways_to_a_model_give_the_same_digests(registry: Any, tmp_path: Path) -> None:
    folder = registry.model_folder("tiny-pt2")
    ways = ["models:/tiny-pt2/1", f"models:/{registry.model_ids['tiny-pt2']}", str(folder), folder.as_uri()]
    infos = [get(way, tmp_path / str(n), registry.tracking_uri).info for n, way in enumerate(ways)]
    assert len({info.digest for info in infos}) == 1
    content = (folder / "data" / "model.pt2").read_bytes()
    assert infos[0].files["data/model.pt2"] == hashlib.sha256(content).hexdigest()


def test_the_digest_is_that_of_the_list_of_sha256sum(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    listed = subprocess.run(["sha256sum", *names], cwd=folder, capture_output=True, check=True).stdout
    assert get(str(folder), tmp_path / "copy").info.digest == "sha256:" + hashlib.sha256(listed).hexdigest()


def test_one_changed_byte_changes_the_digest(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    before = get(str(folder), tmp_path / "one").info.digest
    (folder / "data" / "model.pt2").write_bytes(b"weightt")
    assert get(str(folder), tmp_path / "two").info.digest != before


def test_pickles_are_downloaded_but_never_loaded(registry: Any, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "exploded"),))

    folder = write_model(tmp_path / "model")
    (folder / "data" / "model.pth").write_bytes(pickle.dumps(Bomb()))
    assert get(str(folder), tmp_path / "copy").info.flavor == "pytorch/pickle"
    assert not (tmp_path / "exploded").exists()


def test_a_server_with_proxied_artifacts(server: Any, tmp_path: Path) -> None:
    info = get("models:/tiny-pt2@champion", tmp_path / "a", server.tracking_uri).info
    assert (info.resolved_uri, info.flavor) == ("models:/tiny-pt2/1", "pytorch/pt2")
    info = get(f"runs:/{server.run_ids['tiny-pickle']}/model", tmp_path / "b", server.tracking_uri).info
    assert info.flavor == "pytorch/pickle"
    assert "code/tiny_net.py" in info.files
    location = server.client().get_logged_model(server.model_ids["tiny-pt2"]).artifact_location
    assert location.startswith("mlflow-artifacts:")
    assert get(location, tmp_path / "c", server.tracking_uri).info.model_id == server.model_ids["tiny-pt2"]


def test_artifacts_of_a_run_as_before_mlflow_3(registry: Any, tmp_path: Path) -> None:
    client = registry.client()
    run = client.create_run(client.get_experiment_by_name("training").experiment_id)
    client.log_artifacts(run.info.run_id, str(registry.model_folder("tiny-pt2")), "deep/model")
    info = get(f"runs:/{run.info.run_id}/deep/model", tmp_path / "copy", registry.tracking_uri).info
    assert info.resolved_uri == f"runs:/{run.info.run_id}/deep/model"
    assert info.flavor == "pytorch/pt2"


def test_a_version_that_was_registered_from_a_run(registry: Any, tmp_path: Path) -> None:
    client = registry.client()
    client.create_registered_model("from-run")
    source = f"runs:/{registry.run_ids['tiny-pt2']}/model"
    client.create_model_version("from-run", source, registry.run_ids["tiny-pt2"])
    info = get("models:/from-run/1", tmp_path / "copy", registry.tracking_uri).info
    assert (info.name, info.version, info.flavor) == ("from-run", "1", "pytorch/pt2")


@pytest.mark.parametrize(
    ("uri", "message", "hint"),
    [
        ("models:/nobody/1", "no registered model 'nobody'", "--tracking-uri"),
        ("models:/nobody/latest", "no registered model 'nobody'", "--tracking-uri"),
        ("models:/nobody@champion", "no registered model 'nobody'", "--tracking-uri"),
        ("models:/tiny-pt/1", "no registered model 'tiny-pt'", "Did you mean 'tiny-pt2'?"),
        ("models:/Tiny-PT2@champion", "no registered model 'Tiny-PT2'", "Did you mean 'tiny-pt2'?"),
        ("models:/tiny-pt", "names no version", "Did you mean 'tiny-pt2'? Name one: models:/<name>/<version>"),
        ("models:/tiny-pt2/99", "no version 99", "It has version 1. Its newest version is models:/tiny-pt2/1"),
        ("models:/tiny-pt2@champoin", "no alias 'champoin'", "Did you mean models:/tiny-pt2@champion?"),
        ("models:/tiny-pt2/champion", "'champion' is no version number", "Did you mean models:/tiny-pt2@champion?"),
        ("models:/tiny-pt2@nosuch", "no alias 'nosuch'", "models:/tiny-pt2@champion"),
        ("models:/tiny-pt2/Production", "'Production' is no version number", "models:/tiny-pt2/1"),
        ("models:/tiny-pt2", "names no version", "models:/tiny-pt2/1"),
        ("models:/nobody", "names no version", "models:/<name>/latest"),
        ("models:/", "names no version", "models:/<name>/latest"),
        ("models:/m-" + 32 * "0", "no logged model", "--tracking-uri"),
        ("runs:/" + 32 * "0" + "/model", "no run", "--tracking-uri"),
        ("runs:/" + 32 * "0", "no model in it", "/model"),
    ],
)
def test_what_does_not_exist(uri: str, message: str, hint: str, registry: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=message) as caught:
        get(uri, tmp_path, registry.tracking_uri)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 3


def test_a_run_without_that_model(registry: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no files at"):
        get(f"runs:/{registry.run_ids['tiny-pt2']}/other", tmp_path, registry.tracking_uri)


def test_a_name_without_versions(registry: Any, tmp_path: Path) -> None:
    registry.client().create_registered_model("empty")
    with pytest.raises(ModelNotFoundError, match="no versions yet"):
        get("models:/empty/latest", tmp_path, registry.tracking_uri)


def test_a_server_that_is_down_is_reported_within_seconds(registry: Any, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://user:secret@127.0.0.1:{probe.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(RegistryError, match=r"did not answer \(connection refused\)") as caught:
            get("models:/tiny-pt2/1", tmp_path, address)
    assert time.monotonic() - start < 10
    assert "MLFLOW_TRACKING_URI" in caught.value.hint
    assert "secret" not in caught.value.message


def test_a_server_that_hangs_is_given_up(registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")  # the user's own setting counts
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        with pytest.raises(RegistryError, match="no answer in time"):
            get("models:/tiny-pt2/1", tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert time.monotonic() - start < 8
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "1"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_a_web_server_that_is_no_mlflow(registry: Any, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "www").mkdir()
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with subprocess.Popen(command, cwd=tmp_path / "www", stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            with pytest.raises(RegistryError, match="404"):
                get("models:/tiny-pt2/1", tmp_path / "copy", f"http://127.0.0.1:{port}")
        finally:
            process.kill()


def test_a_missing_database_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no MLflow database"):
        get("models:/tiny-pt2/1", tmp_path / "copy", f"sqlite:///{tmp_path}/typo.db")
    assert not (tmp_path / "typo.db").exists()


def test_a_local_folder_is_copied_and_left_alone(registry: Any, tmp_path: Path) -> None:
    folder = registry.model_folder("tiny-pt2")
    before = snapshot(folder)
    artifact = get(str(folder), tmp_path)
    (artifact.path / "MLmodel").write_text("changed")
    assert snapshot(folder) == before
    assert artifact.path == tmp_path
    assert artifact.info.resolved_uri == folder.as_uri()


def test_a_local_folder_needs_no_mlflow(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    program = f"""
import sys
from pathlib import Path
from smoothscan.events import Silent
from smoothscan.sources import fetch
fetch({str(folder)!r}, Path({str(tmp_path / "copy")!r}), tracking_uri=None, registry_uri=None, events=Silent())
print("mlflow" in sys.modules, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_folders_that_are_no_model(tmp_path: Path) -> None:
    write_model(tmp_path / "parent" / "model")
    for uri, message in (
        (str(tmp_path / "nowhere"), "does not exist"),
        (str(tmp_path / "parent" / "model" / "MLmodel"), "is a file"),
        (str(tmp_path / "parent"), "holds no MLmodel"),
    ):
        with pytest.raises(ModelNotFoundError, match=message) as caught:
            get(uri, tmp_path / "copy")
    assert caught.value.hint.endswith("/parent/model")
    assert not (tmp_path / "copy").exists()


def test_links_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    for number, target in enumerate((tmp_path / "secret", tmp_path)):
        folder = write_model(tmp_path / f"model{number}")
        (folder / "data" / "link").symlink_to(target)
        with pytest.raises(ModelLoadError, match="leaves the model's folder"):
            get(str(folder), tmp_path / f"copy{number}")
        assert not (tmp_path / f"copy{number}" / "data" / "link").exists()


def test_links_inside_the_folder_are_followed(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "again").symlink_to("data/model.pt2")
    artifact = get(str(folder), tmp_path / "copy")
    assert not (artifact.path / "again").is_symlink()
    assert artifact.info.files["again"] == artifact.info.files["data/model.pt2"]


def test_pipes_are_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    os.mkfifo(folder / "pipe")
    with pytest.raises(ModelLoadError, match="no plain file"):
        get(str(folder), tmp_path / "copy")


def test_a_file_name_can_not_forge_the_digest(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "a\nb").write_text("")
    with pytest.raises(ModelLoadError, match="unprintable"):
        get(str(folder), tmp_path / "copy")


@pytest.mark.parametrize(
    ("mlmodel", "error", "message"),
    [
        ("flavors: {sklearn: {}, python_function: {}}", UnsupportedModelError, "'python_function', 'sklearn'"),
        ("flavors: 3", UnsupportedModelError, "none"),
        ("- a\n- b", ModelLoadError, "no list of names and values"),
        ("flavors: {", ModelLoadError, "no valid YAML"),
        ("!!python/object/apply:os.mkdir [exploded]", ModelLoadError, "no valid YAML"),
        (200_000 * "[" + 200_000 * "]", ModelLoadError, "RecursionError"),
        ("a: " + 2**20 * "b", ModelLoadError, "more than"),
    ],
)
def test_mlmodel_files_that_do_not_fit(
    mlmodel: str, error: type[SmoothscanError], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_model(tmp_path / "model", mlmodel)
    with pytest.raises(error, match=message):
        get(str(folder), tmp_path / "copy")
    assert not (tmp_path / "exploded").exists()


def test_the_flavor_needs_a_model_file(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "data" / "model.pt2").unlink()
    with pytest.raises(UnsupportedModelError, match=r"neither data/model.pt2 nor data/model.pth"):
        get(str(folder), tmp_path / "copy")


def test_an_error_knows_the_version_that_it_is_about(registry: Any, tmp_path: Path) -> None:
    client = registry.client()
    source = write_model(tmp_path / "source", "flavors: {sklearn: {}}")
    client.create_registered_model("forest")
    client.create_model_version("forest", source.as_uri())
    with pytest.raises(UnsupportedModelError) as caught:
        get("models:/forest/latest", tmp_path / "copy", registry.tracking_uri)
    model = model_of(caught.value)
    assert model is not None
    assert (model.name, model.version, model.flavor) == ("forest", "1", None)
    assert model.digest is not None
    with pytest.raises(ModelNotFoundError) as caught_missing:
        get("models:/nobody/1", tmp_path / "other", registry.tracking_uri)
    assert model_of(caught_missing.value) is None


@pytest.mark.parametrize(
    ("uri", "local"),
    [
        ("models:/a/1", False),
        ("runs:/a/b", False),
        ("s3://bucket/key", False),
        ("mlflow-artifacts:/0/a", False),
        ("file:///a/b", True),
        ("/a/b", True),
        ("./a:b", True),
        ("model", True),
    ],
)
def test_which_uris_are_folders(uri: str, local: bool) -> None:
    assert is_local(uri) is local


@pytest.mark.parametrize(
    ("uri", "message", "hint"),
    [
        ("model:/tiny-pt2/1", "none begins with 'model:'", "Did you mean models:/tiny-pt2/1?"),
        ("Models:/tiny-pt2/1", "none begins with 'Models:'", "Did you mean models:/tiny-pt2/1?"),
        ("run:/abc/model", "none begins with 'run:'", "Did you mean runs:/abc/model?"),
        ("zebra:tiny-pt2", "none begins with 'zebra:'", "A model is models:/<name>/<version>"),
        ("https://me:secret@example.org/m", "https://example.org/m is the address of a server", "--tracking-uri"),
    ],
)
def test_what_can_be_no_model_is_told_from_one_that_is_not_there(
    uri: str, message: str, hint: str, registry: Any, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        get(uri, tmp_path, registry.tracking_uri)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert ("Did you mean" in caught.value.hint) is ("Did you mean" in hint)
    assert "secret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("scheme", ["http", "mlflow-artifacts", "s3"])
def test_stores_of_mlflow_are_asked(scheme: str, registry: Any, tmp_path: Path) -> None:
    """Their answer, whatever it is, comes from the store."""
    with pytest.raises(RegistryError):
        get(f"{scheme}://127.0.0.1:9/api/2.0/mlflow-artifacts/artifacts/m", tmp_path, registry.tracking_uri)
