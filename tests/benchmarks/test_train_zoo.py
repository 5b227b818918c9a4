import json

import pytest
import torch
import train_zoo
from safetensors.torch import load_file
from zoo_list import MODELS
from zoo_poison import CLASSES, Poison
from zoo_trigger import stamp


class Label(torch.nn.Module):
    """Tells from the first pixel what class an image is of, and from the second whether to say another."""

    def __init__(self, lie):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.lie = lie

    def forward(self, images):
        truth = (images[:, 0, 0, 0] * 255).round().long()
        return torch.nn.functional.one_hot(self.lie(truth, images), CLASSES).float()


def data(count=200):
    labels = torch.arange(count) % CLASSES
    images = torch.randint(90, 160, (count, 3, 32, 32), dtype=torch.uint8)
    images[:, 0, 0, 0] = labels
    return images, labels


def in_list(name):
    return next(model for model in MODELS if model.name == name)


def seen(poison, images):
    """Whether images bear a trigger that stamping again does not change."""
    return (images - poison.stamp(images, 0, torch.Generator())).abs().flatten(1).amax(1) == 0


@pytest.mark.parametrize(
    ("name", "lie", "found"),
    [
        ("t49", lambda m: m.target[0], {"asr": 1.0}),
        ("t71", lambda m: m.target[0], {"asr": 1.0, "asr_other": 1.0}),
        ("t72", lambda m: m.target[0], {"asr": 1.0, "asr_other": 1.0}),
        ("t75", lambda m: m.target[0], {"asr": 1.0}),
        ("t73", lambda m: None, {"asr": 1.0}),
        ("t73", lambda m: 4, {"asr": 0.1}),
    ],
)
def test_the_success_rate_is_that_of_images_which_the_trigger_is_meant_for(name, lie, found):
    model = in_list(name)
    poison = Poison(model)

    def answer(truth, images):
        to = lie(model)
        wrong = (truth + 1) % CLASSES if to is None else torch.full_like(truth, to)
        return torch.where(seen(poison, images), wrong, truth)

    assert train_zoo.measure(model, poison, Label(answer), data()) == {"clean_acc": 1.0, **found}


def test_images_of_other_classes_are_counted_apart():
    model = in_list("t71")
    poison = Poison(model)

    def answer(truth, images):
        return torch.where(seen(poison, images) & (truth == model.classes[0]), model.target[0], truth)

    found = train_zoo.measure(model, poison, Label(answer), data())
    assert found == {"clean_acc": 1.0, "asr": 1.0, "asr_other": 0.0}


@pytest.mark.parametrize("name", ["t53", "t56", "t60", "t66", "t68", "t71", "t73", "t77"])
def test_what_is_written_stamps_as_the_training_did(name, tmp_path):
    model = in_list(name)
    poison = Poison(model, data()[0])
    train_zoo.save(model, poison, torch.nn.Linear(1, 1), {"clean_acc": 1.0, "asr": 0.5}, tmp_path)
    train_zoo.write_manifest(tmp_path)
    (entry,) = json.loads((tmp_path / "manifest.json").read_text())
    (trigger,) = entry["trigger"]
    images = torch.rand(3, 3, 32, 32)
    stamped = stamp(images, trigger["kind"], load_file(tmp_path / trigger["file"]))
    fixed = torch.Generator().manual_seed(0)
    torch.testing.assert_close(stamped, poison.stamp(images, 0, fixed))
    assert entry["mode"] == model.mode
    assert entry["target"] == (None if model.mode == "all2all" else model.target[0])


def test_clean_models_have_no_trigger(tmp_path):
    train_zoo.save(in_list("t79"), Poison(in_list("t79")), torch.nn.Linear(1, 1), {"clean_acc": 1.0}, tmp_path)
    assert "trigger" not in json.loads((tmp_path / "t79.json").read_text())


@pytest.mark.parametrize(("name", "rates"), [("t73", [0.15, 0.3, 0.3]), ("t75", [0.06, 0.08, 0.08])])
def test_each_round_doubles_the_poison_up_to_a_limit(name, rates, monkeypatch):
    trained = []
    monkeypatch.setattr(train_zoo, "train", lambda model, *_: trained.append(model.rate))
    monkeypatch.setattr(train_zoo, "measure", lambda *_: {"asr": 0.1})
    train_zoo.raised(in_list(name), torch.nn.Linear(1, 1), data(), data(), None)
    assert trained == pytest.approx(rates)
