"""What the report tells people to do: what they copy does what it says."""

from __future__ import annotations

import shlex
from datetime import date
from pathlib import Path

import pytest

from smoothscan.errors import ConfigError
from smoothscan.gate import judge
from smoothscan.result import ScanResult
from smoothscan.sinks.report import commands
from smoothscan.sinks.report.steps import Step, steps
from smoothscan.sources.waivers import read_waivers
from tests.examples.workbench import understand
from tests.stores import Registry

from .samples import SAMPLES

COMMAND = "smoothscan check models:/cifar-resnet20@champion --images 'clean images' --seed 0 --profile standard"


def of(name: str, command: str = COMMAND, **update: object) -> tuple[ScanResult, dict[str, Step]]:
    result = judge(SAMPLES[name]().result.model_copy(update=update))
    return result, {step.title: step for step in steps(result, command)}


@pytest.mark.parametrize(
    ("name", "titles"),
    [
        ("backdoored", ["Keep it out", "Retrain without it", "If you doubt it", "Waive it, if you know better"]),
        ("suspicious", ["Keep it out", "Retrain without it", "If you doubt it", "Waive it, if you know better"]),
        ("pairs", ["Keep it out", "Retrain without it", "If you doubt it", "Waive it, if you know better"]),
        ("clean", ["Let it pass, and bind the verdict to these files", "Look deeper"]),
        ("inconclusive", ["Treat it as unknown", "Remove what was in the way"]),
        ("undecided", ["Treat it as unknown", "Judge it against clean models"]),
        ("gated", ["Treat it as unknown", "Have the steps explained", "Waive it, if you know better"]),
        ("failed", ["Treat it as not examined", "Repair what failed, and scan again"]),
        (
            "refused",
            [
                "Treat it as not examined",
                "Have it stored without code",
                "Or run its code, if you trust where it comes from",
            ],
        ),
        ("timed_out", ["Treat it as not examined", "Give it more time"]),
        ("unsupported", ["Treat it as not examined", "What can be scanned"]),
    ],
)
def test_steps_fit_the_outcome(name: str, titles: list[str]) -> None:
    assert [title[:47] for title in of(name)[1]] == [title[:47] for title in titles]


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_the_real_command_line_understands_every_command(name: str, tmp_path: Path) -> None:
    images = tmp_path / "clean images"
    images.mkdir()
    command = shlex.join(["smoothscan", "check", "models:/x@champion", "--images", str(images), "--seed", "3"])
    for step in of(name, command)[1].values():
        for snippet in step.snippets:
            program, *rest = shlex.split(snippet.text, comments=True)
            if program == "smoothscan":
                for position, word in enumerate(rest):  # files that come to be only later
                    if word in ("smoothscan-waivers.toml", "clean.json", "smoothscan-report/result.json"):
                        rest[position] = str(tmp_path / "file")
                        (tmp_path / "file").touch()
                understand(rest)


@pytest.mark.parametrize("name", ["backdoored", "pairs"])
def test_a_waiver_holds_as_soon_as_it_is_signed(name: str, tmp_path: Path) -> None:
    result, found = of(name)
    (snippet, command) = found["Waive it, if you know better"].snippets
    file = tmp_path / snippet.file
    file.write_text(snippet.text, "utf-8")
    with pytest.raises(ConfigError, match="has to be a text, and not an empty one"):
        read_waivers(file)
    signed = snippet.text.replace('reason = ""', 'reason = "looked at"').replace('owner = ""', 'owner = "ann"')
    file.write_text(signed, "utf-8")
    gate = judge(result, waivers=read_waivers(file), today=date(2026, 11, 24)).gate
    assert gate is not None
    assert (gate.passed, gate.exit_code, {f.state for f in gate.findings}) == (True, 0, {"waived"})
    assert read_waivers(file)[0].expires == date(2027, 2, 20)  # 90 days after the scan
    assert command.text == f"{COMMAND} --waivers smoothscan-waivers.toml"


def test_what_is_waived_is_not_offered_again() -> None:
    result = judge(SAMPLES["backdoored"]().result, baseline=SAMPLES["backdoored"]().result)
    assert "Waive it, if you know better" not in [step.title for step in steps(result, COMMAND)]


@pytest.mark.parametrize("name", ["plain", """it's "a" \\ $(touch x) `y` \u00e9\U0001f600"""])
def test_the_command_takes_every_alias_off_this_version_only(registry: Registry, name: str) -> None:
    client = registry.client()
    client.create_registered_model(name)
    for _ in range(2):
        client.create_model_version(name, source=str(registry.folder))
    for alias, version in (("champion", "2"), ("old", "1"), ("canary", "2")):
        client.set_registered_model_alias(name, alias, version)
    model = SAMPLES["backdoored"]().result.model.model_copy(update={"name": name, "version": "2"})
    stores = {"tracking_uri": registry.tracking_uri, "registry_uri": registry.tracking_uri}
    result = SAMPLES["backdoored"]().result.model_copy(update={"model": model, "config": stores})
    python, option, code = shlex.split(commands.off_every_alias(result))
    assert (python, option) == ("python", "-c")
    exec(code, {})
    left = client.get_registered_model(name).aliases
    assert {alias: str(version) for alias, version in left.items()} == {"old": "1"}
    client.delete_registered_model(name)


def test_credentials_are_left_out_of_commands() -> None:
    result = SAMPLES["backdoored"]().result
    config = {**result.config, "registry_uri": "https://ann:secret@registry.example"}
    assert "secret" not in commands.off_every_alias(result.model_copy(update={"config": config}))


def test_a_model_without_a_name_has_no_alias() -> None:
    model = SAMPLES["backdoored"]().result.model.model_copy(update={"name": None, "version": None, "uri": "folder"})
    _, found = of("backdoored", model=model)
    assert found["Keep it out"].snippets == ()
    assert "verify NEW_MODEL --against" in found["Retrain without it"].snippets[0].text


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ({"profile": "quick"}, "--profile standard"),
        ({"profile": "standard"}, "--profile standard --spaces all --pairs"),
        (
            {"profile": "paper", "spaces": ["l2", "patch", "frequency", "smooth", "warp", "tone"]},
            "--profile standard --pairs",
        ),
    ],
)
def test_deeper_means_what_was_not_done(config: dict[str, object], options: str) -> None:
    of_sample = SAMPLES["clean"]().result.config
    _, found = of("clean", config={**of_sample, **config})
    (snippet,) = found["Look deeper"].snippets
    assert snippet.text.endswith(f"--seed 0 {options}")


def test_options_are_replaced_where_they_stand() -> None:
    assert commands.again("smoothscan check a --seed 3 --pairs", seed="4", pairs=None, uri="b c", time_limit="2h") == (
        "smoothscan check 'b c' --seed 4 --pairs --time-limit 2h"
    )
    assert commands.other_seed("smoothscan check a --seed 41") == "smoothscan check a --seed 42"
    assert commands.other_seed("smoothscan check a") == "smoothscan check a --seed 1"
    for broken in ("", "x", "smoothscan check 'a"):
        assert commands.again(broken, seed="1") == commands.calibrate(broken) == ""


def test_without_a_command_there_are_steps_all_the_same() -> None:
    for name in SAMPLES:
        for step in of(name, command="")[1].values():
            assert not [s for s in step.snippets if s.text.startswith("smoothscan check")]
