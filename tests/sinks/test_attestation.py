from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.errors import AttestationError, ConfigError
from smoothscan.result import Finding, Gate, Promotion, ScanResult, Waiver, WriteBack
from smoothscan.sinks.attestation.signing import PAYLOAD_TYPE, envelope, is_signed, read_public_key, read_signer
from smoothscan.sinks.attestation.sink import AttestationSink
from smoothscan.sinks.attestation.statement import PREDICATE_TYPE, STATEMENT_TYPE, statement, to_bytes
from smoothscan.sinks.attestation.verification import Attestation, objections, read_attestation
from smoothscan.sinks.json_file import JsonSink
from smoothscan.sinks.text import plain

from .samples import Sample, backdoored, clean, gated, suspicious

FILES = {"MLmodel": "a" * 64, "data/model.pt2": "b" * 64, "a file": "c" * 64}
NOW = datetime.fromisoformat(str(clean().result.finished_at)) + timedelta(days=1)


def folder_digest(files: dict[str, str]) -> str:
    """What `sha256sum` over all files says, hashed."""
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in sorted(files.items())).encode()).hexdigest()


def judged(sample: Sample, *, passed: bool, findings: tuple[Finding, ...] = (), **changes: Any) -> ScanResult:
    model = sample.result.model.model_copy(update={"files": FILES, "digest": f"sha256:{folder_digest(FILES)}"})
    gate = Gate(passed=passed, exit_code=0 if passed else 1, fail_on="suspicious", findings=findings)
    return sample.result.model_copy(update={"model": model, "gate": gate, **changes})


def finding(index: int | None, state: str, rule: str = "target-class") -> Finding:
    return Finding.model_validate(
        {"rule": rule, "index": index, "message": "found", "fingerprint": "f", "state": state}
    )


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


# --- what speaks against it ------------------------------------------------------------------------------------------


def attested(tmp_path: Path, result: ScanResult) -> Attestation:
    (path,) = AttestationSink(None).write(result, clean().exhibits, tmp_path)
    return read_attestation(path)


def against(tmp_path: Path, result: ScanResult, files: dict[str, str] = FILES, **changes: Any) -> list[str]:
    model = result.model.model_copy(update={"files": files, "digest": f"sha256:{folder_digest(files)}"})
    options: dict[str, Any] = {"allow_warned": False, "max_age": timedelta(days=90), "now": NOW}
    return objections(attested(tmp_path, result).statement, model, **(options | changes))


def test_nothing_speaks_against_the_same_files(tmp_path: Path) -> None:
    assert against(tmp_path, judged(clean(), passed=True)) == []


def test_without_files_there_is_nothing_to_attest(tmp_path: Path) -> None:
    result = judged(clean(), passed=True)
    unknown = result.model_copy(update={"model": result.model.model_copy(update={"digest": None, "files": {}})})
    assert AttestationSink(None).write(unknown, clean().exhibits, tmp_path / "out") == ()
    assert not (tmp_path / "out").exists()


def test_files_that_changed_came_or_went_are_named(tmp_path: Path) -> None:
    files = {"MLmodel": "d" * 64, "a file": "c" * 64, "code/\x1b[31mnew.py": "e" * 64}
    changed, added, missing = against(tmp_path, judged(clean(), passed=True), files)
    assert (changed, missing) == (
        "1 file changed since the scan: MLmodel.",
        "1 file missing now: data/model.pt2.",
    )
    assert added == "1 file not there when it was scanned: code/new.py."
    many = {**FILES, **{f"{n:02}": "f" * 64 for n in range(20)}}
    (added,) = against(tmp_path, judged(clean(), passed=True), many)
    assert added.endswith("00, 01, 02, 03, 04 and 15 more.")


def test_a_statement_whose_parts_contradict_each_other(tmp_path: Path) -> None:
    result = judged(clean(), passed=True)
    forged = result.model_copy(update={"model": result.model.model_copy(update={"digest": "sha256:" + "0" * 64})})
    model = result.model
    read = attested(tmp_path, forged).statement
    (said,) = objections(read, model, allow_warned=False, max_age=timedelta(days=90), now=NOW)
    assert "whole folder" in said


def test_a_model_that_did_not_pass(tmp_path: Path) -> None:
    (said,) = against(tmp_path, judged(backdoored(), passed=False), allow_warned=True)
    assert "did not pass: backdoored" in said
    warned = judged(backdoored(), passed=True, findings=(finding(0, "waived"),))
    (said,) = against(tmp_path, warned)
    assert "reservations" in said
    assert "--allow-warned" in said
    assert against(tmp_path, warned, allow_warned=True) == []


def test_a_waiver_that_has_expired_since_excuses_nothing_any_more(tmp_path: Path) -> None:
    def waived(index: int, days: int) -> Finding:
        day = NOW.date() + timedelta(days)
        waiver = Waiver(model_digest="sha256:0", rule="target-class", reason="x", owner="y", expires=day)
        return finding(index, "waived").model_copy(update={"waiver": waiver})

    result = judged(backdoored(), passed=True, findings=(waived(0, 9), waived(1, 5)))
    assert against(tmp_path, result, allow_warned=True, now=NOW + timedelta(days=5)) == []
    (said,) = against(tmp_path, result, allow_warned=True, now=NOW + timedelta(days=6))
    assert said == f"It passed by a waiver that held until {(NOW + timedelta(days=5)).date()}."


@pytest.mark.parametrize(
    ("finished_at", "said"),
    [
        ("2026-08-01T00:00:00+00:00", "114 days ago, and at most 90 days"),
        ("2027-01-01T00:00:00", "in the future"),
        (None, "does not say when"),
        ("yesterday", "does not say when"),
    ],
)
def test_a_scan_that_is_too_old_or_of_no_known_time(tmp_path: Path, finished_at: str | None, said: str) -> None:
    (objection,) = against(tmp_path, judged(clean(), passed=True, finished_at=finished_at))
    assert said in objection


# --- files that others wrote -----------------------------------------------------------------------------------------


def rewritten(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "attestation.json"
    path.write_text(json.dumps(statement(judged(clean(), passed=True)) | changes))
    return path


SUBJECT = {"name": "MLmodel", "digest": {"sha256": "a" * 64}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"predicateType": "https://slsa.dev/provenance/v1"}, "predicateType: input should be"),
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "_type: input should be"),
        ({"subject": [SUBJECT, SUBJECT]}, "it names MLmodel more than once"),
        ({"subject": [{"digest": {"sha256": "a" * 64}}]}, "has no name"),
        ({"subject": [{"name": "x", "digest": {"sha256": 5}}]}, "subject.0.digest.sha256"),
        ({"subject": "all of them"}, "subject"),
        ({"predicate": {"result": "passed", "configuration": []}}, "predicate.result"),
        ({"predicate": None}, "predicate"),
        ({"payload": "", "payloadType": "text/plain", "signatures": []}, "text/plain"),
        ({"payload": "", "payloadType": PAYLOAD_TYPE, "signatures": []}, "1 to 16 signatures, this one 0"),
        ({"payload": "", "payloadType": PAYLOAD_TYPE, "signatures": [{"sig": ""}] * 17}, "this one 17"),
        ({"payload": "?", "payloadType": PAYLOAD_TYPE, "signatures": [{"sig": ""}]}, "base64"),
        ({"payload": "bnVsbA==", "payloadType": PAYLOAD_TYPE, "signatures": [{"sig": ""}]}, "dictionary"),
        ({"payload": 1, "payloadType": PAYLOAD_TYPE, "signatures": [{"sig": ""}]}, "payload: input should be"),
        ({"payload": "", "payloadType": PAYLOAD_TYPE, "signatures": {"sig": ""}}, "signatures"),
    ],
)
def test_what_is_no_attestation_says_why(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = rewritten(tmp_path, **changes)
    with pytest.raises(AttestationError) as caught:
        read_attestation(path)
    assert said in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 10**6, b'{"payload":' * 10**5])
def test_what_is_no_json(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(AttestationError):
        read_attestation(tmp_path / "x.json")


def test_a_file_that_is_not_there_or_endless(tmp_path: Path) -> None:
    for path in (tmp_path / "no.json", tmp_path, Path("/dev/zero")):
        with pytest.raises(AttestationError) as caught:
            read_attestation(path)
        assert str(path) in caught.value.message


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
places = st.lists(
    st.sampled_from(["_type", "subject", "predicateType", "predicate", "result", "configuration", "digest", "name"])
    | st.sampled_from(["annotations", "finished_at", "waived_until", "verdict", "uri", "sha256", "dirHash"])
    | st.integers(0, 3),
    min_size=1,
    max_size=6,
)


@given(st.lists(st.tuples(places, anything), min_size=1, max_size=3), st.booleans())
def test_whatever_is_changed_in_one_there_is_an_answer(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[list[Any], Any]], wrapped: bool
) -> None:
    """Either it cannot be read, or it is judged; nothing else comes out, and what is judged can be printed."""
    result = judged(clean(), passed=True)
    said = statement(result)
    for place, value in changes:
        part: Any = said
        for step in place[:-1]:
            known = isinstance(step, int) == isinstance(part, list) and (
                step in part if isinstance(part, dict) else step < len(part) if isinstance(part, list) else False
            )
            part = part[step] if known else part
        if isinstance(part, dict) and isinstance(place[-1], str):
            part[place[-1]] = value
        elif isinstance(part, list):
            part.append(value)
    data = json.dumps(said).encode()
    if wrapped:
        signature = {"sig": "c2ln"}
        payload = base64.urlsafe_b64encode(data).decode()
        data = json.dumps({"payload": payload, "payloadType": PAYLOAD_TYPE, "signatures": [signature]}).encode()
    path = tmp_path_factory.getbasetemp() / "changed.json"
    path.write_bytes(data)
    options: dict[str, Any] = {"allow_warned": False, "max_age": timedelta(days=90), "now": NOW}
    try:
        read = read_attestation(path).statement
    except AttestationError as error:
        said_of_it = [error.message]
    else:
        said_of_it = objections(read, result.model, **options)
        assert said_of_it or (read.files, read.predicate.result) == (FILES, "PASSED")
    assert said_of_it == [plain(line) for line in said_of_it]
