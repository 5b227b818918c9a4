"""Saved triggers on another version of a model whose backdoor is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from smoothscan.classifier.local import LocalClassifier
from smoothscan.config import ScanConfig
from smoothscan.detection.transfer import transfer
from smoothscan.errors import ConfigError, ImagesError, ReplayError
from smoothscan.events import Silent
from smoothscan.replay import replay, replayed
from smoothscan.result import InputSpec, PairResult
from smoothscan.sources.saved_triggers import MOST_SUSPECT, Saved, read_saved
from smoothscan.spaces import SPACES
from smoothscan.spaces.interface import Trigger
from smoothscan.verdict.budget import binomial_interval
from smoothscan.verification import Verification
from smoothscan.vocabulary import SpaceName
from tests.planted import CLASSES, SHAPE, TARGET, PlantedNet, images, write_images
from tests.saved import exhibit, one_class, planted_trigger, write
from tests.stores import Registry, log_model


@pytest.fixture
def bad() -> LocalClassifier:
    return LocalClassifier(PlantedNet(backdoored=True), images(2))


@pytest.fixture
def good() -> LocalClassifier:
    return LocalClassifier(PlantedNet(backdoored=False), images(2))


def planted(folder: Path, rate: float = 1.0, **changes: Any) -> Saved:
    """The saved trigger of the planted backdoor."""
    return read_saved(write(folder, one_class(TARGET, rate, **changes), exhibits={TARGET: exhibit(planted_trigger())}))


# --- what is saved suffices ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES)
def test_a_trigger_of_every_space_does_the_same_again(space: SpaceName, bad: LocalClassifier, tmp_path: Path) -> None:
    of, pixels = SPACES[space], images()
    parameters = of.nothing(SHAPE, 144.0)
    spread = 20 * torch.randn((1, *parameters.shape), generator=torch.Generator().manual_seed(3))
    if space == "frequency":
        spread[:, :2] = 2  # whole periods
    if space == "patch":
        spread[:, -1] = 0  # the mask is no value
    if space == "l2":
        spread = torch.from_numpy(planted_trigger())[None]  # noise alone moves nothing
    parameters = of.retract(parameters + spread, {"warp": 6.0, "tone": 3.0}.get(space, 9.0), SHAPE)[0]
    clean = bad.predict(pixels)
    trigger = Trigger(of, parameters)
    after = bad.predict(trigger.on(pixels))
    assert (after != clean).any(), "a test of nothing"
    target = int(after[after != clean].mode().values)
    before = transfer(bad, pixels, clean, trigger, target)

    shown = {target: exhibit(parameters.numpy(), space, target)}
    path = write(tmp_path, one_class(target), exhibits=shown, space=space)
    saved = read_saved(path)
    assert (saved.triggers[0].space, saved.triggers[0].made_from) == (space, ("000.png",))
    (found,) = replayed(bad, pixels, saved.triggers, flagged=True)
    assert (found.hits, found.n_images) == (int(before.sum()), int((clean != target).sum()))
    assert found.ci == binomial_interval(found.hits, found.n_images)


def test_a_pair_is_replayed_on_images_of_its_source_class(bad: LocalClassifier, tmp_path: Path) -> None:
    patch = SPACES["patch"].nothing(SHAPE, 9.0).numpy()
    counts = {"epsilon": 9.0, "hits": 9, "n_images": 10, "transfer_rate": 0.9, "transfer_ci": (0.55, 0.99)}
    pair = PairResult(source=2, target=TARGET, anomaly=1, **counts)
    path = write(
        tmp_path,
        one_class(TARGET, found_by="pairs"),
        exhibits={TARGET: exhibit(planted_trigger())},
        pairs={pair: exhibit(patch, "patch")},
    )
    saved = read_saved(path)
    assert [(trigger.source, trigger.index, trigger.rate) for trigger in saved.triggers] == [(2, TARGET, 0.9)]
    pixels = images()
    (found,) = replayed(bad, pixels, saved.triggers, flagged=True)
    assert (found.source, found.n_images) == (2, int((bad.predict(pixels) == 2).sum()))


# --- what counts as working ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "count", "outcome"), [(1.0, 62, "works"), (1.0, 3, "undecided"), (0.5, 62, "works")])
def test_a_trigger_of_the_same_model_works(
    rate: float, count: int, outcome: str, bad: LocalClassifier, tmp_path: Path
) -> None:
    (found,) = replayed(bad, images(count), planted(tmp_path, rate).triggers, flagged=True)
    assert found.rate == 1
    assert found.outcome == outcome
    assert found.threshold == rate / 2


@pytest.mark.parametrize(("count", "outcome"), [(62, "gone"), (3, "undecided"), (0, "undecided")])
def test_a_trigger_that_moves_nothing_is_gone_if_the_images_are_enough(
    count: int, outcome: str, good: LocalClassifier, tmp_path: Path
) -> None:
    (found,) = replayed(good, images(62)[:count], planted(tmp_path).triggers, flagged=True)
    assert (found.hits, found.outcome) == (0, outcome)


def test_a_version_that_numbers_its_classes_differently_hides_nothing(tmp_path: Path) -> None:
    class Renumbered(PlantedNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).roll(1, 1)

    other = LocalClassifier(Renumbered(backdoored=True), images(2))
    (found,) = replayed(other, images(), planted(tmp_path).triggers, flagged=True)
    assert (found.outcome, found.hits, found.led_to) == ("works", 0, TARGET + 1)


def test_of_a_clean_scan_the_most_suspect_are_replayed_and_work_only_if_they_work_better(
    bad: LocalClassifier, good: LocalClassifier, tmp_path: Path
) -> None:
    scores = {t: 0.2 if t == TARGET else 0.1 for t in range(CLASSES)}
    classes = [one_class(t, 0.1, flagged=False, found_by=None, score=score) for t, score in scores.items()]
    path = write(tmp_path, *classes, exhibits={t: exhibit(planted_trigger(), index=t) for t in range(CLASSES)})
    saved = read_saved(path)
    assert not saved.flagged
    assert [trigger.index for trigger in saved.triggers] == [TARGET, 0, 1][:MOST_SUSPECT]
    first, *_ = replayed(good, images(), saved.triggers, flagged=False)
    assert (first.outcome, first.threshold) == ("gone", first.earlier_ci[1])
    first, *others = replayed(bad, images(), saved.triggers, flagged=False)
    assert first.outcome == "works"
    assert {other.outcome for other in others} == {"gone"}
    few, *_ = replayed(bad, images(5), saved.triggers, flagged=False)
    assert few.outcome == "undecided"


# --- what cannot be replayed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"found_by": "noise"}, "class 7 was flagged by plain noise"),
        ({"rate": 0.05}, "class 7 was flagged by plain noise or at a larger budget"),
        ({}, "the trigger of class 7 is not there"),
    ],
)
def test_a_flagged_class_without_a_trigger_is_named(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    there = {TARGET: exhibit(planted_trigger())}
    saved = read_saved(write(tmp_path / "a", one_class(TARGET), one_class(7, **changes), exhibits=there))
    assert [trigger.index for trigger in saved.triggers] == [TARGET]
    assert saved.missing[0].startswith(reason)
    with pytest.raises(ReplayError, match=f"No trigger .* is saved beside .*: {reason}"):
        read_saved(write(tmp_path / "b", one_class(7, **changes), exhibits=there))


@pytest.mark.parametrize(
    "data", [b"", b"no tensors", "of another kind", "not finite"], ids=["empty", "garbage", "kind", "nan"]
)
def test_a_file_that_is_no_such_trigger_is_no_trigger(data: bytes | str, tmp_path: Path) -> None:
    wrong = np.full(SHAPE, np.nan, np.float32)
    shown = exhibit(wrong) if data == "not finite" else exhibit(planted_trigger())
    path = write(tmp_path, one_class(TARGET), exhibits={TARGET: shown})
    if isinstance(data, bytes):
        (tmp_path / "perturbations" / f"class_{TARGET:04d}.safetensors").write_bytes(data)
    elif data == "of another kind":
        path.write_text(path.read_text().replace('"space": "l2"', '"space": "warp"'))
    with pytest.raises(ReplayError, match="is not there, or not whole"):
        read_saved(path)


def test_a_clean_result_without_its_folder_says_what_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path, one_class(TARGET, flagged=False), exhibits={})
    with pytest.raises(ReplayError, match="No trigger that could be replayed is saved beside") as caught:
        read_saved(path)
    assert "scan again" in caught.value.hint


@pytest.mark.parametrize("text", ["", "{}", '{"status": "completed"}'])
def test_a_file_that_is_no_result_is_a_usage_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(ConfigError, match="is no result of a scan"):
        read_saved(tmp_path / "result.json")


def test_a_trigger_for_a_class_that_is_not_there_is_refused(bad: LocalClassifier, tmp_path: Path) -> None:
    path = write(tmp_path, one_class(CLASSES), exhibits={CLASSES: exhibit(planted_trigger(), index=CLASSES)})
    with pytest.raises(ReplayError, match="fits neither 10 classes"):
        replayed(bad, images(), read_saved(path).triggers, flagged=True)


# --- the whole way, with the model in its own process ----------------------------------------------------------------


@pytest.fixture(scope="module")
def run(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Replays on a registered planted model."""
    folder = write_images(tmp_path_factory.mktemp("replay") / "images", images())
    uris = {
        kind: log_model(registry, f"replay-{kind}", PlantedNet(backdoored=kind == "bad"), images(2).numpy())
        for kind in ("bad", "good")
    }

    def replay_on(kind: str, saved: Saved, **changes: Any) -> Verification:
        values = {"images": folder, "tracking_uri": registry.tracking_uri, "threads": 1, **changes}
        return replay(ScanConfig(uri=uris.get(kind, kind), **values), saved, Silent())

    return replay_on


def test_a_version_with_the_backdoor_fails_and_nothing_unaccounted_for_passes(run: Any, tmp_path: Path) -> None:
    saved = planted(tmp_path)
    found = run("bad", saved)
    assert (found.status, found.outcome, found.exit_code()) == ("completed", "works", 1)
    assert (found.model.name, found.model.version, found.same_files) == ("replay-bad", "1", False)
    assert (found.earlier.uri, found.earlier_verdict) == ("models:/planted/1", "backdoored")
    assert found.images == 61, "the image that the trigger was made from is left out"
    assert found.safety.isolation
    assert found.input_spec.outputs == "logits"

    partly = Saved(saved.result, True, saved.triggers, ("class 7 was flagged by plain noise",))
    found = run("good", partly)
    assert (found.triggers[0].outcome, found.triggers[0].hits) == ("gone", 0)
    assert (found.outcome, found.exit_code(), found.not_replayed) == ("undecided", 4, partly.missing)
    assert Verification.model_validate_json(found.model_dump_json()) == found


def test_no_image_counts_that_a_trigger_was_made_from(run: Any, tmp_path: Path) -> None:
    several = replace(exhibit(planted_trigger()), made_from=("000.png", "001.png", "002.png"))
    pair = PairResult(
        source=2,
        target=TARGET,
        epsilon=9.0,
        hits=20,
        n_images=20,
        transfer_rate=1.0,
        transfer_ci=(0.8, 1.0),
        anomaly=1.0,
    )
    parameters = SPACES["patch"].nothing(SHAPE, 9.0).numpy()
    of_pair = replace(exhibit(parameters, "patch"), made_from=("012.png", "022.png"), synthesis_name="012.png")
    path = write(tmp_path, one_class(TARGET), exhibits={TARGET: several}, pairs={pair: of_pair})
    saved = read_saved(path)
    assert [one.made_from for one in saved.triggers] == [("000.png", "001.png", "002.png"), ("012.png", "022.png")]
    assert run("good", saved).images == 62 - 5


@pytest.mark.parametrize("written", [None, "", "nonsense", "{}", "7", "[7]", "[" * 100_000])
def test_a_file_of_an_older_version_names_one_image(written: str | None, tmp_path: Path) -> None:
    path = write(tmp_path, one_class(TARGET), exhibits={TARGET: exhibit(planted_trigger())})
    file = tmp_path / "perturbations" / f"class_{TARGET:04d}.safetensors"
    with safe_open(file, "numpy") as opened:
        words = opened.metadata()
        delta = opened.get_tensor("delta")
    assert words.pop("made_from") == "[]"
    save_file({"delta": delta}, file, words if written is None else words | {"made_from": written})
    assert read_saved(path).triggers[0].made_from == ("000.png",)


def test_a_version_of_another_input_size_cannot_be_told(run: Any, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        one_class(TARGET),
        exhibits={TARGET: exhibit(planted_trigger())},
        input_spec=InputSpec(channels=3, height=32, width=32),
    )
    found = run("good", read_saved(path))
    assert (found.status, found.outcome, found.exit_code()) == ("completed", "undecided", 4)
    assert "images of 3x32x32, and this version takes 3x16x16" in found.error.message
    assert found.model.name == "replay-good"


def test_a_model_that_is_not_there_is_no_pass(run: Any, tmp_path: Path) -> None:
    found = run("models:/replay-none/1", planted(tmp_path))
    assert (found.status, found.outcome, found.exit_code()) == ("failed", None, 3)
    assert found.error.type == "ModelNotFoundError"
    with pytest.raises(ImagesError):
        run("good", planted(tmp_path), images=tmp_path / "none")
