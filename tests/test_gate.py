"""What holds a model back, and what lets it pass all the same."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.errors import ConfigError
from smoothscan.gate import findings, judge
from smoothscan.result import (
    ErrorInfo,
    Gate,
    ModelInfo,
    Obstacle,
    PairResult,
    ScanResult,
    Waiver,
)
from tests.sinks import samples
from tests.sinks.samples import SAMPLES

TODAY = date(2026, 11, 24)


def waiver(result: ScanResult, **changes: Any) -> Waiver:
    values = {
        "model_digest": result.model.digest,
        "rule": "target-class",
        "index": 0,
        "reason": "looked at",
        "owner": "ann",
        "expires": TODAY,
    }
    return Waiver(**(values | changes))


def gate(result: ScanResult, *waivers: Waiver, **options: Any) -> Gate:
    judged = judge(result, waivers=waivers, today=TODAY, **options)
    assert judged.gate is not None
    assert judged.model_copy(update={"gate": None}) == result, "the gate changes nothing else"
    assert judged.gate.passed == (judged.gate.exit_code == 0)
    return judged.gate


def changed(name: str, **update: Any) -> ScanResult:
    return SAMPLES[name]().result.model_copy(update=update)


# --- findings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("backdoored", [("target-class", 0, None)]),
        ("suspicious", [("target-class", 2, None)]),
        ("pairs", [("class-pair", 4, 9)]),
        ("gated", [("hard-step", None, None)]),
        ("clean", []),
        ("undecided", []),
        ("failed", []),
    ],
)
def test_each_thing_to_fix_is_one_finding(name: str, expected: list[tuple[str, int | None, int | None]]) -> None:
    found = findings(SAMPLES[name]().result)
    assert [(f.rule, f.index, f.source) for f in found] == expected
    assert all(f.state == "open" and f.message for f in found)


def test_a_class_that_every_image_is_led_to_is_told_once_whatever_pairs_lead_there() -> None:
    sample = samples.pairs().result
    by_budget = tuple(c.model_copy(update={"found_by": "budget"}) if c.index == 4 else c for c in sample.classes)
    (found,) = findings(sample.model_copy(update={"classes": by_budget}))
    assert (found.rule, found.index, found.label) == ("target-class", 4, "deer")


def test_findings_name_their_classes() -> None:
    (found,) = findings(samples.pairs().result)
    assert (found.source_label, found.label) == ("truck", "deer")
    assert "truck" in found.message
    assert "deer" in found.message
    assert "\u00a0" not in found.message


@given(
    verdict=st.sampled_from(["suspicious", "backdoored"]),
    targets=st.sets(st.integers(0, 12), max_size=4),
    ways=st.lists(st.sampled_from(["budget", "noise", "pairs", None]), min_size=10, max_size=10),
    pairs=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=3, unique=True),
)
def test_a_flagged_model_has_a_finding_and_none_twice(
    verdict: str, targets: set[int], ways: list[str | None], pairs: list[tuple[int, int]]
) -> None:
    sample = samples.pairs().result
    assert sample.pairs is not None
    flagged = [
        PairResult(
            source=a, target=t, epsilon=9.0, hits=9, n_images=9, transfer_rate=1.0, transfer_ci=(0.6, 1.0), anomaly=0.9
        )
        for a, t in pairs
    ]
    result = sample.model_copy(
        update={
            "verdict": verdict,
            "target_classes": tuple(targets),
            "classes": tuple(
                c.model_copy(update={"flagged": c.index in targets, "found_by": way})
                for c, way in zip(sample.classes, ways, strict=True)
            ),
            "pairs": sample.pairs.model_copy(update={"flagged": tuple(flagged)}),
        }
    )
    found = findings(result)
    assert found
    assert len({f.fingerprint for f in found}) == len(found)
    assert targets <= {f.index for f in found}, "every target class is told, by itself or by its pairs"
    assert gate(result).exit_code == 1


def test_fingerprints_outlive_versions_and_scores_and_tell_models_and_classes_apart() -> None:
    first = samples.backdoored().result
    later = first.model_copy(
        update={
            "model": first.model.model_copy(update={"version": "4", "uri": "models:/cifar-resnet20/4", "digest": "x"}),
            "score": 0.6,
            "verdict": "suspicious",
            "classes": tuple(c.model_copy(update={"score": 0.6, "e50": 0.9}) for c in first.classes),
        }
    )
    assert [f.fingerprint for f in findings(first)] == [f.fingerprint for f in findings(later)]
    other = first.model_copy(update={"model": first.model.model_copy(update={"name": "other"})})
    unnamed = [first.model_copy(update={"model": ModelInfo(uri=uri)}) for uri in ("runs:/a/model", "runs:/b/model")]
    several = [first, other, *unnamed, *(SAMPLES[name]().result for name in ("suspicious", "pairs", "gated"))]
    prints = {f.fingerprint for result in several for f in findings(result)}
    assert len(prints) == len(several)
    # Programs keep them: what changes this changes every alert that anybody has dismissed.
    assert findings(first)[0].fingerprint == "4bb264058b053881f2d2a03cfd157901203d27ae56233d57c833269ed6cb6779"


# --- waivers ---------------------------------------------------------------------------------------------------------


def test_a_waived_model_passes_and_its_verdict_stands() -> None:
    result = samples.backdoored().result
    judged = judge(result, waivers=[waiver(result)], today=TODAY)
    assert judged.gate is not None
    assert (judged.gate.passed, judged.gate.exit_code, judged.verdict) == (True, 0, "backdoored")
    (found,) = judged.gate.findings
    assert found.state == "waived"
    assert found.waiver == waiver(result)
    assert judged.gate.notes == ()


def test_every_finding_has_to_be_waived() -> None:
    result = changed("backdoored", target_classes=(0, 7))
    assert gate(result, waiver(result)).exit_code == 1
    assert gate(result, waiver(result), waiver(result, index=7)).exit_code == 0


@given(days=st.integers(-1000, 1000))
def test_a_waiver_holds_to_the_end_of_its_last_day(days: int) -> None:
    result = samples.backdoored().result
    found = gate(result, waiver(result, expires=TODAY + timedelta(days)))
    assert found.passed == (days >= 0)
    assert ("expired" in " ".join(found.notes)) == (days < 0)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"model_digest": "sha256:" + "0" * 64}, "bound to other files"),
        ({"index": 1}, "class 1 matches nothing that was found"),
        ({"rule": "hard-step", "index": None}, "hard steps in the graph matches nothing"),
        ({"rule": "class-pair", "source": 3}, "the pair class 3 to class 0 matches nothing"),
    ],
)
def test_a_waiver_for_anything_else_does_not_hold_and_says_so(change: dict[str, Any], note: str) -> None:
    result = samples.backdoored().result
    found = gate(result, waiver(result, **change))
    assert (found.exit_code, found.findings[0].state) == (1, "open")
    assert note in " ".join(found.notes)


def test_a_pair_is_waived_by_source_and_target() -> None:
    result = samples.pairs().result
    assert gate(result, waiver(result, index=4)).exit_code == 1, "not by its target alone"
    assert gate(result, waiver(result, rule="class-pair", index=4, source=8)).exit_code == 1
    assert gate(result, waiver(result, rule="class-pair", index=4, source=9)).exit_code == 0


def test_the_day_is_asked_for() -> None:
    result = samples.backdoored().result
    with pytest.raises(ValueError, match="the day"):
        judge(result, waivers=[waiver(result)])


@pytest.mark.parametrize("name", ["failed", "refused", "unsupported", "timed_out", "inconclusive", "undecided"])
def test_what_was_not_examined_cannot_be_waived(name: str) -> None:
    result = SAMPLES[name]().result
    every = [waiver(result, index=i) for i in range(10)] + [waiver(result, rule="hard-step", index=None)]
    assert gate(result, *every).exit_code == result.exit_code() != 0


# --- what keeps a scan from an answer --------------------------------------------------------------------------------


@given(obstacles=st.sets(st.sampled_from(get_args(Obstacle))), broken=st.booleans())
def test_hard_steps_are_waived_only_where_nothing_else_is_in_the_way(obstacles: set[Obstacle], broken: bool) -> None:
    error = ErrorInfo(type="NonFiniteError", message="The model answers NaN.") if broken else None
    result = changed("gated", obstacles=tuple(obstacles), error=error)
    known = waiver(result, rule="hard-step", index=None)
    assert gate(result).exit_code == 4
    assert gate(result, known).exit_code == (0 if obstacles == {"hard-step"} and not broken else 4)


@given(obstacles=st.sets(st.sampled_from(sorted(set(get_args(Obstacle)) - {"hard-step"}))))
def test_a_waived_class_does_not_make_up_for_an_incomplete_search(obstacles: set[Obstacle]) -> None:
    result = changed("backdoored", obstacles=tuple(obstacles))
    found = gate(result, waiver(result))
    assert found.exit_code == (4 if obstacles else 0)
    assert bool(found.notes) == bool(obstacles)


def test_a_flagged_model_with_hard_steps_needs_both_waived() -> None:
    safety = samples.gated().result.safety
    result = changed("backdoored", obstacles=("hard-step",), safety=safety)
    steps = waiver(result, rule="hard-step", index=None)
    assert [f.rule for f in findings(result)] == ["target-class", "hard-step"]
    assert [gate(result, *some).exit_code for some in ([], [steps], [waiver(result)], [waiver(result), steps])] == [
        1,
        1,
        4,
        0,
    ]


def test_what_does_not_block_needs_no_waiver() -> None:
    result = samples.suspicious().result
    assert gate(result, fail_on="backdoored").exit_code == 0
    assert gate(result, fail_on="suspicious").exit_code == 1
    assert gate(samples.backdoored().result, fail_on="backdoored").exit_code == 1


# --- the baseline ----------------------------------------------------------------------------------------------------


def test_what_the_baseline_has_is_known_and_what_is_new_fails() -> None:
    old, new = samples.backdoored().result, changed("backdoored", target_classes=(0, 7))
    same = gate(old, baseline=old)
    assert (same.exit_code, same.findings[0].state) == (0, "known")
    assert same.baseline is not None
    assert same.notes == (f"Compared with the baseline models:/cifar-resnet20/3 ({old.model.digest}).",)
    more = gate(new, baseline=old)
    assert (more.exit_code, [f.state for f in more.findings]) == (1, ["known", "open"])
    assert "Not known from the baseline, class 7 (horse): it is new." in more.notes
    assert gate(old).baseline is None


def test_a_class_that_has_moved_is_another_finding() -> None:
    old = samples.backdoored().result
    moved = old.model_copy(
        update={"classes": tuple(c.model_copy(update={"label": f"new {c.label}"}) for c in old.classes)}
    )
    found = gate(moved, baseline=old)
    assert found.exit_code == 1
    assert "there it is called class 0 (airplane)" in found.notes[1]


def test_a_suspicion_in_the_baseline_does_not_excuse_a_backdoor() -> None:
    result = samples.backdoored().result
    suspicion = result.model_copy(update={"verdict": "suspicious"})
    assert gate(result, baseline=suspicion).exit_code == 1
    assert gate(suspicion, baseline=result).exit_code == 0


def test_an_expired_waiver_is_not_outlived_by_a_baseline() -> None:
    result = samples.backdoored().result
    expired = waiver(result, expires=TODAY - timedelta(1))
    assert gate(result, expired, baseline=judge(result, waivers=[expired], today=expired.expires)).exit_code == 1


def test_hard_steps_are_known_as_long_as_none_is_new() -> None:
    old = samples.gated().result
    first, *_ = old.safety.architecture
    fewer = old.safety.model_copy(update={"architecture": (first,)})
    assert gate(old, baseline=old).exit_code == 0
    assert gate(old.model_copy(update={"safety": fewer}), baseline=old).exit_code == 0
    found = gate(old, baseline=old.model_copy(update={"safety": fewer}))
    assert found.exit_code == 4
    assert "3 of its steps are new" in found.notes[1]


def test_a_baseline_of_another_model_is_a_mistake() -> None:
    result = samples.backdoored().result
    other = result.model_copy(update={"model": result.model.model_copy(update={"name": "other"})})
    with pytest.raises(ConfigError, match="of 'other', not of 'cifar-resnet20'"):
        judge(result, baseline=other)
    failed = samples.ended_early("failed").result.model_copy(update={"model": ModelInfo(uri="models:/gone/1")})
    assert gate(failed, baseline=other).exit_code == 3, "what happened to the scan comes first"
