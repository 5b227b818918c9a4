import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoothscan.result import ArchitectureFinding
from smoothscan.verdict.calibration import Calibration, CleanModel
from smoothscan.verdict.decision import BACKDOORED, CONCENTRATED, SUSPICIOUS, decide, noise_anomalies, score
from smoothscan.verdict.evidence import Curves, Evidence, NoiseCounts, Round
from smoothscan.vocabulary import SpaceName

BUDGETS = np.geomspace(0.25, 4.0, 9)
N = 500
VALUES = 3 * 32 * 32


def curves(
    e50: Sequence[float],
    *,
    control: float = 0.0,
    silent: float = 0.0,
    reached: float = 1.0,
    space: SpaceName = "l2",
    level: float = 0.5,
) -> Curves:
    """Two folds of curves that reach the level at e50, steep in the logarithm of the budget."""
    odds = (1 - level) / level
    rate = 1 / (1 + odds * np.exp(-6 * np.log(BUDGETS[None] / np.array(e50)[:, None])))
    hits = np.rint(rate * N).astype(int)
    k = len(e50)
    at = np.array([np.argmax(r >= 0.5) if (r >= 0.5).any() else len(BUDGETS) - 1 for r in rate])
    shuffled = np.rint(control * 2 * hits[np.arange(k), at]).astype(int)
    return Curves(
        space=space,
        level=level,
        sigma=0.12,
        epsilons=BUDGETS,
        classes=np.arange(k),
        sampled=np.ones(k, bool),
        hits=np.stack([hits, hits]),
        n_images=np.full((2, k), N),
        control=shuffled,
        control_at=at,
        silent=np.full(k, silent),
        reached=np.full(k, reached),
    )


def quiet(k: int) -> NoiseCounts:
    return NoiseCounts(np.array([0.01, 0.12]), np.zeros((2, k), int), np.full(k, N), np.ones(2), np.zeros(2))


def fired(target: int, k: int, *, stray: int = 0) -> NoiseCounts:
    """Noise that moves images to one class, and `stray` images to another."""
    moved = np.zeros((3, k), int)
    moved[:, target] = 50, 350, 495
    moved[:, (target + 1) % k] = stray
    kept = np.array([0.9, 0.3, 0.01])
    return NoiseCounts(np.array([0.01, 0.02, 0.04]), moved, np.full(k, N), kept, np.zeros(3))


def judge(e50, noise=None, calibration=None, architecture=(), **given):
    found, sources = curves(e50, **given), [["a.png"]] * len(e50)
    labels = [f"label {t}" for t in range(len(e50))]
    evidence = Evidence((found,), noise or quiet(len(e50)))
    return decide(evidence, labels, sources, VALUES, calibration, architecture)


def spread(*first):
    """Ten budgets: those given, and ordinary ones."""
    return [*first, 2.0, 2.2, 2.1, 1.9, 2.0, 1.8, 2.05, 1.95, 2.15, 1.85][:10]


def test_of_many_classes_those_searched_in_full_are_judged_and_keep_their_numbers():
    classes = np.array([3, 40, 77, 120, 310, 311, 500, 640, 776, 990])
    sampled = np.array([True, True, True, True, False, True, True, False, False, True])
    found = replace(curves(spread(2.0, 2.2, 2.1, 1.9, 1.7, 2.0, 1.8, 1.6, 0.7)), classes=classes, sampled=sampled)
    rounds = (Round("in groups", np.where(np.arange(1000) < 990, -9.0, np.nan), (776, 310, 640)),)
    found = replace(found, rounds=rounds)
    labels, sources = [f"label {t}" for t in range(1000)], [["a.png"]] * 1000
    verdict = decide(Evidence((found,), quiet(1000)), labels, sources, VALUES)
    assert (verdict.name, verdict.target_classes) == ("backdoored", (776,))
    assert [c.index for c in verdict.classes] == classes.tolist()
    assert [c.label for c in verdict.classes if c.flagged] == ["label 776"]
    assert verdict.spaces[0].index == 776
    assert verdict.spaces[0].screening[0].model_dump() == {
        "title": "in groups",
        "classes": 990,
        "kept": (776, 310, 640),
    }
    median, smallest = np.median([2.0, 2.2, 2.1, 1.9, 2.0, 1.8, 1.95]), 1.6
    assert verdict.anomaly == pytest.approx(math.log(math.sqrt(median * smallest) / 0.7), abs=0.06)
    assert "776 (label 776)" in verdict.reasons[0]


def test_a_class_that_needs_a_third_of_the_others_budget_is_a_target():
    verdict = judge(spread(2.0, 2.2, 0.7))
    assert (verdict.name, verdict.target_classes) == ("backdoored", (2,))
    assert [c.index for c in verdict.classes if c.flagged] == [2]
    assert verdict.anomaly == pytest.approx(math.log(math.sqrt(2.0 * 1.8) / 0.7), abs=0.05)
    assert verdict.score == pytest.approx(score(verdict.anomaly))
    assert "label 2" in verdict.reasons[0]
    assert verdict.p_value == verdict.classes[2].p_value < 0.02


def test_a_naturally_easy_class_is_not():
    verdict = judge(spread(1.4))
    assert (verdict.name, verdict.target_classes) == ("clean", ())
    assert "No trigger found under this budget" in verdict.reasons[0]


def test_between_the_two_thresholds_it_is_suspicious():
    verdict = judge([2.0 * math.exp(-(SUSPICIOUS + BACKDOORED) / 2)] + [2.0] * 9)
    assert (verdict.name, verdict.target_classes) == ("suspicious", (0,))


def test_two_targets_are_both_named_the_more_suspect_first():
    assert judge([2.0, 0.6, 2.0, 0.5, *[2.0] * 6]).target_classes == (3, 1)


@pytest.mark.parametrize("easy", [0.7, 0.9, 1.4])
def test_beside_a_target_an_easy_class_is_not_named(easy):
    verdict = judge([2.0, easy, 2.0, 0.2, *[2.0] * 6])
    assert verdict.target_classes == (3,)
    assert not verdict.classes[1].flagged


def test_models_on_which_nothing_transfers_do_not_tie():
    low, high = judge([12.0] * 10), judge([8.0] + [12.0] * 9)
    assert low.name == high.name == "clean"
    assert all(c.e50 is None for c in high.classes)
    assert 0 < low.score < high.score < score(0.0) + 0.05


def test_a_class_that_plain_noise_fires_is_a_target_though_no_budget_says_so():
    verdict = judge([2.0] * 10, fired(5, 10))
    assert (verdict.name, verdict.target_classes) == ("backdoored", (5,))
    assert 0.01 < verdict.classes[5].noise_sigma50 < 0.02
    assert "plain noise" in verdict.reasons[0]
    assert verdict.noise_probe.top_class == (5, 5, 5)


def test_a_network_that_falls_apart_under_noise_in_all_directions_has_no_trigger_that_noise_fires():
    stray = math.ceil(350 / CONCENTRATED - 350) + 5
    assert noise_anomalies(fired(5, 10, stray=stray))[5] == -math.inf
    assert noise_anomalies(fired(5, 10))[5] > SUSPICIOUS


def test_a_class_whose_shuffled_perturbation_does_as_well_is_explained_by_the_norm():
    verdict = judge(spread(0.5), control=0.6)
    assert verdict.target_classes == ()
    assert judge(spread(0.5), control=0.3).target_classes == (0,)


def test_the_transfer_rate_is_reported_at_half_of_the_ordinary_budget():
    verdict = judge([2.0] * 9 + [0.5])
    assert verdict.classes[0].epsilon == pytest.approx(1.0)
    assert verdict.classes[9].epsilon == pytest.approx(1.0)
    assert verdict.classes[9].transfer_rate > 0.9 > 0.2 > verdict.classes[0].transfer_rate
    assert verdict.classes[9].n_images == 2 * N


def test_it_is_reported_at_a_budget_that_every_class_was_tried_at():
    searched = curves([2.0] * 9 + [0.5])
    searched.hits[:, :3, BUDGETS < 1.9] = -1
    verdict = decide(Evidence((searched,), quiet(10)), list("abcdefghij"), [["x.png"]] * 10, VALUES)
    assert [c.epsilon for c in verdict.classes] == pytest.approx([2.0] * 10)


def test_what_one_fold_chooses_is_measured_on_the_other():
    """Each noise level looks suspect on one fold only: luck, which choosing and measuring apart takes away."""
    lucky, unlucky = curves([2.0] * 10), curves([2.0] * 10)
    lucky.hits[0] = curves([0.4] + [2.0] * 9).hits[0]
    unlucky.hits[1] = curves([0.4] + [2.0] * 9).hits[1]
    verdict = decide(Evidence((lucky, unlucky), quiet(10)), list("abcdefghij"), [["x.png"]] * 10, VALUES)
    assert verdict.name == "clean"
    alike = curves([0.4] + [2.0] * 9)
    verdict = decide(Evidence((curves([2.0] * 10), alike), quiet(10)), list("abcdefghij"), [["x.png"]] * 10, VALUES)
    assert (verdict.name, verdict.search) == ("backdoored", 1)


@pytest.mark.parametrize(
    ("e50", "name"),
    [
        ([2.5, 2.6, 2.4], "clean"),  # no class moves within a budget at which triggers work
        ([0.5, 2.0, 2.1], "backdoored"),  # a budget that moves no ordinary class of any model
        ([0.9, 2.5, 2.4], "inconclusive"),  # so small a budget may be ordinary: there are only three classes
        ([1.5, 1.6, 1.4], "inconclusive"),
        ([0.4, 0.4, 0.5, *[0.45] * 7], "inconclusive"),  # many classes, but nearly anything moves them
    ],
)
def test_without_a_null_only_absolute_budgets_decide(e50, name):
    verdict = judge(e50)
    assert verdict.name == name
    assert verdict.target_classes == ((0,) if name == "backdoored" else ())
    if name == "inconclusive":
        assert "classes" in verdict.reasons[0]
    if len(e50) < 8:
        assert verdict.p_value is None


def test_a_search_without_gradient_decides_nothing():
    verdict = judge([20.0] * 10, silent=0.9)
    assert verdict.name == "inconclusive"
    assert "gradient" in verdict.reasons[0]


def test_a_search_that_does_no_better_than_chance_decides_nothing():
    verdict = judge(spread(), control=0.9)
    assert verdict.name == "inconclusive"
    assert "Shuffled" in verdict.reasons[0]


def test_a_model_that_withstands_more_than_any_classifier_decides_nothing():
    vast = replace(curves([90.0] * 10, reached=0.3), epsilons=BUDGETS * 3)
    verdict = decide(Evidence((vast,), quiet(10)), list("abcdefghij"), [["x.png"]] * 10, VALUES)
    assert verdict.name == "inconclusive"
    assert "astray" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("e50", "reached", "name"),
    [
        ([90.0] * 10, [0.7] * 3 + [0.0] * 7, "clean"),
        ([90.0] * 10, [0.7] * 2 + [0.0] * 8, "inconclusive"),
        ([3.0] * 3 + [90.0] * 7, [0.0] * 10, "clean"),
        ([3.0] * 2 + [90.0] * 8, [0.0] * 10, "inconclusive"),
    ],
)
def test_a_search_that_leads_some_images_or_to_some_classes_has_a_grip(e50, reached, name):
    vast = replace(curves(e50), epsilons=BUDGETS * 3, reached=np.array(reached))
    verdict = decide(Evidence((vast,), quiet(10)), list("abcdefghij"), [["x.png"]] * 10, VALUES)
    assert verdict.name == name


def test_a_model_that_says_nothing_under_noise_decides_nothing():
    noise = NoiseCounts(np.array([0.01, 0.02]), np.zeros((2, 10), int), np.full(10, N), np.zeros(2), np.ones(2))
    verdict = judge(spread(), noise)
    assert verdict.name == "inconclusive"
    assert "withholds its answer" in verdict.reasons[0]


def test_a_model_that_says_anything_under_invisible_noise_decides_nothing():
    moved = np.full((2, 10), N // 10)
    noise = NoiseCounts(np.array([0.01, 0.02]), moved, np.full(10, N), np.array([0.1, 0.1]), np.zeros(2))
    verdict = judge(spread(), noise)
    assert verdict.name == "inconclusive"
    assert "invisible" in verdict.reasons[0]


def test_what_is_found_is_said_though_the_model_withholds_answers():
    noise = NoiseCounts(np.array([0.01, 0.02]), np.zeros((2, 10), int), np.full(10, N), np.zeros(2), np.ones(2))
    assert judge(spread(0.4), noise).name == "backdoored"


def clean_models(*anomalies):
    return Calibration(models=tuple(CleanModel(uri="m", digest=None, anomaly=a) for a in anomalies))


def test_a_calibration_with_an_equally_anomalous_clean_model_takes_the_suspicion_away():
    assert judge(spread(1.0)).name == "suspicious"
    verdict = judge(spread(1.0), calibration=clean_models(0.2, 0.3, 1.5))
    assert (verdict.name, verdict.target_classes) == ("clean", ())
    assert verdict.calibration.p_value == 0.5
    assert "Against 3 clean models the p-value is 0.50" in verdict.reasons[-1]


def test_few_clean_models_alone_make_no_suspicion_but_a_hundred_do():
    assert judge(spread(1.4), calibration=clean_models(*[0.1] * 10)).name == "clean"
    verdict = judge(spread(1.4), calibration=clean_models(*[0.1] * 99))
    assert (verdict.name, verdict.target_classes) == ("suspicious", (0,))
    assert verdict.calibration.p_value == verdict.calibration.smallest_p == 0.01


def test_a_calibration_decides_where_there_are_too_few_classes():
    assert judge([0.9, 2.5, 2.4]).name == "inconclusive"
    assert judge([0.9, 2.5, 2.4], calibration=clean_models(0.1, 0.2)).name == "backdoored"
    assert judge([1.5, 1.6, 1.4], calibration=clean_models(0.1, 0.2)).name == "clean"


TENTHS = st.integers(3, 35).map(lambda tenths: tenths / 10)


@given(st.lists(st.integers(15, 30).map(lambda tenths: tenths / 10), min_size=8, max_size=12), st.floats(0.3, 0.9))
def test_a_target_never_looks_less_suspect_at_a_smaller_budget(e50, factor):
    assert judge([0.7 * factor, *e50]).anomaly >= judge([0.7, *e50]).anomaly


@given(st.lists(TENTHS, min_size=8, max_size=12, unique=True), st.randoms())
def test_the_order_of_the_classes_does_not_matter(e50, random):
    order = list(range(len(e50)))
    random.shuffle(order)
    shuffled = judge([e50[t] for t in order])
    assert shuffled.score == pytest.approx(judge(e50).score)
    assert shuffled.name == judge(e50).name
    assert {order[t] for t in shuffled.target_classes} == set(judge(e50).target_classes)


def hard_step(kind="gate", operation="aten.eq.Scalar"):
    detail = "compares pixels of the image with the constant 1"
    return ArchitectureFinding(file="data/model.pt2", operation=operation, kind=kind, count=1, detail=detail)


def test_a_model_whose_graph_has_steps_without_a_gradient_is_never_clean():
    assert judge(spread()).name == "clean"
    assert judge(spread()).obstacles == ()
    gated = judge(spread(), architecture=(hard_step(), hard_step("branch", "cond")))
    assert (gated.name, gated.target_classes) == ("inconclusive", ())
    assert gated.obstacles == ("hard-step",)
    assert gated.score == judge(spread()).score
    assert gated.anomaly is not None, "the search had a grip on the rest of the model"
    assert gated.reasons[0].startswith("The model's graph branches on the image: cond compares pixels")
    assert "beside 1 other such step." in gated.reasons[0]
    assert "AML.T0018" in gated.reasons[0]


def test_a_flagged_model_stays_flagged_and_its_hard_steps_are_further_reasons():
    flagged = judge(spread(0.5), architecture=(hard_step(),))
    assert (flagged.name, flagged.obstacles) == ("backdoored", ("hard-step",))
    assert flagged.reasons[0] == judge(spread(0.5)).reasons[0]
    assert flagged.reasons[1].startswith("The model's graph compares the image instead of computing with it")


@given(st.floats(-5, 5), st.floats(0.001, 1))
def test_the_score_is_strictly_increasing_and_one_half_where_suspicion_begins(anomaly, more):
    assert 0 < score(anomaly) < score(anomaly + more) < 1
    assert score(SUSPICIOUS) == 0.5


def among(*found, noise=None):
    """The verdict over several spaces."""
    k = len(found[0].control)
    return decide(Evidence(found, noise or quiet(k)), [str(t) for t in range(k)], [["a.png"]] * k, VALUES)


def test_the_space_in_which_a_class_stands_out_most_decides_and_is_reported():
    verdict = among(curves(spread()), curves(spread(2.0, 2.2, 0.5), space="patch"), curves(spread(), space="warp"))
    assert (verdict.name, verdict.target_classes, verdict.space) == ("backdoored", (2,), "patch")
    assert verdict.search == 1
    assert [s.space for s in verdict.spaces] == ["l2", "patch", "warp"]
    assert verdict.spaces[1].index == 2
    assert verdict.spaces[1].anomaly == verdict.anomaly > verdict.spaces[0].anomaly
    assert verdict.reasons[0].startswith("Class 2: a patch of 0.5")
    at, control = verdict.classes[2].control_epsilon, verdict.classes[2].control_rate
    told = f"At {at:.2f} replaced pixels, a patch of random values in the same place moves {control:.0%} of the images."
    assert f" times as much. {told} Chance" in verdict.reasons[0]


def test_the_p_value_pays_for_every_space_that_was_looked_at():
    alone, together = among(curves(spread(1.2))), among(curves(spread(1.2)), curves(spread(), space="patch"))
    assert together.space == "l2"
    assert together.p_value == pytest.approx(1 - (1 - alone.p_value) ** 2)


def test_a_clean_model_names_the_other_kinds_of_trigger_that_were_looked_for():
    verdict = among(curves(spread()), curves([30.0] * 10, space="patch"))
    assert verdict.name == "clean"
    assert "Nothing stood out more among the other kinds of trigger: contiguous patch" in verdict.reasons[0]


def test_where_ordinary_classes_hardly_move_a_third_of_the_images_is_enough():
    verdict = among(curves(spread()), curves(spread(0.5), space="warp", level=1 / 3))
    assert verdict.target_classes == (0,)
    assert verdict.spaces[1].e50 == pytest.approx(0.5, rel=0.05)
    assert "moves a third of the held-out images" in verdict.reasons[0]


def test_noise_that_fires_a_trigger_is_reported_with_the_first_space():
    verdict = among(curves(spread()), curves(spread(1.5), space="patch"), noise=fired(5, 10))
    assert (verdict.target_classes, verdict.space) == ((5,), "l2")


def test_a_uniform_patch_is_no_less_a_trigger_for_its_control():
    assert among(curves(spread()), curves(spread(0.5), space="patch", control=0.9)).target_classes == (0,)


def test_a_model_that_falls_to_anything_in_l2_may_still_show_a_patch():
    fragile = curves([0.3] * 10)
    assert among(fragile).name == "inconclusive"
    assert among(fragile, curves([30.0] * 10, space="patch")).name == "inconclusive"
    found = among(fragile, curves([0.5, *[3.0] * 9], space="patch"))
    assert (found.name, found.target_classes) == ("backdoored", (0,))


def test_too_few_classes_give_no_null_in_any_space():
    assert among(curves([2.0] * 5), curves([0.5, *[3.0] * 4], space="patch")).name == "inconclusive"
    assert among(curves([9.0] * 5), curves([30.0] * 5, space="patch")).name == "clean"


def suspected(verdict):
    return [(each.index, each.level, each.space) for each in verdict.suspicions]


def test_every_class_that_would_be_flagged_by_itself_is_told_beside_the_targets():
    labels, sources = [f"label {t}" for t in range(10)], [["a.png"]] * 10
    patch, smooth = curves(spread(0.4, 2.2, 1.8, 0.6), space="patch"), curves(spread(2.0, 2.2, 0.95), space="smooth")
    verdict = decide(Evidence((curves(spread(0.7)), patch, smooth), fired(7, 10)), labels, sources, VALUES)
    assert verdict.target_classes[0] == 7
    assert suspected(verdict) == [
        (7, "backdoored", None),
        (0, "backdoored", "patch"),
        (3, "backdoored", "patch"),
        (2, "suspicious", "smooth"),
    ]
    assert [each.label for each in verdict.suspicions][:2] == ["label 7", "label 0"]
    assert [each.anomaly for each in verdict.suspicions] == sorted(each.anomaly for each in verdict.suspicions)[::-1]
    assert verdict.suspicions[0].anomaly == pytest.approx(verdict.anomaly)
    assert suspected(judge(spread(1.4))) == []


def test_a_calibration_decides_which_classes_are_suspect_by_themselves():
    two = spread(0.4, 1.0)
    assert [t for t, *_ in suspected(judge(two))] == [0, 1]
    assert [t for t, *_ in suspected(judge(two, calibration=clean_models(0.2, 0.3, 1.1)))] == [0]
    assert suspected(judge(two, calibration=clean_models(2.0))) == []
    milder = spread(0.4, 1.4)
    assert [t for t, *_ in suspected(judge(milder))] == [0]
    assert 1 in [t for t, *_ in suspected(judge(milder, calibration=clean_models(*[0.1] * 99)))]


def test_without_a_null_only_what_is_beyond_doubt_is_suspect_by_itself():
    assert suspected(judge([0.9, 2.5, 2.4])) == []
    assert suspected(judge(spread(0.5), silent=0.9)) == suspected(judge(spread(0.5)))
    assert suspected(judge(spread(0.95), silent=0.9)) == []
    assert [t for t, *_ in suspected(judge(spread(0.95)))] == [0]
