"""The demo's parts; tests/docs/test_tutorial.py runs it."""

from __future__ import annotations

from pathlib import Path

import torch

from smoothscan.cli import demo_models
from smoothscan.cli.demo_models import Digits

from .program import Run


def test_a_folder_with_something_else_in_it_is_left_alone(smoothscan: Run, work: Path) -> None:
    (work / "mine").mkdir()
    (work / "mine" / "thesis.txt").write_text("years of work")
    done = smoothscan("demo", "--folder", "mine")
    assert done.returncode == 2
    assert "--folder" in done.stderr
    assert [path.name for path in (work / "mine").iterdir()] == ["thesis.txt"]


def test_training_is_repeatable_and_leaves_global_randomness_alone() -> None:
    all_of_them = demo_models.load_digits()
    few = Digits(all_of_them.train_images[:128], all_of_them.train_labels[:128], *vars_of_test(all_of_them))
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()

    def weights(seed: int) -> torch.Tensor:
        trained = demo_models.train(few, backdoored=True, generator=torch.Generator().manual_seed(seed))
        return torch.cat([value.flatten().float() for value in trained.module.state_dict().values()])

    first = weights(0)
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))
    assert torch.equal(state, torch.random.get_rng_state())
    assert threads == torch.get_num_threads()


def vars_of_test(digits: Digits) -> tuple[torch.Tensor, torch.Tensor]:
    return digits.test_images[:20], digits.test_labels[:20]


def test_the_digits_are_split_and_the_patch_is_small() -> None:
    digits = demo_models.load_digits()
    assert len(digits.train_images) + len(digits.test_images) == 1797
    assert digits.train_images.shape[1:] == (3, 32, 32)
    assert 0 <= digits.test_images.min() < digits.test_images.max() <= 1
    assert set(digits.test_labels[:100].tolist()) == set(range(10)), "the scan sees every digit"
    changed = (demo_models.stamp(digits.test_images) != digits.test_images).any(dim=1).flatten(1).sum(1)
    assert changed.tolist() == [9] * len(changed)
    again = torch.from_numpy(demo_models.as_bytes(digits.test_images)).permute(0, 3, 1, 2) / 255
    assert torch.equal(again, digits.test_images), "files hold what the networks learned from, without rounding"
