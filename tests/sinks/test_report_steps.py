"""What the report tells people to do: what they copy does what it says."""

from __future__ import annotations

import shlex
from datetime import date
from pathlib import Path

import click
import pytest

from smoothscan.cli.main import smoothscan
from smoothscan.cli.settings import command_line
from smoothscan.cli.tables import FIELDS, INPUT_FIELDS, ON
from smoothscan.config import IN_FULL, InputConfig, ScanConfig
from smoothscan.errors import ConfigError
from smoothscan.gate import judge
from smoothscan.result import ModelInfo, SafetyReport, ScanResult
from smoothscan.sinks.report import commands
from smoothscan.sinks.report.steps import Step, steps
from smoothscan.sources.calibration_file import differences, settings_of
from smoothscan.sources.waivers import read_waivers
from smoothscan.verdict.calibration import Calibration
from smoothscan.vocabulary import SPACES
from tests.examples.workbench import understand
from tests.stores import Registry

from . import gated
from .samples import SAMPLES

COMMAND = "smoothscan check models:/cifar-resnet20@champion --images 'clean images' --seed 0 --profile standard"
PINNED = COMMAND.replace("@champion", "/3")


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


def test_a_suspicion_that_the_gate_lets_pass_is_looked_at() -> None:
    result = judge(SAMPLES["suspicious"]().result, "backdoored")
    assert result.gate is not None
    assert result.gate.passed
    titles = [step.title for step in steps(result, COMMAND)]
    assert titles == ["Look before you deploy it", "If you doubt it", "Waive it, if you know better"]


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
    assert command.text == f"{PINNED} --waivers smoothscan-waivers.toml --output-dir smoothscan-report-waived"


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
        ({"profile": "standard", "spaces": list(SPACES)}, "--profile standard --pairs"),
        ({"profile": "paper"}, None),
    ],
)
def test_deeper_means_what_was_not_done(config: dict[str, object], options: str | None) -> None:
    of_sample = SAMPLES["clean"]().result.config
    _, found = of("clean", config={**of_sample, **config})
    snippets = found["Look deeper"].snippets if "Look deeper" in found else ()
    wanted = [f"--seed 0 {options} --output-dir smoothscan-report-deeper"] if options else []
    assert [s.text[s.text.index("--seed") :] for s in snippets] == wanted


def test_when_everything_was_done_the_paper_s_protocol_is_deeper() -> None:
    config = {**SAMPLES["clean"]().result.config, "spaces": list(SPACES)}
    command = f"{COMMAND} --spaces all --pairs --synthesis-images 3 --calibration clean.json"
    _, found = of("clean", command, config=config, pairs=SAMPLES["pairs"]().result.pairs)
    (snippet,) = found["Look deeper"].snippets
    paper = PINNED.replace("standard", "paper")
    assert snippet.text == f"{paper} --output-dir smoothscan-report-deeper"


def test_pairs_of_many_classes_cannot_be_searched_and_are_not_offered() -> None:
    coverage = SAMPLES["clean"]().result.coverage.model_copy(update={"classes_total": IN_FULL + 1})
    (snippet,) = of("clean", coverage=coverage)[1]["Look deeper"].snippets
    assert "--spaces all" in snippet.text
    assert "--pairs" not in snippet.text


def test_options_are_replaced_where_they_stand() -> None:
    assert commands.again("smoothscan check a --seed 3 --pairs", seed="4", pairs=None, uri="b c", time_limit="2h") == (
        "smoothscan check 'b c' --seed 4 --pairs --time-limit 2h"
    )
    assert commands.again("smoothscan check a --mean=1,2 --no-cache -- --pairs", without=("mean", "pairs")) == (
        "smoothscan check a --no-cache -- --pairs"
    )
    assert commands.other_seed("smoothscan check a --set-alias x --seed 41") == (
        "smoothscan check a --seed 42 --no-write-back --output-dir smoothscan-report-seed-42"
    )
    assert commands.other_seed("smoothscan check a --output-dir out/") == (
        "smoothscan check a --output-dir out-seed-1 --seed 1 --no-write-back"
    )
    assert commands.other_seed("smoothscan check a --output-dir .") == (
        "smoothscan check a --output-dir seed-1 --seed 1 --no-write-back"
    )
    for broken in ("", "x", "smoothscan check 'a"):
        assert commands.again(broken, seed="1") == commands.calibrate(broken) == ""
        assert commands.pinned(broken, SAMPLES["clean"]().result) == broken


@pytest.mark.parametrize("name", ["backdoored", "pairs", "clean", "undecided", "gated"])
def test_another_scan_leaves_the_results_of_this_one_where_they_are(name: str) -> None:
    folders = []
    for step in of(name, f"{COMMAND} --output-dir out")[1].values():
        for snippet in step.snippets:
            if snippet.text.startswith("smoothscan check"):
                folders.append(commands.value(snippet.text, "output_dir"))
                if folders[-1] == "out":  # the same scan once more, with an attestation
                    again = commands.again(snippet.text, without=("set_alias", "attest"))
                    assert again == f"{PINNED} --output-dir out"
    assert len(set(folders)) == len(folders) > 0


@pytest.mark.parametrize("name", ["backdoored", "clean", "undecided", "timed_out"])
def test_commands_name_the_version_that_was_scanned(name: str) -> None:
    _, found = of(name)
    texts = [s.text for step in found.values() for s in step.snippets if s.text.startswith("smoothscan check")]
    assert texts
    for text in texts:
        assert shlex.split(text)[2] in ("models:/cifar-resnet20/3", "models:/cifar-resnet20/EARLIER_VERSION")
    folder = SAMPLES["clean"]().result.model_copy(
        update={"model": ModelInfo(uri="models/a", resolved_uri="file:///home/ann/models/a")}
    )
    assert commands.pinned("smoothscan check models/a --images b", folder) == "smoothscan check models/a --images b"


def test_the_file_of_waivers_that_there_is_gets_the_new_one() -> None:
    _, found = of("backdoored", f"{COMMAND} --waivers ours.toml")
    waiver, command = found["Waive it, if you know better"].snippets
    assert waiver.file == "ours.toml"
    assert "--waivers ours.toml" in command.text


@pytest.mark.parametrize("name", ["backdoored", "gated"])
def test_a_waived_model_is_not_told_to_be_taken_away(name: str) -> None:
    told = {step.title: step.text for step in steps(gated.waived(name), COMMAND)}
    assert list(told) == ["Passes until 2027-01-31: renew the waiver or remove it", "Scan again"]
    known = [step.title for step in steps(gated.known(name), COMMAND)]
    assert known == ["Passes because the baseline has it, too", "Scan again"]
    assert next(step.title for step in steps(gated.judged(name), COMMAND)) in ("Keep it out", "Treat it as unknown")


def test_a_module_in_memory_has_no_files_to_attest() -> None:
    safety = SafetyReport(held_by_caller=True, needs_model_code=True, model_code_executed=True)
    model = ModelInfo(uri="memory:Net", digest="sha256:" + "0" * 64)
    _, found = of("clean", command="", safety=safety, model=model)
    assert next(iter(found)) == "Log it, and scan its URI before it is deployed"
    assert "attest" not in " ".join(step.text for step in found.values())
    _, found = of("backdoored", command="", safety=safety, model=model)
    assert found["Keep it out"].text == "Do not log or deploy this module, and tell whoever has its weights."


def parsed(text: str) -> ScanConfig:
    """What a command means to the real command line.

    Raises:
        ConfigError: it is refused.
    """
    from smoothscan.cli.settings import resolve
    from smoothscan.cli.shared_options import given

    name, *rest = shlex.split(text)[1:]
    ctx = understand([name, *rest])
    assert ctx is not None
    uri = ctx.params["uri"] if name == "check" else ctx.params["uris"][0]
    return resolve({**given(ctx), "uri": uri}, use_file=False).config


SEARCHES: list[dict[str, object]] = [
    {"profile": "quick", "spaces": ("patch",), "pairs": True},
    {"profile": "standard", "spaces": tuple(SPACES), "pairs": True, "synthesis_images": 3},
    {"profile": "standard", "spaces": ("l2",), "sigma": 0.1, "synthesis_images": 3, "calibration": Path("old.json")},
    {"profile": "standard", "denoiser": "ddpm", "denoising": "always", "tracking_uri": "sqlite:///a.db"},
    {"profile": "paper", "spaces": ("l2",), "sigma": 0.25},
    {"input": InputConfig(value_range=(-1, 1), mean=(0.5,), std=(0.5,), height=32, width=32), "fail_on": "backdoored"},
    {"attest": True, "attest_key": Path("key.pem"), "set_alias": "champion", "write_back": False, "cache": False},
    {"waivers": Path("w.toml"), "baseline": Path("b.json"), "redact_images": True, "allow_model_code": True},
]


@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: "-".join(search))
@pytest.mark.parametrize("name", ["backdoored", "clean", "timed_out", "refused", "no-grip", "no-null", "unfinished"])
def test_no_command_is_refused(name: str, search: dict[str, object]) -> None:
    config = ScanConfig(uri="models:/x@champion", images=Path("clean images"), **search)  # type: ignore[arg-type]
    own = settings_of(config)
    update = {"config": config.model_dump(mode="json"), "obstacles": () if name in SAMPLES else (name,)}
    update["pairs"] = SAMPLES["pairs"]().result.pairs if config.pairs else None
    _, found = of(name if name in SAMPLES else "undecided", command_line(config), **update)
    texts = {s.name: s.text for step in found.values() for s in step.snippets if s.text.startswith("smoothscan ")}
    asked = {name: parsed(text) for name, text in texts.items() if "verify" not in text}
    for one in asked.values():
        if one.calibration == Path("old.json"):
            assert settings_of(one) == own  # else the calibration is refused
        assert (one.input, one.tracking_uri) == (config.input, config.tracking_uri)
    if learn := asked.get("Command that learns from clean models"):
        calibration = Calibration(settings=settings_of(learn), models=())
        assert differences(calibration, asked["Command that judges against them"]) == ""
    assert asked or (config.profile == "paper" and name in ("clean", "no-grip"))  # nothing is harder


def test_options_of_check_are_known_by_their_kind() -> None:
    options = {name: {o: p for p in command(name).params for o in p.opts if o.startswith("--")} for name in KINDS}
    for key in FIELDS:
        option = "--" + ("no-" if key in ON else "") + key.replace("_", "-")
        name = option[2:].replace("-", "_")
        assert getattr(options["check"][option], "is_flag", False) is (name in commands.FLAGS), option
        assert (option in options["calibrate"]) is (name not in commands.OF_CHECK_ONLY), option
    assert {"--" + key.replace("_", "-") for key in INPUT_FIELDS} - {"--size"} <= set(options["calibrate"])
    assert "--input-size" in options["calibrate"]


KINDS = ("check", "calibrate")


def command(name: str) -> click.Command:
    found = smoothscan.get_command(click.Context(smoothscan), name)
    assert found is not None
    return found


def test_without_a_command_there_are_steps_all_the_same() -> None:
    for name in SAMPLES:
        for step in of(name, command="")[1].values():
            assert not [s for s in step.snippets if s.text.startswith("smoothscan check")]
