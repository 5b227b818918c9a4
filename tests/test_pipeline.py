"""One scan from a registry to a result, with the model in its own process, on classifiers whose backdoor is known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from smoothscan.classifier.local import LocalClassifier
from smoothscan.config import InputConfig, ScanConfig
from smoothscan.detection.examination import Examination, examine
from smoothscan.detection.journal import Journal, Piece
from smoothscan.draft import Draft
from smoothscan.errors import ConfigError, ImagesError, TimeBudgetError
from smoothscan.events import Events, Silent
from smoothscan.exhibits import Exhibits
from smoothscan.pipeline import scan
from smoothscan.result import ModelInfo, ScanResult
from tests.planted import CLASSES, GREY, SHAPE, TARGET, Gated, PlantedNet, Probabilities, images, write_images
from tests.stores import log_model

MODELS = {
    "planted-bad": (lambda: PlantedNet(backdoored=True), SHAPE),
    "planted-good": (lambda: PlantedNet(backdoored=False), SHAPE),
    "planted-probabilities": (lambda: Probabilities(backdoored=True), SHAPE),
    "planted-gate": (lambda: Gated(backdoored=False), SHAPE),
    "planted-both": (lambda: Gated(backdoored=True), SHAPE),
    "planted-grey": (lambda: PlantedNet(backdoored=True, shape=GREY), GREY),
}


class Stages(Silent):
    """Remembers the stages of a scan."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.done = (0.0, 1.0)

    def stage(self, name: str, detail: str = "") -> None:
        self.names.append(name)

    def progress(self, done: float, total: float) -> None:
        self.done = (done, total)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int, int], Path]:
    """Image files of the planted classes, by the shape of their pixels."""
    root = tmp_path_factory.mktemp("planted")
    return {shape: write_images(root / str(shape[0]), images(shape=shape)) for shape in (SHAPE, GREY)}


@pytest.fixture(scope="module")
def planted(registry: Any, folders: dict[tuple[int, int, int], Path]) -> Any:
    """Registers a planted classifier at its first scan, and scans it."""
    uris: dict[str, str] = {}

    def run(name: str, events: Events | None = None, **changes: Any) -> tuple[ScanResult, Exhibits]:
        build, shape = MODELS[name]
        if name not in uris:
            uris[name] = log_model(registry, name, build(), images(2, shape=shape).numpy())
        values = {
            "images": folders[shape],
            "tracking_uri": registry.tracking_uri,
            "threads": 1,
            "cache": False,
            **changes,
        }
        return scan(ScanConfig(uri=uris[name], **values), events or Silent())

    return run


def without_cost(result: ScanResult) -> dict[str, Any]:
    return result.model_dump(exclude={"cost", "started_at", "finished_at"})


def test_a_backdoored_model_is_flagged_with_its_target_and_twice_the_same(planted: Any) -> None:
    result, exhibits = planted("planted-bad")
    assert (result.status, result.verdict, result.target_classes) == ("completed", "backdoored", (TARGET,))
    assert result.exit_code() == 1
    assert [c.index for c in result.classes] == list(range(CLASSES))
    assert [c.index for c in result.classes if c.flagged] == [TARGET]
    assert str(TARGET) in result.reasons[0]
    assert set(exhibits.classes) == set(range(CLASSES))

    # which model, and what was in it
    assert (result.model.name, result.model.version) == ("planted-bad", "1")
    assert result.model.resolved_uri == "models:/planted-bad/1"
    assert result.model.flavor == "pytorch/pt2"
    assert result.model.digest is not None
    assert result.model.digest.startswith("sha256:")
    assert "data/model.pt2" in result.model.files
    assert not result.safety.needs_model_code
    assert not result.safety.model_code_executed
    assert "separate process" in result.safety.isolation

    # how it was asked, and where that is known from
    spec = result.input_spec
    assert spec is not None
    assert (spec.channels, spec.height, spec.width) == SHAPE
    assert (spec.value_range, spec.mean, spec.outputs) == ((0.0, 1.0), None, "logits")
    assert spec.sources["height"] == "signature"
    assert spec.sources["value_range"].startswith("inferred from the input example")

    # how much of it was seen, and what that took
    coverage = result.coverage.model_dump()
    assert result.cost.model_passes / 2 < sum(coverage.pop("passes_by_class")) < result.cost.model_passes
    assert coverage == {
        "classes_total": CLASSES,
        "classes_examined": CLASSES,
        "classes_in_full": CLASSES,
        "images": 62,
        "images_left_out": 0,
        "unfinished": (),
        "held_out": 60,
        "images_skipped": (),
    }
    assert result.cost.model_passes > 62
    assert 0 < result.cost.host_seconds < result.cost.seconds
    assert result.cost.exchange_seconds > 0
    assert result.cost.peak_rss_bytes > 2**27
    assert result.environment["precision"] in ("float32", "bfloat16")
    assert result.config["seed"] == 0
    assert result.started_at is not None

    again, shown = planted("planted-bad")
    assert without_cost(again) == without_cost(result)
    assert again.cost.model_passes == result.cost.model_passes
    for t, exhibit in exhibits.classes.items():
        assert (exhibit.perturbation == shown.classes[t].perturbation).all()


def test_a_clean_model_is_clean(planted: Any) -> None:
    stages = Stages()
    result, _ = planted("planted-good", events=stages)
    assert (result.status, result.verdict, result.target_classes) == ("completed", "clean", ())
    assert result.exit_code() == 0
    assert result.score is not None
    assert stages.names[:4] == ["download", "load", "probe", "invert"]
    assert stages.done[0] == pytest.approx(stages.done[1])


def test_a_model_that_answers_probabilities_is_judged_like_one_that_answers_logits(planted: Any) -> None:
    result, _ = planted("planted-probabilities")
    assert (result.verdict, result.target_classes) == ("backdoored", (TARGET,))
    assert result.input_spec.outputs == "probabilities"


def test_a_backdoor_in_the_architecture_is_no_clean_verdict(planted: Any) -> None:
    result, _ = planted("planted-gate")
    assert (result.status, result.verdict, result.target_classes) == ("completed", "inconclusive", ())
    assert result.exit_code() == 4
    (step,) = result.safety.architecture
    assert (step.kind, step.operation) == ("gate", "aten.eq.Scalar")
    assert "compares pixels of the image with the constant 1" in result.reasons[0]
    assert "AML.T0018" in result.reasons[0]


def test_a_backdoor_in_the_architecture_does_not_hide_another_one(planted: Any) -> None:
    result, _ = planted("planted-both")
    assert (result.verdict, result.target_classes) == ("backdoored", (TARGET,))
    assert "AML.T0018" in result.reasons[1]


def test_a_model_of_grey_images(planted: Any) -> None:
    result, exhibits = planted("planted-grey")
    assert (result.verdict, result.target_classes) == ("backdoored", (TARGET,))
    assert result.input_spec.channels == 1
    assert exhibits.classes[TARGET].perturbation.shape == GREY


def test_a_scan_that_is_overdue_is_no_verdict(planted: Any) -> None:
    result, exhibits = planted("planted-bad", time_limit=0.5)
    assert (result.status, result.verdict, result.exit_code()) == ("timed_out", None, 3)
    assert result.error.type == "ScanTimeoutError"
    assert result.model.digest is not None, "the version is known, so that its tags can be replaced"
    assert exhibits.classes == {}


def test_label_names_that_do_not_fit_are_a_usage_error(planted: Any) -> None:
    with pytest.raises(ConfigError, match=f"2 label names .* {CLASSES} classes"):
        planted("planted-good", labels=("cat", "dog"))


def test_without_images_nothing_is_started(registry: Any, tmp_path: Path) -> None:
    stages = Stages()
    with pytest.raises(ImagesError):
        scan(ScanConfig(uri="models:/planted-good/1", images=tmp_path), stages)
    assert stages.names == []


def digest(images_digest: str = "sha256:a", **changes: Any) -> str | None:
    config = ScanConfig(**{"uri": "models:/x/1", "images": Path("images"), **changes})
    draft = Draft(config, ModelInfo(uri=config.uri), images_digest)
    return draft.ended_by(ConfigError("any")).config_digest


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"images_digest": "sha256:b"},
        {"profile": "paper"},
        {"profile": "quick"},
        {"pairs": True},
        {"sigma": 0.25},
        {"allow_model_code": True},
        {"input": InputConfig(value_range=(0, 255))},
    ],
    ids=str,
)
def test_the_digest_of_the_configuration_changes_with_what_determines_the_scan(change: dict[str, Any]) -> None:
    assert digest(**change) != digest()


@pytest.mark.parametrize(
    "change",
    [
        {"output_dir": Path("elsewhere")},
        {"formats": ("json",)},
        {"fail_on": "backdoored"},
        {"tracking_uri": "http://elsewhere"},
        {"write_back": False},
        {"images": Path("the same elsewhere")},
        {"uri": "models:/y/2"},
    ],
    ids=str,
)
def test_the_digest_of_the_configuration_stays_where_only_places_differ(change: dict[str, Any]) -> None:
    assert digest(**change) == digest()


class Ending(Journal):
    """A journal whose time ends where the work on something begins."""

    def __init__(self, classifier: LocalClassifier, at: str) -> None:
        super().__init__(None, classifier.meter)
        self.at = at

    def once(self, title: str, work: Any) -> Piece:
        if title.startswith(self.at):
            raise TimeBudgetError("The time budget ended.")
        return super().once(title, work)


def ended(at: str, *, backdoored: bool, **changes: Any) -> Examination:
    pixels = images(160)  # enough of each class for pairs
    classifier = LocalClassifier(PlantedNet(backdoored), pixels)
    names, labels = [f"{i}.png" for i in range(len(pixels))], [str(t) for t in range(CLASSES)]
    config = ScanConfig(uri="-", images=Path(), **changes)
    return examine(classifier, pixels, names, labels, config, Silent(), journal=Ending(classifier, at))


@pytest.mark.parametrize("at", ["frequency", "pairs"])
def test_a_time_budget_that_ends_early_leaves_a_flag_but_no_clean_verdict(at: str) -> None:
    spaces, missing = ("l2", "frequency", "warp"), {"frequency": ("frequency", "warp", "pairs"), "pairs": ("pairs",)}
    clean = ended(at, backdoored=False, spaces=spaces, pairs=True)
    assert clean.verdict.name == "inconclusive"
    assert clean.coverage()["unfinished"] == missing[at]
    assert "pairs of source and target class" in clean.verdict.reasons[0]
    assert "The time budget ended" in clean.verdict.reasons[0]

    flagged = ended(at, backdoored=True, spaces=spaces, pairs=True).verdict
    assert (flagged.name, flagged.target_classes) == ("backdoored", (TARGET,))
    assert sum("The time budget ended" in reason for reason in flagged.reasons) == 1


def test_a_time_budget_that_ends_before_anything_is_searched_says_nothing() -> None:
    with pytest.raises(TimeBudgetError):
        ended("l2", backdoored=True)


def test_a_scan_that_was_done_before_is_recalled_without_torch() -> None:
    code = "import sys, smoothscan.pipeline; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
