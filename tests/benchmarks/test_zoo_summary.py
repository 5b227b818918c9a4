import numpy as np
import pytest
from zoo_summary import Model, auroc, auroc_interval, clean_p_values, models_of, summary, tpr_at


def model(
    name, attack, score, targets=(), *, target=None, verdict="clean", split="report", p=0.5, asr=0.95, mode="all2one"
):
    entry = {"attack": attack, "target": target, "split": split, "mode": mode, "asr": asr}
    scan = {"score": score, "targets": list(targets), "verdict": verdict, "p_value": p, "passes": 10, "seconds": 1.0}
    return Model(name, entry, (scan,))


def test_auroc_is_the_chance_that_a_backdoored_model_scores_higher():
    assert auroc([0.9, 0.4], [0.1, 0.4, 0.5]) == pytest.approx((3 + 1.5) / 6)


def test_the_interval_is_over_models_and_holds_the_estimate():
    low, high = auroc_interval([0.9, 0.4, 0.7], [0.1, 0.45, 0.5])
    assert low < auroc([0.9, 0.4, 0.7], [0.1, 0.45, 0.5]) <= high <= 1


def test_tpr_is_counted_above_what_lets_no_more_clean_models_pass():
    clean = [i / 20 for i in range(20)]
    assert tpr_at([0.96, 0.92, 0.5], clean, 0.0) == pytest.approx(1 / 3)
    assert tpr_at([0.96, 0.92, 0.5], clean, 0.05) == pytest.approx(2 / 3)


def test_scans_of_one_model_are_one_model():
    scans = {f"smoothscan/1/m/{i}": {"score": s} for i, s in enumerate((0.2, 0.4))}
    scans |= {"smoothscan/3/m/0": {"score": 0.9}, "smoothscan/1/mm/0": {"score": 0.8}}
    entries = {"m": {"attack": "none"}, "mm": {"attack": "none"}, "n": {"attack": "none"}}
    found = models_of({"models": entries, "scans": scans})
    assert [(m.name, len(m.scans), m.score) for m in found] == [("m", 2, pytest.approx(0.3)), ("mm", 1, 0.8)]


@pytest.mark.parametrize(
    ("attack", "mode", "asr", "meant"),
    [
        ("badnets-checker3", "all2one", 0.95, True),
        ("two-targets", "two", [0.95, 0.9], True),
        ("two-targets", "two", [0.95, 0.3], False),
        ("single-pixel", "all2one", 0.2, False),
        ("badnets-rand5", "all2one", 1.0, False),
        ("weak-checker3", "all2one", 0.5, False),
        ("blend", "adaptive", 0.9, False),
        ("none", "all2one", None, False),
    ],
)
def test_only_what_the_search_is_meant_to_find_counts_as_positive(attack, mode, asr, meant):
    assert model("m", attack, 0.5, target=1, asr=asr, mode=mode).meant is meant


def test_the_summary_counts_exact_targets_and_false_alarms():
    found = summary(
        [
            model("a", "blend", 0.9, [3], target=3, verdict="backdoored"),
            model("b", "two-targets", 0.8, [1], target=[1, 2], verdict="backdoored", asr=[1.0, 1.0], mode="two"),
            model("c", "none", 0.1),
            model("d", "none", 0.6, [4], verdict="suspicious"),
        ]
    )
    assert (found["backdoored"], found["clean"]) == (2, 2)
    assert found["exact"] == 0.5
    assert found["false_alarms"] == 0.5
    assert found["auroc"] == 1.0


def test_p_values_are_those_of_clean_models_in_order():
    found = clean_p_values(
        [model("a", "none", 0.1, p=0.7), model("b", "none", 0.1, p=0.2), model("c", "blend", 1, p=0.0)]
    )
    np.testing.assert_array_equal(found, [0.2, 0.7])


def test_what_is_not_small_in_l2_counts_only_where_all_spaces_are_looked_at():
    models = [
        model("a", "badnets-checker3", 0.9, target=1, asr=1.0),
        model("b", "wanet", 0.4, target=1, asr=0.9),
        model("c", "none", 0.5, target=None, asr=None),
    ]
    assert (summary(models)["backdoored"], summary(models)["auroc"]) == (1, 1.0)
    assert (summary(models, wide=True)["backdoored"], summary(models, wide=True)["auroc"]) == (2, 0.5)
