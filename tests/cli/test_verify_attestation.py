from __future__ import annotations

import base64
import hashlib
import json
import shlex
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from smoothscan.cli.verify_attestation import verify_attestation
from smoothscan.errors import SmoothscanError
from smoothscan.events import Silent
from smoothscan.exhibits import Exhibits
from smoothscan.gate import judge
from smoothscan.result import ScanResult
from smoothscan.sinks.attestation.signing import read_signer
from smoothscan.sinks.attestation.sink import AttestationSink
from smoothscan.sources import fetch, present

from .program import Digits, Run

DOCS = Path(__file__).parents[2] / "docs" / "attestation.md"


def key_pair(folder: Path) -> tuple[Path, Path]:
    """A private and a public key, made as the documentation says."""
    for line in DOCS.read_text().splitlines():
        if line.startswith("openssl "):
            subprocess.run(shlex.split(line), cwd=folder, check=True)
    return folder / "attest.pem", folder / "attest.pub"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A private and a public key."""
    return key_pair(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def model(registry: Any, tmp_path: Path) -> Path:
    """A model in a folder."""
    return Path(shutil.copytree(registry.model_folder("tiny-pt2"), tmp_path / "model"))


def attest(model: Path, folder: Path, key: Path | None = None, **changes: Any) -> Path:
    """Write an attestation as `check` does."""
    values: dict[str, Any] = {"status": "completed", "verdict": "clean", "finished_at": datetime.now(UTC).isoformat()}
    info = present(str(model), tracking_uri=None, registry_uri=None, events=Silent())
    result = judge(ScanResult(model=info, **(values | changes)), "suspicious")
    signer = None if key is None else read_signer(key)
    (path,) = AttestationSink(signer).write(result, Exhibits(), folder)
    return path


def verify(file: Path, model: Path | str, *options: object) -> Result:
    return CliRunner().invoke(verify_attestation, [str(file), "--model", str(model), "-q", *map(str, options)])


def tamper(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_a_signed_attestation_holds_for_the_files_that_were_scanned(
    model: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = keys
    file = attest(model, tmp_path, private)
    done = verify(file, model, "--key", public)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == "holds: these files were scanned, and passed"
    assert "safe" not in done.output
    # Without the key the same file says less.
    done = verify(file, model)
    assert done.exit_code == 0
    assert "not checked" in done.output
    assert "nobody vouches" in done.output


def test_one_changed_byte_is_noticed(model: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = keys
    file = attest(model, tmp_path, private)
    tamper(model / "data" / "model.pt2")
    done = verify(file, model, "--key", public)
    assert done.exit_code == 1
    assert "why       1 file changed since the scan: data/model.pt2." in done.output
    assert done.output.splitlines()[-1] == "does not hold"


def test_files_that_are_no_model_any_more_differ_all_the_same(model: Path, tmp_path: Path) -> None:
    file = attest(model, tmp_path)
    shutil.rmtree(model / "data")
    (model / "MLmodel").write_text("flavors: {sklearn: {}}")
    done = verify(file, model)
    assert done.exit_code == 1
    assert "changed since the scan: MLmodel" in done.output
    assert "missing now" in done.output


def test_a_changed_statement_and_a_foreign_key_are_noticed(
    model: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = keys
    file = attest(model, tmp_path, private, verdict="backdoored")
    envelope = json.loads(file.read_text())
    said = base64.b64decode(envelope["payload"]).replace(b'"FAILED"', b'"PASSED"')
    file.write_text(json.dumps({**envelope, "payload": base64.b64encode(said).decode()}))
    for key in (public, key_pair(tmp_path)[1]):
        done = verify(file, model, "--key", key)
        assert done.exit_code == 1
        assert done.output.startswith("does not hold: no signature on it was made with the key")
        assert "PASSED" not in done.output


def test_with_a_key_an_unsigned_attestation_does_not_hold(model: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    file = attest(model, tmp_path)
    done = verify(file, model)
    assert done.exit_code == 0
    assert "signature none: anybody can have written the attestation" in done.output
    done = verify(file, model, "--key", keys[1])
    assert (done.exit_code, done.output) == (1, "does not hold: it is not signed; nothing else was looked at\n")


def test_a_model_that_did_not_pass_and_one_that_did_long_ago(model: Path, tmp_path: Path) -> None:
    done = verify(attest(model, tmp_path, verdict="suspicious"), model)
    assert done.exit_code == 1
    assert "The model did not pass: suspicious." in done.output
    aged = attest(model, tmp_path, finished_at=(datetime.now(UTC) - timedelta(days=10)).isoformat())
    assert verify(aged, model).exit_code == 0
    done = verify(aged, model, "--max-age", "7d")
    assert done.exit_code == 1
    assert "too old" in done.output


def test_what_cannot_be_read_has_its_own_exit_codes(model: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    file = attest(model, tmp_path)
    (tmp_path / "other.json").write_text('{"_type": 3}')
    for done, code, said in (
        (verify(file, model, "--key", tmp_path / "no.pub"), 2, "no.pub"),
        (verify(file, model, "--key", keys[0]), 2, "holds no public key"),
        (verify(tmp_path / "other.json", model), 3, "is no attestation"),
        (verify(file, tmp_path / "nowhere"), 3, "does not exist"),
    ):
        assert isinstance(done.exception, SmoothscanError), done.output
        assert done.exception.exit_code == code
        assert said in done.exception.message
        assert done.exception.hint
        assert done.output == ""


def test_a_hostile_attestation_is_one_message(smoothscan: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(json.dumps({"payloadType": "\x1b[31mred", "payload": "", "signatures": []}))
    done = smoothscan("verify-attestation", tmp_path / "other.json", "--model", model)
    assert (done.returncode, done.stdout) == (3, "")
    assert "it is an envelope around" in done.stderr
    assert "\x1b" not in done.stderr
    assert "Traceback" not in done.stderr


# --- the whole way ---------------------------------------------------------------------------------------------------


def test_check_attests_and_promotes_and_a_changed_copy_is_noticed(
    smoothscan: Run, work: Path, digits: Digits, keys: tuple[Path, Path]
) -> None:
    from mlflow import MlflowClient

    private, public = keys
    check = ["check", *digits.arguments, "--profile", "quick", "--fail-on", "backdoored", "-q"]
    done = smoothscan(*check, "--attest", "--attest-key", private, "--set-alias", "approved")
    assert done.returncode == 0, done.stdout + done.stderr
    file = work / "smoothscan-report" / "attestation.json"
    assert f"attested smoothscan-report/attestation.json, signed with {private}" in done.stdout
    assert "alias    approved moved to version 1." in done.stdout
    client = MlflowClient(digits.tracking_uri)
    assert str(client.get_model_version_by_alias("digits", "approved").version) == "1"
    result = ScanResult.model_validate_json(file.with_name("result.json").read_text())
    assert result.promotion is not None
    assert result.promotion.status == "moved"

    # The run holds the attestation, and the very result that it is bound to.
    run_id = str(result.write_back.run_id)
    in_run = Path(client.download_artifacts(run_id, "", str(work)))
    assert (in_run / "attestation.json").read_bytes() == file.read_bytes()
    said = json.loads(base64.b64decode(json.loads(file.read_text())["payload"]))
    (bound,) = [entry for entry in said["predicate"]["configuration"] if entry["name"] == "result.json"]
    assert bound["digest"]["sha256"] == hashlib.sha256((in_run / "result.json").read_bytes()).hexdigest()

    options = ["--key", public, "--allow-warned", "--tracking-uri", digits.tracking_uri]
    done = verify(file, "models:/digits@approved", *options)
    assert done.exit_code == 0, done.output
    copy = work / "copy"
    fetch("models:/digits/1", copy, tracking_uri=digits.tracking_uri, registry_uri=None, events=Silent())
    assert verify(file, copy, *options).exit_code == 0
    tamper(copy / "data" / "model.pt2")
    done = smoothscan("verify-attestation", file, "--model", copy, *options)
    assert done.returncode == 1
    assert "1 file changed since the scan: data/model.pt2." in done.stdout


@pytest.mark.parametrize(
    ("uri", "options", "said"),
    [
        ("models:/x/1", ["--attest", "--attest-key", "no.pem"], "no.pem"),
        (".", ["--set-alias", "approved"], "--set-alias needs a version of a registered model"),
    ],
)
def test_a_key_or_an_alias_that_cannot_be_is_told_before_the_scan(
    smoothscan: Run, work: Path, image_folder: Path, uri: str, options: list[str], said: str
) -> None:
    done = smoothscan("check", uri, "--images", image_folder, *options)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert said in done.stderr
    assert "download" not in done.stderr
    assert not (work / "smoothscan-report").exists()
