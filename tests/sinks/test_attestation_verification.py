from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.errors import AttestationError
from smoothscan.result import Finding, ScanResult, Waiver
from smoothscan.sinks.attestation.signing import PAYLOAD_TYPE
from smoothscan.sinks.attestation.sink import AttestationSink
from smoothscan.sinks.attestation.statement import statement
from smoothscan.sinks.attestation.verification import Attestation, objections, read_attestation
from smoothscan.sinks.text import plain

from .attested import FILES, NOW, finding, folder_digest, judged
from .samples import backdoored, clean

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
