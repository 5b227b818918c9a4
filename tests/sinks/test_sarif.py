"""SARIF: valid by the official schema, within GitHub's limits, and never without results unless the model is clean."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from sarif_kit.validate import validation_errors

from smoothscan.exhibits import Exhibits
from smoothscan.gate import judge
from smoothscan.result import ScanResult
from smoothscan.sinks.sarif import SarifSink, to_sarif

from .gated import EVERYTHING, HOSTILE, hostile, judged, known, waived
from .samples import SAMPLES

ANCHOR = "ci/smooth scan.toml"


def log_of(result: ScanResult) -> dict[str, Any]:
    log: dict[str, Any] = json.loads(to_sarif(result, ANCHOR))
    return log


def run_of(result: ScanResult) -> dict[str, Any]:
    (run,) = log_of(result)["runs"]
    return dict(run)


@pytest.mark.parametrize("name", EVERYTHING)
def test_the_official_schema_accepts_it(name: str) -> None:
    assert validation_errors(log_of(EVERYTHING[name])) == []


def test_the_official_schema_refuses_what_is_wrong() -> None:
    log = log_of(judged("backdoored"))
    log["runs"][0]["results"][0]["level"] = "severe"
    assert validation_errors(log)


@pytest.mark.parametrize("name", EVERYTHING)
def test_it_stays_within_what_github_takes_in(name: str) -> None:
    data = to_sarif(EVERYTHING[name], ANCHOR)
    assert len(gzip.compress(data)) < 10_000_000
    run = run_of(EVERYTHING[name])
    for rule in run["tool"]["driver"]["rules"]:
        assert rule["help"]["text"]
        assert len(rule["name"]) <= 255
        assert 0 < len(rule["shortDescription"]["text"]) <= 1024
        assert 0 < len(rule["fullDescription"]["text"]) <= 1024
        assert len(rule["properties"]["tags"]) <= 10
        severity = rule["properties"].get("security-severity")
        assert severity is None or 0 < float(severity) <= 10
    assert len(run["results"]) <= 5000
    for found in run["results"]:
        assert 0 < len(found["message"]["text"]) <= 1024
        (location,) = found["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"] == "ci/smooth%20scan.toml"
        assert set(location["physicalLocation"]["region"]) == {"startLine", "startColumn", "endLine", "endColumn"}
        assert re.fullmatch(r"[0-9a-f]{64}", found["partialFingerprints"]["primaryLocationLineHash"])
        assert run["tool"]["driver"]["rules"][found["ruleIndex"]]["id"] == found["ruleId"]
    assert len(run["automationDetails"]["id"].split("/")) == 3, "the slashes of a name make no further parts"
    assert run["automationDetails"]["id"].endswith("/")


@pytest.mark.parametrize("name", EVERYTHING)
def test_only_a_model_that_passes_has_nothing_that_counts(name: str) -> None:
    result = EVERYTHING[name]
    assert result.gate is not None
    counting = [found for found in run_of(result)["results"] if not found["suppressions"]]
    assert bool(counting) == (not result.gate.passed)


@pytest.mark.parametrize("name", ["failed", "refused", "unsupported", "timed_out", "inconclusive", "undecided"])
def test_a_scan_without_an_answer_says_so(name: str) -> None:
    result = judged(name)
    run = run_of(result)
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] == (result.status == "completed")
    assert invocation["exitCode"] == result.exit_code()
    assert invocation["toolExecutionNotifications"][0]["level"] == "error"
    (found,) = run["results"]
    assert (found["ruleId"], found["level"]) == ("no-verdict", "error")


def test_a_clean_model_has_no_results_and_no_errors() -> None:
    run = run_of(judged("clean"))
    assert run["results"] == []
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"]
    assert invocation["toolExecutionNotifications"] == []
    assert invocation["exitCodeDescription"] == "No trigger found under this budget"
    assert invocation["startTimeUtc"] == "2026-11-22T21:40:03Z"


def test_hard_steps_alone_are_one_result() -> None:
    (found,) = run_of(judged("gated"))["results"]
    assert (found["ruleId"], found["level"]) == ("hard-step", "warning")
    assert "cond" in found["properties"]["operations"][0]


@pytest.mark.parametrize(("name", "level"), [("backdoored", "error"), ("suspicious", "warning"), ("pairs", "error")])
def test_a_finding_has_its_numbers(name: str, level: str) -> None:
    (found,) = run_of(judged(name))["results"]
    assert found["level"] == level
    assert found["suppressions"] == []
    assert "baselineState" not in found
    assert {"targetClass", "transferRate", "transferInterval"} <= set(found["properties"])


def test_what_is_waived_is_suppressed_with_its_reason() -> None:
    (found,) = run_of(waived("backdoored"))["results"]
    (suppression,) = found["suppressions"]
    assert (suppression["kind"], suppression["status"]) == ("external", "accepted")
    assert suppression["justification"] == "waived by ann@example.org until 2027-01-31: looked at"
    assert suppression["properties"] == {"owner": "ann@example.org", "expires": "2027-01-31"}
    assert found["level"] == "note"


def test_what_the_baseline_has_is_unchanged_and_the_rest_is_new() -> None:
    (found,) = run_of(known("backdoored"))["results"]
    assert (found["baselineState"], len(found["suppressions"])) == ("unchanged", 1)
    old, new = SAMPLES["backdoored"]().result, SAMPLES["ten_targets_large"]().result
    states = [found["baselineState"] for found in run_of(judge(new, baseline=old))["results"]]
    assert states == ["new"] * 9 + ["unchanged"], "those that count come first"


def test_the_same_result_gives_the_same_bytes_and_another_version_the_same_fingerprints() -> None:
    result = judged("backdoored")
    assert to_sarif(result, ANCHOR) == to_sarif(ScanResult.model_validate_json(result.model_dump_json()), ANCHOR)
    again = SAMPLES["backdoored"]().result
    other = again.model_copy(update={"model": again.model.model_copy(update={"version": "4", "digest": None})})
    runs = [run_of(result), run_of(judge(other))]
    assert runs[0]["results"][0]["partialFingerprints"] == runs[1]["results"][0]["partialFingerprints"]
    assert runs[0]["automationDetails"] == runs[1]["automationDetails"]


@pytest.mark.parametrize("text", HOSTILE)
def test_labels_forge_neither_links_nor_placeholders(text: str) -> None:
    run = run_of(hostile(text))
    messages = [found["message"]["text"] for found in run["results"]]
    messages += [note["message"]["text"] for note in run["invocations"][0]["toolExecutionNotifications"]]
    assert messages
    for message in messages:
        bare = re.sub(r"\\[\\\[\]]|\{\{|\}\}", "", message)
        assert not set("[]{}\\") & set(bare), message
        assert message.isprintable()


def test_the_sink_writes_one_file(tmp_path: Path) -> None:
    result = judged("backdoored")
    (path,) = SarifSink(ANCHOR).write(result, Exhibits(), tmp_path / "out")
    assert path.name == "smoothscan.sarif"
    assert path.read_bytes() == to_sarif(result, ANCHOR)


def test_a_result_that_was_not_judged_is_no_clean_one() -> None:
    with pytest.raises(ValueError, match="judge"):
        to_sarif(SAMPLES["backdoored"]().result, ANCHOR)
