from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from smoothscan.cli.check import check
from smoothscan.cli.settings import Settings, read_labels, resolve
from smoothscan.cli.shared_options import given
from smoothscan.errors import ConfigError

URI = "models:/digits/3"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def parse(*words: str) -> Settings:
    """Settings of a command line, as `check` makes them."""
    ctx = check.make_context("check", [URI, *words])
    return resolve(given(ctx))


def configure(text: str, name: str = "smoothscan.toml") -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_a_file_everything_else_is_the_default() -> None:
    settings = parse("--images", "pictures")
    assert settings.file is None
    assert settings.input_sources == {}
    assert settings.config.images == Path("pictures")
    assert settings.config.write_back
    assert settings.config.formats == ("html", "json")


@pytest.mark.parametrize(("there", "expected"), [(True, "ci/denoisers/signs"), (False, "denoisers/signs")])
def test_a_denoiser_in_a_file_is_a_folder_beside_it_if_there_is_one(there: bool, expected: str) -> None:
    if there:
        Path("ci/denoisers/signs").mkdir(parents=True)
    configure('denoiser = "denoisers/signs"', "ci/gate.toml")
    assert parse("--images", "pictures", "--config", "ci/gate.toml").config.denoiser == expected


def test_every_option_reaches_the_configuration() -> None:
    Path("names.txt").write_text("cat\ndog\n")
    options: dict[str, Any] = {
        "images": ("pictures", Path("pictures")),
        "profile": ("quick", "quick"),
        "spaces": ("l2,warp", ("l2", "warp")),
        "pairs": (None, True),
        "sigma": ("0.25", 0.25),
        "denoiser": ("owner/name", "owner/name"),
        "denoising": ("always", "always"),
        "synthesis-images": ("3", 3),
        "calibration": ("clean.json", Path("clean.json")),
        "seed": ("7", 7),
        "architecture": ("timm/resnet18", "timm/resnet18"),
        "allow-model-code": (None, True),
        "labels": ("names.txt", ("cat", "dog")),
        "tracking-uri": ("http://tracking", "http://tracking"),
        "registry-uri": ("http://registry", "http://registry"),
        "no-write-back": (None, False),
        "output-dir": ("out", Path("out")),
        "format": ("json", ("json",)),
        "redact-images": (None, True),
        "fail-on": ("backdoored", "backdoored"),
        "waivers": ("waivers.toml", Path("waivers.toml")),
        "baseline": ("older.json", Path("older.json")),
        "sarif-anchor": ("names.txt", Path("names.txt")),
        "attest": (None, True),
        "attest-key": ("attest.pem", Path("attest.pem")),
        "set-alias": ("approved", "approved"),
        "device": ("cpu", "cpu"),
        "precision": ("float32", "float32"),
        "threads": ("2", 2),
        "memory": ("1GB", 10**9),
        "time-limit": ("5m", 300.0),
        "time-budget": ("90s", 90.0),
        "no-cache": (None, False),
        "cache-dir": ("kept", Path("kept")),
    }
    inputs: dict[str, Any] = {
        "input-size": ("64x48", (64, 48)),
        "channels": ("3", 3),
        "layout": ("NHWC", "NHWC"),
        "value-range": ("0,255", (0.0, 255.0)),
        "mean": ("1,2,3", (1.0, 2.0, 3.0)),
        "std": ("4,5,6", (4.0, 5.0, 6.0)),
        "resize": ("none", "none"),
    }
    words = [f"--{name}" if text is None else f"--{name}={text}" for name, (text, _) in (options | inputs).items()]
    config = parse(*words).config
    fields = {"format": "formats", "memory": "memory_bytes", "no-write-back": "write_back", "no-cache": "cache"}
    for name, (_, value) in options.items():
        assert getattr(config, fields.get(name, name.replace("-", "_"))) == value, name
    assert (config.input.height, config.input.width) == inputs["input-size"][1]
    for name, (_, value) in list(inputs.items())[1:]:
        assert getattr(config.input, name.replace("-", "_")) == value, name
    documented = {option for param in check.params for option in param.opts if option.startswith("--")}
    apart = {"--config", "--dry-run", "--explain", "--progress", "--quiet", "--verbose"}
    assert documented - apart == {f"--{name}" for name in options | inputs}, "an option that this test does not know"


def test_options_win_over_the_file_and_both_are_named() -> None:
    configure("""
        images = "from-file"
        seed = 5
        memory = "1GB"
        time-limit = "2m"
        write_back = false
        labels = ["cat", "dog"]
        [input]
        size = [32, 48]
        channels = 1
        value_range = [0, 255]
    """)
    settings = parse("--seed", "6", "--channels", "3")
    config = settings.config
    assert settings.file == "configuration file smoothscan.toml"
    assert (config.seed, config.memory_bytes, config.time_limit, config.write_back) == (6, 10**9, 120, False)
    assert config.images == Path("from-file")
    assert (config.input.height, config.input.width, config.input.channels) == (32, 48, 3)
    of_file = "configuration file smoothscan.toml"
    assert settings.input_sources == {
        "height": of_file,
        "width": of_file,
        "channels": "option",
        "value_range": of_file,
        "labels": of_file,
    }


def test_pyproject_counts_if_it_has_the_table_and_no_own_file_is_there() -> None:
    configure("[project]\nname = 'x'\n", "pyproject.toml")
    assert parse("--images", "a").file is None
    configure("[tool.smoothscan]\nimages = 'b'\n", "pyproject.toml")
    assert parse().file == "configuration file pyproject.toml"
    configure("images = 'c'\n")
    assert parse().config.images == Path("c")


def test_a_named_file_replaces_the_one_found_and_its_paths_start_at_its_folder() -> None:
    configure("seed = 1\n")
    configure(
        "images = 'pictures'\nlabels = 'names.txt'\ncalibration = 'clean.json'\nattest = true\nattest_key = 'a.pem'\n",
        "conf/scan.toml",
    )
    Path("conf/names.txt").write_text("a\nb\n")
    config = parse("--config", "conf/scan.toml").config
    assert (config.seed, config.images, config.labels) == (0, Path("conf/pictures"), ("a", "b"))
    assert (config.calibration, config.attest_key) == (Path("conf/clean.json"), Path("conf/a.pem"))


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("image = 'x'", "unknown key: image", "did you mean images?"),
        ("[input]\nchanels = 3", "unknown key: input.chanels", "did you mean input.channels?"),
        ("channels = 3", "unknown key: channels", "table [input]"),
        ("input_size = '8x8'", "unknown key: input_size", "write size in the table [input]"),
        ("[input]\ninput_size = '8x8'", "unknown key: input.input_size", "write size"),
        ("[input]\nlabels = 'x.txt'", "unknown key: input.labels", "write labels outside of the table [input]"),
        ("explain = true", "unknown key: explain", "pass --explain on the command line"),
        ("progress = 'json'", "unknown key: progress", "pass --progress on the command line"),
        ("dry-run = true", "unknown key: dry_run", "pass --dry-run on the command line"),
        ("zzz = 1", "unknown key: zzz", "known keys"),
        ("memory = 'lots'", "memory: 'lots' is not an amount", ""),
        ("input = 3", "input is not a table", ""),
        ("[input]\nsize = [1, 2, 3]", "input.size", "224"),
        ("seed = -1", "smoothscan.toml: seed", "--help"),
        ("profile = 'fast'", "smoothscan.toml: profile", "--help"),
        ("spaces = 'l2,pach'", "smoothscan.toml: spaces: pach is not a trigger space; did you mean patch? choose", ""),
        ("format = 'markdwn'", "format: markdwn is not a report format; did you mean markdown? choose from html", ""),
        ("spaces = ['pach']", "smoothscan.toml: spaces: input should be 'l2', 'patch'", "--help"),
        ("spaces = []", "smoothscan.toml: spaces", "--help"),
        ("spaces = 'all'\nprofile = 'paper'", "the options: the profile `paper` knows additive", "--help"),
        ("seed = = 1", "cannot be read", ""),
        ("allow_model_code = true", "allow_model_code", "--allow-model-code"),
        ("cache_dir = 'kept'", "asks for cache_dir, but was not named", "--cache-dir, or --config smoothscan.toml"),
        ("cache_dir = ''", "asks for cache_dir, but was not named", "--cache-dir"),
        ("[[model]]\nname = 'digits'\ncache-dir = 'kept'", "model digits asks for cache_dir", "--config"),
    ],
)
def test_a_wrong_file_is_one_readable_message(text: str, message: str, hint: str) -> None:
    configure(text)
    with pytest.raises(ConfigError) as caught:
        parse("--images", "x")
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message
    assert "validation error" not in caught.value.message


def test_a_file_may_allow_model_code_only_where_the_user_names_it() -> None:
    configure("allow_model_code = true\n")
    assert parse("--images", "x", "--config", "smoothscan.toml").config.allow_model_code


def test_a_file_may_say_where_results_are_kept_only_where_the_user_names_it() -> None:
    configure("cache_dir = 'kept'\n", "ci/gate.toml")
    assert parse("--images", "x", "--config", "ci/gate.toml").config.cache_dir == Path("ci/kept")


CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_AUTH")


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No credentials of MLflow."""
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return monkeypatch


@pytest.mark.parametrize("key", ["tracking_uri", "registry-uri", "denoiser"])
@pytest.mark.parametrize("name", [*CREDENTIALS, "~/.mlflow/credentials"])
@pytest.mark.parametrize("table", ["", "[[model]]\nname = 'digits'\n"])
def test_a_file_that_nobody_named_sends_credentials_nowhere(
    nobody: pytest.MonkeyPatch, key: str, name: str, table: str
) -> None:
    configure(f"{table}{key} = 'http://elsewhere'\n")
    field = key.replace("-", "_")
    assert getattr(parse("--images", "x").config, field) == "http://elsewhere", "without credentials there is no harm"
    if name in CREDENTIALS:
        nobody.setenv(name, "secret")
    else:
        configure("[mlflow]\n", "home/.mlflow/credentials")
    with pytest.raises(ConfigError, match="was not named on the command line: that server would get") as caught:
        parse("--images", "x")
    assert (name in caught.value.message, "secret" in caught.value.message) == (True, False)
    assert f"--{field.replace('_', '-')}" in caught.value.hint
    assert getattr(parse("--images", "x", "--config", "smoothscan.toml").config, field) == "http://elsewhere"
    config = parse("--images", "x", f"--{field.replace('_', '-')}", "http://mine").config
    assert getattr(config, field) == "http://mine"


@pytest.mark.parametrize("denoiser", ["models:/denoiser/1", "org/denoiser", "there"])
def test_a_denoiser_that_is_on_no_other_server_may_be_in_any_file(nobody: pytest.MonkeyPatch, denoiser: str) -> None:
    nobody.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    configure(f"denoiser = '{denoiser}'\n")
    assert parse("--images", "x").config.denoiser == denoiser
    configure("denoiser = 'mlflow-artifacts://elsewhere/x'\n")
    with pytest.raises(ConfigError, match="sets denoiser"):
        parse("--images", "x", "--tracking-uri", "http://mine")


@pytest.mark.parametrize("table", ["", "[[model]]\nname = 'digits'\n"])
def test_a_registry_of_a_file_that_nobody_named_gives_way_to_the_server_of_the_command_line(
    nobody: pytest.MonkeyPatch, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    configure(f"{table}registry_uri = 'http://elsewhere'\n")
    config = parse("--images", "x", "--tracking-uri", "http://mine").config
    assert (config.tracking_uri, config.registry_uri) == ("http://mine", None)
    assert "registry_uri counts for nothing beside --tracking-uri" in capsys.readouterr().err
    config = parse("--images", "x", "--tracking-uri", "http://mine", "--registry-uri", "http://other").config
    assert config.registry_uri == "http://other"
    config = parse("--images", "x", "--tracking-uri", "http://mine", "--config", "smoothscan.toml").config
    assert config.registry_uri == "http://elsewhere"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mean", "0.5"], "the model's input: mean and std go together"),
        (["--mean", "0.5,0.5", "--std", "1"], "same number of values"),
        (["--seed", "-1"], "--seed: input should be greater than or equal to 0"),
        (["--value-range", "1,0"], "lower end first"),
        (["--memory", "1MB"], "--memory"),
        (["--synthesis-images", "0"], "--synthesis-images"),
        (["--synthesis-images", "3", "--profile", "paper"], "the options: the profile `paper` makes"),
        (["--pairs", "--profile", "paper"], "the options: the profile `paper` knows no pairs"),
        (["--spaces", "l2,warp", "--profile", "paper"], "the options: the profile `paper` knows additive"),
        (["--input-size", "0x5", "--sigma", "-1"], "--input-size"),
    ],
)
def test_wrong_options_are_named_as_they_were_written(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse("--images", "x", *words)


def test_code_scanning_shows_findings_at_a_file_of_the_repository() -> None:
    assert parse("--images", "x").provenance.anchor == "smoothscan.toml"
    configure("[tool.smoothscan]\nimages = 'x'\n", "pyproject.toml")
    assert parse().provenance.anchor == "pyproject.toml"
    configure("images = 'x'\nsarif_anchor = 'models.txt'\nwaivers = 'w.toml'\nbaseline = 'b.json'", "ci/gate.toml")
    Path("ci/models.txt").write_text("")
    config = parse("--config", "ci/gate.toml").config
    assert (config.waivers, config.baseline) == (Path("ci/w.toml"), Path("ci/b.json")), "paths start at the file"
    assert parse("--config", "ci/gate.toml").provenance.anchor == "ci/models.txt"
    for wrong in ("nowhere.toml", "..", str(Path(__file__))):
        with pytest.raises(ConfigError, match="no file in the current folder"):
            parse("--images", "x", "--sarif-anchor", wrong)


def test_waivers_that_merely_lie_there_are_not_used() -> None:
    Path("smoothscan-waivers.toml").write_text("[[waiver]]\n")
    assert parse("--images", "x").config.waivers is None


def test_images_are_needed() -> None:
    with pytest.raises(ConfigError) as caught:
        parse()
    assert "--images" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "cat\ndog\n",
        '["cat", "dog"]',
        '{"0": "cat", "1": "dog"}',
        '{"model_type": "resnet", "id2label": {"1": "dog", "0": "cat"}}',
    ],
)
def test_labels_in_every_form(text: str) -> None:
    Path("labels").write_text(text)
    assert read_labels(Path("labels")) == ("cat", "dog")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("cat\n\ndog\n", "empty line"),
        ("[1, 2]", "no names"),
        ("[", "valid JSON"),
        ('{"0": "cat", "2": "dog"}', "every class from 0 to 1"),
    ],
)
def test_labels_that_name_no_classes(text: str, message: str) -> None:
    Path("labels").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_labels(Path("labels"))


def test_labels_file_that_is_no_text() -> None:
    Path("labels").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_labels(Path("labels"))


def test_the_command_repeats_the_scan() -> None:
    Path("my names.json").write_text(json.dumps(["a", "b"]))
    configure("""
        images = "my pictures"
        labels = "my names.json"
        sigma = 0
        synthesis-images = 3
        spaces = ["l2", "warp"]
        calibration = "my clean.json"
        format = "json"
        redact_images = true
        time_limit = 90
        time_budget = "1m"
        cache = false
        cache_dir = "my cache"
        [input]
        size = "64x48"
        value_range = [-1, 1]
        mean = [0.49139968, 0.2, 0.3]
        std = [1, 2, 3]
    """)
    first = parse("--no-write-back", "--fail-on", "backdoored", "--seed", "3", "--config", "smoothscan.toml")
    Path("smoothscan.toml").unlink()
    program, name, uri, *words = shlex.split(first.provenance.command)
    assert (program, name, uri) == ("smoothscan", "check", URI)
    assert parse(*words).config == first.config


@pytest.mark.parametrize("key", ["time_limit", "time_budget"])
@pytest.mark.parametrize("value", ["1e12", "inf", "nan", "0", "-1", "'99999999999999d'"])
def test_a_time_that_is_none_is_told(key: str, value: str) -> None:
    Path("smoothscan.toml").write_text(f"images = 'x'\n{key} = {value}\n")
    with pytest.raises(ConfigError, match=key.replace("_", "[-_]")):
        parse()


def test_the_command_holds_no_credentials() -> None:
    command = parse("--images", "x", "--tracking-uri", "https://user:secret@server/mlflow").provenance.command
    assert "secret" not in command
    assert "https://server/mlflow" in command


def is_taken_by_mlflow(alias: str) -> bool:
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_model_alias_name, _validate_model_alias_name_reserved

    try:
        _validate_model_alias_name(alias)
        _validate_model_alias_name_reserved(alias)
    except MlflowException:
        return False
    return True


@pytest.mark.parametrize("name", ["latest", "Latest", "v3", "V12", "my alias", "a/b", "", "x" * 256])
def test_an_alias_that_mlflow_refuses_is_refused_before_the_scan(name: str) -> None:
    assert not is_taken_by_mlflow(name)
    with pytest.raises(ConfigError, match=r"--set-alias: .* is no alias that MLflow takes"):
        parse("--images", "pictures", f"--set-alias={name}")


@pytest.mark.parametrize("name", ["champion", "v3-approved", "latest-good", "über_1", "x" * 255])
def test_an_alias_that_mlflow_takes_is_taken(name: str) -> None:
    assert is_taken_by_mlflow(name)
    assert parse("--images", "pictures", f"--set-alias={name}").config.set_alias == name


def test_a_key_without_an_attestation_to_sign() -> None:
    with pytest.raises(ConfigError, match="it needs attest"):
        parse("--images", "pictures", "--attest-key", "attest.pem")
