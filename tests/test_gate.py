"""What holds a model back, and what lets it pass all the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.cli.outcome import as_text
from smoothscan.config import ScanConfig
from smoothscan.errors import ConfigError
from smoothscan.exhibits import Exhibits
from smoothscan.gate import UNTOLD, findings, judge
from smoothscan.result import (
    CalibrationUse,
    ErrorInfo,
    Gate,
    ModelInfo,
    Obstacle,
    PairResult,
    ScanResult,
    SpaceResult,
    Waiver,
)
from smoothscan.sinks.advice import advice
from smoothscan.sinks.attestation.statement import statement
from smoothscan.sinks.html import render
from smoothscan.sinks.junit import cases
from smoothscan.sinks.markdown import to_markdown
from smoothscan.sinks.sarif import to_sarif
from smoothscan.verdict.decision import BACKDOORED, SUSPICIOUS, decide
from smoothscan.verdict.decision import score as score_of
from smoothscan.verdict.evidence import Curves, Evidence, NoiseCounts
from tests.sinks import samples
from tests.sinks.samples import SAMPLES
from tests.verdict.test_decision import VALUES, curves, fired, quiet, spread

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


# --- what is suspect beside the targets ------------------------------------------------------------------------------


def scan(*searches: Curves, noise: NoiseCounts | None = None, labels: Sequence[str] = samples.ANIMALS) -> ScanResult:
    """What a scan says that counted this."""
    sources = [["a.png"]] * len(labels)
    verdict = decide(Evidence(tuple(searches), noise or quiet(len(labels))), labels, sources, VALUES)
    told = ("anomaly", "score", "target_classes", "space", "spaces", "classes", "obstacles", "reasons", "suspicions")
    update = {name: getattr(verdict, name) for name in told} | {"verdict": verdict.name}
    return samples.clean().result.model_copy(update=update)


def easy(**budgets: float) -> list[float]:
    """Budgets of ten classes: ordinary ones, but for those that are given as `c3=0.5`."""
    return [budgets.get(f"c{t}", ordinary) for t, ordinary in enumerate(spread())]


def as_before(result: ScanResult) -> ScanResult:
    """The same as an older version wrote it."""
    return result.model_copy(update={"suspicions": None})


def both() -> list[ScanResult]:
    """Two scans whose verdict is about class 3 alone, and in which class 7 would be flagged without it."""
    other_space = scan(curves(easy(c3=0.5)), curves(easy(c7=0.65), space="patch"))
    same_space = scan(curves(easy(c3=0.3, c7=0.95)))
    for result in (other_space, same_space):
        assert (result.verdict, result.target_classes) == ("backdoored", (3,))
    return [other_space, same_space]


@pytest.mark.parametrize("which", [0, 1], ids=["other space", "same space"])
@pytest.mark.parametrize("by", ["waiver", "baseline"])
def test_what_is_set_aside_does_not_hide_another_class(which: int, by: str) -> None:
    result = both()[which]
    if by == "waiver":
        found = gate(result, waiver(result, index=3))
    else:
        earlier = scan(curves(easy(c3=0.5)), curves(easy(), space="patch"))
        assert earlier.target_classes == (3,)
        found = gate(result, baseline=earlier)
    assert found.exit_code == 1
    old, new = found.findings
    assert (old.index, old.state, old.suspicion) == (3, "waived" if by == "waiver" else "known", None)
    assert (new.rule, new.index, new.label, new.state) == ("target-class", 7, "horse", "open")
    assert new.suspicion is not None
    assert new.suspicion.level == ("backdoored" if which == 0 else "suspicious")
    assert new.suspicion.space == ("patch" if which == 0 else "l2")
    assert any("horse" in note and new.suspicion.level in note for note in found.notes)
    alone = scan(curves(easy()), curves(easy(c7=0.65), space="patch")) if which == 0 else scan(curves(easy(c7=0.95)))
    assert (alone.verdict, alone.target_classes) == (new.suspicion.level, (7,)), "it is what a scan would say of it"


def test_where_the_main_finding_is_open_nothing_changes() -> None:
    for result in both():
        found = gate(result)
        assert ([f.index for f in found.findings], found.exit_code, found.notes) == ([3], 1, ())
        told = gate(result, waiver(result, index=7))
        assert (told.exit_code, told.notes) == (1, ()), "a waiver for the other class is about something"


def test_a_further_suspicion_is_waived_like_any_other() -> None:
    for result in both():
        found = gate(result, waiver(result, index=3), waiver(result, index=7))
        assert [(f.index, f.state) for f in found.findings] == [(3, "waived"), (7, "waived")]
        assert (found.exit_code, found.notes) == (0, ())
        expired = gate(result, waiver(result, index=3), waiver(result, index=7, expires=TODAY - timedelta(1)))
        assert expired.exit_code == 1
        assert any("class 7 (horse) expired" in note for note in expired.notes)


def test_a_further_suspicion_is_known_if_the_baseline_has_it() -> None:
    for result in both():
        assert gate(result, baseline=result).exit_code == 0, "among its own further suspicions"
    found = scan(curves(easy(c3=0.5)), curves(easy(c7=0.65), space="patch"))
    as_a_finding = scan(curves(easy()), curves(easy(c7=0.65), space="patch"))
    assert gate(found, waiver(found, index=3), baseline=as_a_finding).exit_code == 0
    renamed = (*samples.ANIMALS[:7], "mule", *samples.ANIMALS[8:])
    moved = scan(curves(easy(c3=0.5)), curves(easy(c7=0.65), space="patch"), labels=renamed)
    assert gate(found, baseline=moved).exit_code == 1


def test_a_further_suspicion_in_the_baseline_does_not_excuse_a_backdoor() -> None:
    suspicion = scan(curves(easy(c3=0.5)), curves(easy(c7=0.95), space="patch"))
    backdoor = scan(curves(easy(c3=0.5)), curves(easy(c7=0.65), space="patch"))
    main = scan(curves(easy(c3=0.5, c7=0.5)))
    assert main.target_classes == (3, 7)
    for later in (backdoor, main):
        found = gate(later, baseline=suspicion)
        assert found.exit_code == 1
        assert "there it was suspicious only" in " ".join(found.notes)
    assert gate(suspicion, baseline=backdoor).exit_code == 0


def test_what_hides_below_the_most_anomalous_class_of_another_space_is_found() -> None:
    result = scan(curves(easy(c3=0.4)), curves(easy(c3=0.5, c7=0.65), space="patch"))
    assert [space.index for space in result.spaces] == [3, 3]
    assert [f.index for f in gate(result, waiver(result, index=3)).findings] == [3, 7]
    old = gate(as_before(result), waiver(result, index=3))
    assert (old.exit_code, [f.index for f in old.findings]) == (4, [3])
    assert UNTOLD in old.notes


def test_a_class_that_noise_fires_is_found_behind_a_stronger_target() -> None:
    noise = fired(7, 10)
    result = scan(curves(easy(c3=0.25)), noise=replace(noise, sigmas=6 * noise.sigmas))
    assert result.target_classes == (3,)
    found = gate(result, waiver(result, index=3))
    assert (found.exit_code, [f.index for f in found.findings]) == (1, [3, 7])
    assert "under plain noise" in found.findings[1].message


def test_a_known_pair_does_not_hide_that_all_images_are_led_to_its_target() -> None:
    sample = samples.pairs().result
    suspicions = scan(curves(easy()), curves(easy(c4=0.65), space="patch")).suspicions
    result = sample.model_copy(update={"suspicions": suspicions})
    pair = waiver(result, rule="class-pair", index=4, source=9)
    assert gate(sample.model_copy(update={"suspicions": ()}), pair).exit_code == 0
    found = gate(result, pair)
    assert [(f.rule, f.state) for f in found.findings] == [("class-pair", "waived"), ("target-class", "open")]
    assert found.exit_code == 1


def test_fail_on_counts_for_a_further_suspicion_by_itself() -> None:
    mild, severe = both()[1], both()[0]
    assert gate(mild, waiver(mild, index=3), fail_on="backdoored").exit_code == 0
    assert gate(severe, waiver(severe, index=3), fail_on="backdoored").exit_code == 1
    both_levels = scan(curves(easy(c3=0.3, c7=0.95)), curves(easy(c5=0.65), space="patch"))
    found = gate(both_levels, waiver(both_levels, index=3), fail_on="backdoored")
    assert [(f.index, f.suspicion and f.suspicion.level) for f in found.findings[1:]] == [
        (5, "backdoored"),
        (7, "suspicious"),
    ]
    assert found.exit_code == 1


def test_older_results_tell_of_the_classes_of_one_space_and_of_the_first_of_the_others() -> None:
    for result in map(as_before, both()):
        found = gate(result, waiver(result, index=3))
        assert (found.exit_code, [f.index for f in found.findings]) == (1, [3, 7])
    other, same = map(as_before, both())
    assert gate(same, waiver(same, index=3), waiver(same, index=7)).exit_code == 0
    found = gate(other, waiver(other, index=3), waiver(other, index=7))
    assert found.exit_code == 4, "a third class may hide behind the second in the other space"
    assert UNTOLD in found.notes
    known = gate(other, baseline=other)
    assert (known.exit_code, UNTOLD in known.notes) == (4, True)
    plain = as_before(scan(curves(easy(c3=0.5)), curves(easy(), space="patch")))
    assert gate(plain, waiver(plain, index=3)).exit_code == 0, "nothing stands out in the other space"


def test_of_an_older_result_milder_suspicions_do_not_matter_where_only_backdoors_hold_a_model_back() -> None:
    result = as_before(scan(curves(easy(c3=0.4)), curves(easy(c3=0.95), space="patch")))
    assert SUSPICIOUS <= result.spaces[1].anomaly < BACKDOORED
    assert gate(result, waiver(result, index=3)).exit_code == 4
    assert gate(result, waiver(result, index=3), fail_on="backdoored").exit_code == 0


def test_what_a_large_calibration_says_of_further_classes_is_not_told_by_older_results() -> None:
    sample = as_before(samples.backdoored().result)
    for models, code in ((20, 0), (99, 4)):
        smallest = 1 / (models + 1)
        use = CalibrationUse(p_value=smallest, smallest_p=smallest, n_models=models, highest_anomaly=0.3)
        result = sample.model_copy(update={"calibration": use})
        assert gate(result, waiver(result)).exit_code == code


@given(
    main=st.floats(0.8, 3.0),
    further=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=5),
)
def test_older_results_never_pass_what_they_name_at_the_threshold_or_above(main: float, further: list[float]) -> None:
    sample = samples.backdoored().result
    scores = dict(enumerate(map(score_of, further), 1))
    classes = tuple(c.model_copy(update={"score": scores.get(c.index, c.score)}) for c in sample.classes)
    space = SpaceResult(space="l2", sigma=0.1, anomaly=main, index=0, e50=1.0, reference=2.0, transfer_rate=1.0)
    result = sample.model_copy(update={"classes": classes, "spaces": (space,)})
    suspect = {t for t, r in enumerate(further, 1) if r >= SUSPICIOUS}
    found = gate(result, waiver(result))
    assert {f.index for f in found.findings} == {0, *suspect}
    assert found.exit_code == bool(suspect)


def test_every_output_tells_of_a_further_suspicion() -> None:
    severe, mild = both()
    held = judge(severe, waivers=[waiver(severe, index=3)], today=TODAY)
    (no_target, target) = json.loads(to_sarif(held, "a.toml"))["runs"][0]["results"][::-1]
    assert (target["level"], target["properties"]["targetClass"]) == ("error", 7)
    assert (target["properties"]["triggerSpace"], target["properties"]["state"]) == ("patch", "open")
    assert (no_target["level"], no_target["properties"]["state"]) == ("note", "waived")
    assert "| class 7 (horse) | target-class | yes |" in to_markdown(held)
    told = "“horse” stands out as the target of a patch"
    config = ScanConfig(uri="models:/x/1", images=Path())
    assert f"open     class 7 (horse): {told}" in as_text(held, config)
    page = render(held, Exhibits(), redact_images=False, command="")
    entry = page[page.index("Beside the verdict") :]
    assert entry.index("open</span> <b>class 7 (horse)</b>") < entry.index(told)
    by_name = {case.name: case for case in cases(held)}
    assert (by_name["class 7 (horse)"].outcome, by_name["class 3 (cat)"].outcome) == ("failure", "skipped")
    assert "Do not deploy" in advice(held, 1)
    tests = statement(held)["predicate"]
    assert (tests["result"], "class/7" in tests["failedTests"]) == ("FAILED", True)

    passes = judge(mild, "backdoored", waivers=[waiver(mild, index=3)], today=TODAY)
    (finding,) = [r for r in json.loads(to_sarif(passes, "a.toml"))["runs"][0]["results"] if not r["suppressions"]]
    assert (finding["level"], finding["properties"]["targetClass"]) == ("warning", 7)
    assert "milder than" in to_markdown(passes)
    by_name = {case.name: case for case in cases(passes)}
    assert by_name["class 7 (horse)"].outcome == "skipped"
    assert by_name["class 7 (horse)"].message.startswith("suspicious, which does not block under --fail-on backdoored")
    assert "waived, known or milder than --fail-on" in advice(passes, 0)
    tests = statement(passes)["predicate"]
    assert (tests["result"], "class/7" in tests["warnedTests"]) == ("WARNED", True)
