"""Models whose code attacks: what it does stays in the sandbox, and the verdict is the scanner's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smoothscan.sandbox.protections import protections

from .conftest import Outcome, World, needs_sandbox, unharmed

pytestmark = [needs_sandbox, pytest.mark.slow]

Check = Callable[..., Outcome]
Save = Callable[[str], Path]

SNEAKY = (
    *("Shell", "Daemon", "Writes", "Installs", "Reads", "Calls", "Kills", "Patches"),
    *("Threads", "Stubborn", "Frees"),
)


WITHOUT_BUBBLEWRAP = ("Daemon", "Writes", "Installs", "Reads", "Calls", "Kills")
"""Those that Landlock and seccomp alone have to stop, too."""


@pytest.fixture(scope="module")
def honest() -> dict[str, Any]:
    """What the scan of the honest twin found; filled by the first test that needs it."""
    return {}


def findings(outcome: Outcome) -> dict[str, Any]:
    found = outcome.result.model_dump(mode="json", include={"verdict", "score", "target_classes", "classes", "spaces"})
    return {**found, "code": outcome.code}


@pytest.mark.parametrize(
    ("name", "bubblewrap"), [*((name, True) for name in SNEAKY), *((name, False) for name in WITHOUT_BUBBLEWRAP)]
)
def test_attacks_change_nothing_not_even_the_counts(
    name: str, bubblewrap: bool, save: Save, check: Check, world: World, honest: dict[str, Any], tmp_path: Path
) -> None:
    if not honest:
        first = check(save("Honest"))
        assert first.code == 0, first.output
        unharmed(world, first)
        honest.update(findings(first))
        (world.folder / "model").rename(world.folder / "honest")
        (world.folder / "work" / "smoothscan-report").rename(world.folder / "honest-report")
    outcome = check(save(name), bubblewrap=bubblewrap)
    assert findings(outcome) == honest, outcome.output
    assert outcome.result.safety.sandboxed
    assert outcome.result.safety.model_code_executed
    works = bubblewrap and protections().bubblewrap is not None
    assert any("bubblewrap" in line for line in outcome.result.safety.isolation) is works
    unharmed(world, outcome)


@pytest.mark.parametrize(
    ("name", "code", "status", "said"),
    [
        ("Exits", 3, "failed", "ended with code 7"),
        ("Greedy", 3, "failed", "memory"),
        ("Crashes", 3, "failed", "was killed by SIGSEGV"),
        ("Floods", 3, "failed", "File too large"),
        ("Forges", 3, "failed", "a question that was not asked"),
        ("Shouts", 3, "failed", "over the limit"),
        ("HangsUp", 3, "failed", "The process that holds the model"),
        ("Shrinks", 3, "failed", "memory shared with the model's process"),
        ("NotANumber", 4, "completed", "NaN"),
        ("Shifts", 3, "failed", "failed while it was asked"),
        ("Claims", 5, "unsupported", "1000000 classes"),
        ("Insults", 3, "failed", "pwned"),
    ],
)
def test_models_that_do_not_get_through_are_told_and_never_clean(
    name: str, code: int, status: str, said: str, save: Save, check: Check, world: World
) -> None:
    outcome = check(save(name))
    assert (outcome.code, outcome.result.status) == (code, status), outcome.output
    assert outcome.result.verdict in (None, "inconclusive")
    assert outcome.result.error is not None
    assert said in outcome.result.error.message
    assert len(outcome.result.error.message) < 3000
    page = (outcome.folder / "report.html").read_text()
    assert "<script>alert" not in page
    unharmed(world, outcome)


@pytest.mark.parametrize(("bubblewrap", "said"), [(True, "No space left"), (False, "temporary files")])
def test_a_model_that_fills_the_disk_is_stopped(
    bubblewrap: bool, said: str, save: Save, check: Check, world: World
) -> None:
    outcome = check(save("Fills"), bubblewrap=bubblewrap)
    assert (outcome.code, outcome.result.status) == (3, "failed"), outcome.output
    assert outcome.result.error is not None
    assert said in outcome.result.error.message or protections().bubblewrap is None
    unharmed(world, outcome)


@pytest.mark.parametrize("name", ["Sleeps", "Slower"])
def test_models_that_take_for_ever_are_stopped_in_time(name: str, save: Save, check: Check, world: World) -> None:
    outcome = check(save(name), time_limit=15)
    assert (outcome.code, outcome.result.status) == (3, "timed_out"), outcome.output
    assert outcome.seconds < 30
    assert outcome.result.verdict is None
    unharmed(world, outcome)


def test_scribbling_over_the_shared_memory_reaches_only_the_models_own_answers(
    save: Save, check: Check, world: World
) -> None:
    outcome = check(save("Overruns"))
    assert outcome.code in (0, 3, 4), outcome.output  # it may spoil the images it is given, and so only fool itself
    unharmed(world, outcome)
