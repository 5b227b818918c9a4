"""JUnit: a case for each class, counts that agree, and red exactly where the exit code is."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from smoothscan.exhibits import Exhibits
from smoothscan.gate import judge
from smoothscan.result import Promotion, ScanResult
from smoothscan.sinks.junit import JunitSink, to_junit

from .gated import EVERYTHING, hostile, judged, known, waived
from .samples import SAMPLES

OUTCOMES = ("failure", "error", "skipped")


def suite_of(result: ScanResult) -> Xml.Element:
    suites = Xml.fromstring(to_junit(result))
    assert suites.tag == "testsuites"
    (suite,) = suites
    assert {key: suites.get(key) for key in ("tests", "failures", "errors", "time")} == {
        key: suite.get(key) for key in ("tests", "failures", "errors", "time")
    }
    return suite


def outcome(case: Xml.Element) -> str:
    return next((child.tag for child in case if child.tag in OUTCOMES), "passed")


def outcomes(result: ScanResult) -> dict[str, str]:
    return {str(case.get("name")): outcome(case) for case in suite_of(result).iter("testcase")}


@pytest.mark.parametrize("name", EVERYTHING)
def test_it_keeps_to_the_common_schema(name: str) -> None:
    """The rules of the schema that Jenkins' xUnit plugin and pytest check against (junit-10), less its file."""
    suite = suite_of(EVERYTHING[name])
    assert suite.tag == "testsuite"
    assert suite.get("name")
    assert set(suite.attrib) <= {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname"}
    assert re.fullmatch(r"\d+\.\d{3}", str(suite.get("time")))
    if (timestamp := suite.get("timestamp")) is not None:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", timestamp)
    assert suite[0].tag == "properties"
    assert {child.tag for child in suite} == {"properties", "testcase"}
    for entry in suite.iter("property"):
        assert set(entry.attrib) == {"name", "value"}
    cases = list(suite.iter("testcase"))
    assert cases, "never empty"
    assert suite.get("tests") == str(len(cases))
    for tag, counted in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert suite.get(counted) == str(sum(outcome(case) == tag for case in cases))
    assert len({case.get("name") for case in cases}) == len(cases)
    for case in cases:
        assert set(case.attrib) == {"name", "classname", "time"}
        assert len(case) <= 1
        for child in case:
            assert child.tag in (*OUTCOMES, "system-out")
            assert set(child.attrib) <= ({"message"} if child.tag == "skipped" else {"message", "type"})


@pytest.mark.parametrize("name", EVERYTHING)
def test_it_is_red_exactly_where_the_exit_code_is(name: str) -> None:
    result = EVERYTHING[name]
    assert result.gate is not None
    red = set(outcomes(result).values()) & {"failure", "error"}
    expected = {0: set(), 1: {"failure"}, 3: {"error"}, 4: {"error"}, 5: {"error"}}[result.gate.exit_code]
    assert red == expected


def test_each_class_is_a_case() -> None:
    cases = outcomes(judged("backdoored"))
    assert len(cases) == 10
    assert cases.pop("class 0 (airplane)") == "failure"
    assert set(cases.values()) == {"passed"}


def test_what_is_waived_or_known_is_skipped_and_says_why() -> None:
    for result, why in (
        (waived("backdoored"), "waived by ann@example.org until 2027-01-31: looked at"),
        (known("backdoored"), "known from the baseline, which has it, too"),
    ):
        suite = suite_of(result)
        (skipped,) = suite.iter("skipped")
        assert skipped.get("message") == why
        assert suite.get("failures") == "0"


def test_what_does_not_block_is_no_failure() -> None:
    result = judge(SAMPLES["suspicious"]().result, "backdoored")
    assert outcomes(result)["class 2 (bird)"] == "skipped"
    assert set(outcomes(result).values()) == {"passed", "skipped"}


def test_a_pair_fails_at_its_target() -> None:
    suite = suite_of(judged("pairs"))
    (failure,) = suite.iter("failure")
    assert failure.get("type") == "class-pair"
    assert "truck" in str(failure.get("message"))
    assert outcomes(judged("pairs"))["class 4 (deer)"] == "failure"


def test_a_failed_scan_is_one_errored_case() -> None:
    suite = suite_of(judged("failed"))
    (case,) = suite.iter("testcase")
    (error,) = case
    assert error.tag == "error"
    assert error.get("type") == "ModelLoadError"
    assert "does not load" in str(error.get("message"))
    assert "code_paths" in str(error.text)


def test_an_inconclusive_scan_passes_no_class() -> None:
    cases = outcomes(judged("undecided"))
    assert cases.pop("scan") == "error"
    assert set(cases.values()) == {"skipped"}
    cases = outcomes(judged("gated"))
    assert cases.pop("graph: steps without a gradient") == "error"
    assert set(cases.values()) == {"skipped"}
    cases = outcomes(waived("gated"))
    assert cases.pop("graph: steps without a gradient") == "skipped"
    assert set(cases.values()) == {"passed"}


def test_classes_that_were_only_screened_have_a_case_that_says_so() -> None:
    sample = SAMPLES["many_classes"]().result
    few = tuple(c for c in sample.classes if c.index % 100 == 76)
    passes = tuple(0.0 if t == 999 else 21.0 for t in range(1000))
    coverage = sample.coverage.model_copy(update={"classes_in_full": len(few), "passes_by_class": passes})
    result = judge(sample.model_copy(update={"classes": few, "coverage": coverage}))
    suite = suite_of(result)
    assert suite.get("tests") == "1000"
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert "in a screening only" in str(cases["class 5"].findtext("system-out"))
    assert outcome(cases["class 776 (frog of kind 776)"]) == "failure"
    assert outcome(cases["class 999"]) == "skipped", "it was not looked at"


@pytest.mark.parametrize("text", ["\x00\x08\x1b[2J\ufffe\uffff\ud800", "]]> </testsuite>", '"><b a="'])
def test_hostile_names_are_text(text: str) -> None:
    suite = suite_of(hostile(text))
    assert suite.get("tests") == "10"


def test_long_names_do_not_make_it_long() -> None:
    assert len(to_junit(EVERYTHING["hostile 9"])) < 100_000


def test_the_sink_writes_one_file_and_the_same_bytes(tmp_path: Path) -> None:
    (path,) = JunitSink().write(judged("backdoored"), Exhibits(), tmp_path / "out")
    assert path.name == "junit.xml"
    assert path.read_bytes() == to_junit(judged("backdoored"))


def test_an_alias_that_could_not_be_moved_is_an_error() -> None:
    failed = Promotion(alias="champion", status="failed", message="champion was left on version 1: refused.")
    result = judged("clean").model_copy(update={"promotion": failed})
    assert outcomes(result)["alias"] == "error"
    (code,) = [each.get("value") for each in suite_of(result).iter("property") if each.get("name") == "exit_code"]
    assert code == "3"
