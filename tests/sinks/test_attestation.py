from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from smoothscan.errors import ConfigError
from smoothscan.result import Finding, Promotion, ScanResult, Suspicion, WriteBack
from smoothscan.sinks.attestation.signing import PAYLOAD_TYPE, envelope, is_signed, read_public_key, read_signer
from smoothscan.sinks.attestation.sink import AttestationSink
from smoothscan.sinks.attestation.statement import PREDICATE_TYPE, STATEMENT_TYPE, statement, to_bytes
from smoothscan.sinks.attestation.verification import read_attestation
from smoothscan.sinks.json_file import JsonSink

from .attested import FILES, finding, folder_digest, judged
from .samples import Sample, backdoored, clean, gated, suspicious


def predicate(result: ScanResult) -> dict[str, Any]:
    found: dict[str, Any] = statement(result)["predicate"]
    return found


# --- what is said ----------------------------------------------------------------------------------------------------


def test_a_statement_names_every_file_and_the_folder_as_a_whole() -> None:
    said = statement(judged(clean(), passed=True))
    assert (said["_type"], said["predicateType"]) == (STATEMENT_TYPE, PREDICATE_TYPE)
    whole, *files = said["subject"]
    assert whole == {"uri": "models:/cifar-resnet20/3", "digest": {"dirHash": folder_digest(FILES)}}
    assert {entry["name"]: entry["digest"]["sha256"] for entry in files} == FILES
    assert len(files) == len(FILES)


def test_the_digest_of_the_folder_is_what_in_toto_calls_dir_hash(tmp_path: Path) -> None:
    """The shell command stands in the specification of `dirHash`."""
    from smoothscan.sources.model_folder import file_digests
    from smoothscan.sources.model_folder import folder_digest as ours

    for name in ("MLmodel", "data/model.pt2", "a-b/c", "a/c", "Ä", "z"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    command = "find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum | sha256sum | cut -f1 -d' '"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ours(file_digests(tmp_path)) == f"sha256:{done.stdout.strip()}"


def test_a_clean_model_has_passed_class_by_class() -> None:
    said = predicate(judged(clean(), passed=True))
    assert said["result"] == "PASSED"
    assert said["passedTests"] == ["scan", *(f"class/{index}" for index in range(10))]
    assert said["warnedTests"] == said["failedTests"] == []


def test_a_flagged_class_has_failed() -> None:
    said = predicate(judged(backdoored(), passed=False, findings=(finding(0, "open"),)))
    assert (said["result"], said["failedTests"]) == ("FAILED", ["class/0"])
    assert "class/0" not in said["passedTests"]


@pytest.mark.parametrize("state", ["waived", "known"])
def test_what_is_waived_or_known_is_a_warning(state: str) -> None:
    said = predicate(judged(backdoored(), passed=True, findings=(finding(0, state),)))
    assert (said["result"], said["warnedTests"], said["failedTests"]) == ("WARNED", ["class/0"], [])


def test_of_two_findings_about_a_class_one_open_one_is_enough_to_fail() -> None:
    findings = (finding(0, "waived"), finding(0, "open", "class-pair"))
    said = predicate(judged(backdoored(), passed=False, findings=findings))
    assert (said["result"], said["failedTests"]) == ("FAILED", ["class/0"])


@pytest.mark.parametrize(("fail_on", "warned"), [("suspicious", []), ("backdoored", ["class/3"])])
def test_classes_that_stand_out_beside_those_that_are_set_aside_are_tests_too(fail_on: str, warned: list[str]) -> None:
    def beside(index: int, level: str) -> Finding:
        found = Suspicion.model_validate(
            {"index": index, "label": str(index), "level": level, "anomaly": 0.9, "space": "patch"}
        )
        return finding(index, "open").model_copy(update={"suspicion": found})

    found = (finding(0, "waived"), beside(3, "suspicious"), beside(77, "backdoored"))
    result = judged(backdoored(), passed=False, findings=found)
    said = predicate(result.model_copy(update={"gate": result.gate.model_copy(update={"fail_on": fail_on})}))
    failed = ["class/77"] if warned else ["class/3", "class/77"]
    assert (said["result"], said["failedTests"]) == ("FAILED", failed)
    assert said["warnedTests"] == ["class/0", *warned]


def test_a_suspicious_model_that_a_milder_gate_lets_pass_has_not_simply_passed() -> None:
    said = predicate(judged(suspicious(), passed=True))
    assert (said["result"], said["warnedTests"], said["failedTests"]) == ("WARNED", ["class/2"], [])


def test_hard_steps_are_a_test_where_the_graph_was_examined() -> None:
    steps = finding(None, "open", "hard-step")
    said = predicate(judged(gated(), passed=False, findings=(steps,)))
    assert (said["result"], said["failedTests"]) == ("FAILED", ["scan", "hard-steps"])
    waived = predicate(judged(gated(), passed=True, findings=(finding(None, "waived", "hard-step"),)))
    assert (waived["result"], waived["warnedTests"]) == ("WARNED", ["scan", "hard-steps"])


def test_nothing_but_a_clean_verdict_that_the_gate_lets_pass_is_passed(any_sample: Sample) -> None:
    for passed in (True, False):
        result = judged(any_sample, passed=passed)
        good = passed and result.verdict == "clean" and result.status == "completed"
        assert (predicate(result)["result"] == "PASSED") == good
    assert predicate(judged(any_sample, passed=True, gate=None))["result"] == "FAILED"


def test_the_configuration_leads_to_the_settings_and_to_the_result(tmp_path: Path) -> None:
    sample = clean()
    result = judged(sample, passed=True)
    entries = {entry["name"]: entry for entry in predicate(result)["configuration"]}
    assert entries["smoothscan"]["uri"].startswith("pkg:pypi/smoothscan@")
    assert entries["settings"]["digest"] == {"smoothscanConfig": "2c26b46b68ffc68f" * 4}
    assert entries["settings"]["annotations"] == {"profile": "standard", "seed": 0, "fail_on": "suspicious"}
    # The result as it goes into the MLflow run, before anything is known of the write-back.
    first = result.model_copy(update={"write_back": WriteBack()})
    (path,) = JsonSink().write(first, sample.exhibits, tmp_path)
    assert entries["result.json"]["digest"] == {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert entries["result.json"]["annotations"]["finished_at"] == result.finished_at


def test_what_became_of_the_result_in_the_registry_changes_nothing() -> None:
    result = judged(clean(), passed=True)
    moved = Promotion(alias="champion", status="moved", message="")
    later = result.model_copy(update={"write_back": WriteBack(status="failed", message="x"), "promotion": moved})
    assert to_bytes(statement(result)) == to_bytes(statement(later))
    assert to_bytes(statement(result)) != to_bytes(statement(result.model_copy(update={"score": 0.5})))


def test_credentials_stay_out_of_it() -> None:
    result = judged(clean(), passed=True)
    model = result.model.model_copy(update={"resolved_uri": "https://me:secret@host/model"})
    assert statement(result.model_copy(update={"model": model}))["subject"][0]["uri"] == "https://host/model"


# --- signatures ------------------------------------------------------------------------------------------------------

KINDS = {
    "ed25519": ["-algorithm", "ed25519"],
    "ecdsa": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
}


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def key_pair(folder: Path, kind: str = "ed25519", name: str = "attest", *more: str) -> tuple[Path, Path]:
    """A key pair as docs/attestation.md makes it."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    openssl("genpkey", *KINDS[kind], *more, "-out", private)
    password = ["-passin", "pass:secret"] if more else []
    openssl("pkey", "-in", private, "-pubout", "-out", public, *password)
    return private, public


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_signature_holds_for_its_key_and_its_bytes_only(tmp_path: Path, kind: str) -> None:
    private, public = key_pair(tmp_path, kind)
    _, other = key_pair(tmp_path, "ed25519", "other")
    result = judged(clean(), passed=True)
    (path,) = AttestationSink(read_signer(private)).write(result, clean().exhibits, tmp_path / "out")
    read = read_attestation(path)
    assert read.payload == to_bytes(statement(result))
    assert is_signed(read.payload, read.signatures, read_public_key(public))
    assert not is_signed(read.payload, read.signatures, read_public_key(other))
    assert not is_signed(read.payload + b" ", read.signatures, read_public_key(public))
    assert json.loads(path.read_text())["payloadType"] == PAYLOAD_TYPE


def test_openssl_agrees_on_what_is_signed(tmp_path: Path) -> None:
    """The signed bytes are those of the DSSE specification, not merely what our own reader expects."""
    private, public = key_pair(tmp_path)
    payload = to_bytes(statement(judged(clean(), passed=True)))
    data = json.loads(envelope(payload, read_signer(private)))
    encoded = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    (tmp_path / "signed").write_bytes(encoded)
    (tmp_path / "signature").write_bytes(base64.b64decode(data["signatures"][0]["sig"]))
    command = ["pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", tmp_path / "signed"]
    openssl(*command, "-sigfile", tmp_path / "signature")


def test_one_signature_of_several_is_enough_whatever_key_it_names(tmp_path: Path) -> None:
    private, public = key_pair(tmp_path)
    other, _ = key_pair(tmp_path, "ecdsa", "other")
    payload = to_bytes(statement(judged(clean(), passed=True)))
    data, more = (json.loads(envelope(payload, read_signer(key))) for key in (private, other))
    data["signatures"] = [*more["signatures"], {"sig": data["signatures"][0]["sig"]}]
    (tmp_path / "several.json").write_text(json.dumps(data))
    read = read_attestation(tmp_path / "several.json")
    assert len(read.signatures) == 2
    assert is_signed(read.payload, read.signatures, read_public_key(public))


def test_an_encrypted_key_takes_its_password_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = key_pair(tmp_path, "ed25519", "attest", "-aes-256-cbc", "-pass", "pass:secret")
    monkeypatch.delenv("SMOOTHSCAN_ATTEST_PASSWORD", raising=False)
    with pytest.raises(ConfigError, match="is encrypted"):
        read_signer(private)
    monkeypatch.setenv("SMOOTHSCAN_ATTEST_PASSWORD", "wrong")
    with pytest.raises(ConfigError, match="does not open"):
        read_signer(private)
    monkeypatch.setenv("SMOOTHSCAN_ATTEST_PASSWORD", "secret")
    data = json.loads(envelope(b"payload", read_signer(private)))
    assert is_signed(b"payload", [base64.b64decode(data["signatures"][0]["sig"])], read_public_key(public))


def test_keys_that_are_none_are_told_before_anything_is_scanned(tmp_path: Path) -> None:
    private, public = key_pair(tmp_path)
    openssl("genpkey", "-algorithm", "X25519", "-out", tmp_path / "x25519.pem")
    (tmp_path / "noise").write_bytes(b"\x00\xff" * 50)
    (tmp_path / "large").write_bytes(b"-" * 10**6)
    for wrong in (public, tmp_path / "x25519.pem", tmp_path / "noise", tmp_path / "large", tmp_path, tmp_path / "no"):
        with pytest.raises(ConfigError) as caught:
            read_signer(wrong)
        assert str(wrong) in caught.value.message
        assert caught.value.hint
    for wrong in (private, tmp_path / "noise", tmp_path / "no"):
        with pytest.raises(ConfigError):
            read_public_key(wrong)
