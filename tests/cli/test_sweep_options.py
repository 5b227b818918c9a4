"""What `smoothscan sweep` is asked to do: options, the configuration file, and what a look at the registry says."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import example, given
from hypothesis import strategies as st

from smoothscan.cli.check import check
from smoothscan.cli.fleet_setup import Rules, engine_of
from smoothscan.cli.plan_outcome import due, due_in_short, settled
from smoothscan.cli.serve import serve
from smoothscan.cli.settings import choices, resolve
from smoothscan.cli.shared_options import given as options_of
from smoothscan.cli.sweep import _options, sweep
from smoothscan.cli.sweep_table import with_table
from smoothscan.errors import ConfigError, SmoothscanError
from smoothscan.fleet.plan import Planned, Shard
from smoothscan.fleet.sweep import SweepOptions
from smoothscan.posture import Action
from smoothscan.sources.inventory import Registered, Selection
from tests.fleet.stubs import order, version
from tests.sinks.postures import HOSTILE, flagged, kept, standing, unscanned, without_verdict
from tests.stores import Registry, draw_images


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SMOOTHSCAN_LEDGER", raising=False)
    draw_images(tmp_path / "images", 2)


def configure(text: str) -> None:
    Path("smoothscan.toml").write_text(text)


def asked(*words: str) -> tuple[SweepOptions, dict[str, Any]]:
    """Return what a command line and the file ask for: of the sweep, and of who scans."""
    ctx = sweep.make_context("sweep", list(words))
    chosen = choices(options_of(ctx))
    options = with_table(ctx, chosen, sweep)
    return _options(options, chosen.common("smoothscan-sweep")), options


def test_without_options_everything_is_selected() -> None:
    what, options = asked("--images", "images")
    assert what == SweepOptions()
    assert what.output_dir == Path("smoothscan-sweep")
    assert set(options) == {"images"}


@pytest.mark.parametrize(
    ("ledger", "meant"), [("l.db", "conf/l.db"), ("/l.db", "/l.db"), ("postgresql://host/l", "postgresql://host/l")]
)
def test_a_ledger_in_the_file_lies_beside_it(ledger: str, meant: str) -> None:
    Path("conf").mkdir()
    Path("conf/sweep.toml").write_text(f'[sweep]\nledger = "{ledger}"')
    assert asked("--config", "conf/sweep.toml", "--images", "images")[1]["ledger"] == meant
    assert asked("--config", "conf/sweep.toml", "--images", "images", "--ledger", "o.db")[1]["ledger"] == "o.db"


def test_every_option_of_the_sweep_reaches_it() -> None:
    words = [
        "--filter",
        "tags.team = 'vision'",
        "--name",
        "a*",
        "--name",
        "b",
        "--alias",
        "champion",
        "--stage",
        "Staging",
    ]
    words += ["--shard", "1/4", "--rescan", "--check-files", "--retries", "0", "--output-dir", "out"]
    words += ["--tracking-uri", "http://t", "--registry-uri", "http://r"]
    who = ["--engine", "ray", "--ray-address", "host:6379", "--workers", "3", "--ledger", "l.db", "--dry-run"]
    what, options = asked(*words, *who)
    assert what == SweepOptions(
        selection=Selection(
            filter="tags.team = 'vision'", names=("a*", "b"), aliases=("champion",), stages=("Staging",)
        ),
        shard=Shard(index=1, count=4),
        rescan=True,
        check_files=True,
        retries=0,
        output_dir=Path("out"),
        tracking_uri="http://t",
        registry_uri="http://r",
    )
    expected = {"engine": "ray", "ray_address": "host:6379", "workers": 3, "ledger": "l.db", "dry_run": True}
    assert {key: options[key] for key in expected} == expected
    own = {param.name for param in sweep.params if getattr(param, "heading", "") in ("Which models", "Many models")}
    assert own == {*expected, "filter", "names", "aliases", "stages", "shard", "rescan", "check_files", "retries"}, (
        "an option that this test does not know"
    )


def test_a_sweep_takes_every_option_of_a_scan() -> None:
    about_one_model = {"baseline", "set_alias", "explain"}
    of_the_file = {"attest", "attest_key", "sarif_anchor"}
    names = {param.name for param in check.params if isinstance(param, click.Option)}
    assert names - {param.name for param in sweep.params} == about_one_model | of_the_file


def test_the_file_says_the_same_and_options_win() -> None:
    configure("""
        output-dir = "of the file"
        tracking_uri = "http://t"
        [sweep]
        filter = "tags.team = 'vision'"
        name = ["a*", "b"]
        alias = "champion"
        stage = ["Staging"]
        shard = "1/4"
        rescan = true
        check-files = true
        retries = 0
        workers = 3
        engine = "ray"
        ray_address = "host:6379"
        ledger = "l.db"
    """)
    what, options = asked()
    assert what.selection == Selection(
        filter="tags.team = 'vision'", names=("a*", "b"), aliases=("champion",), stages=("Staging",)
    )
    assert (what.shard, what.rescan, what.check_files, what.retries) == (Shard(index=1, count=4), True, True, 0)
    assert (what.output_dir, what.tracking_uri) == (Path("of the file"), "http://t")
    assert (options["engine"], options["ray_address"], options["ledger"]) == ("ray", "host:6379", "l.db")
    what, options = asked("--name", "c", "--shard", "0/2", "--retries", "5", "--workers", "1", "--engine", "local")
    assert (what.selection.names, what.selection.aliases) == (("c",), ("champion",))
    assert (what.shard, what.retries) == (Shard(index=0, count=2), 5)
    assert (options["workers"], options["engine"]) == (1, "local")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("nam = 'x'", "unknown key: sweep.nam", "did you mean name?"),
        ("shrad = '0/4'", "unknown key: sweep.shrad", "did you mean shard?"),
        ("images = 'x'", "unknown key: sweep.images", "known keys: filter, name"),
        ("shard = '4/4'", "sweep.shard: '4/4' is no part", ""),
        ("shard = 4", "sweep.shard: '4' is no part", ""),
        ("shard = true", "sweep.shard: 'True' is no part", ""),
        ("shard = ['0/4']", "is no part", ""),
        ("workers = 1.5", "sweep.workers: '1.5' is not a valid integer", ""),
        ("retries = -1", "sweep.retries: -1 is not in the range", ""),
        ("workers = 0", "sweep.workers: 0 is not in the range", ""),
        ("workers = 'many'", "sweep.workers: 'many' is not a valid integer", ""),
        ("engine = 'slurm'", "sweep.engine: 'slurm' is not one of 'local', 'ray'", ""),
        ("name = 3", "sweep.name", ""),
        ("rescan = 'perhaps'", "sweep.rescan: 'perhaps' is not a valid boolean", ""),
    ],
)
def test_what_is_wrong_in_the_file_is_told_by_its_name(text: str, message: str, hint: str) -> None:
    configure(f"[sweep]\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        asked()
    assert message in caught.value.message
    assert "smoothscan.toml" in caught.value.message
    assert hint in caught.value.hint


def test_a_server_takes_from_the_same_table_what_is_for_it() -> None:
    configure("""
        images = "images"
        [sweep]
        name = "a*"
        check_files = true
        retries = 0
        workers = 3
        ledger = "team.db"
    """)
    ctx = serve.make_context("serve", ["--workers", "1"])
    options = with_table(ctx, choices(options_of(ctx)), sweep)
    assert {key: options.get(key) for key in ("ledger", "retries", "workers")} == {
        "ledger": "team.db", "retries": 0, "workers": 1,
    }  # fmt: skip
    assert not {"names", "check_files"} & set(options)
    configure("[sweep]\nnam = 'x'")
    with pytest.raises(ConfigError, match=r"sweep\.nam"):
        with_table(ctx, choices(options_of(ctx)), sweep)


def test_an_address_of_ray_without_ray_is_a_mistake() -> None:
    common = choices({}).common("out")
    with pytest.raises(ConfigError, match="--ray-address") as caught:
        engine_of({"ray_address": "host:6379"}, common)
    assert "--engine ray" in caught.value.hint
    assert engine_of({"ray_address": "host:6379", "engine": "local"}, common)().describe().startswith("local")


@pytest.mark.parametrize("part", ["4/4", "5/4", "-1/4", "0/0", "1", "1/", "a/b", "1/2/3", ""])
def test_a_part_that_is_none(part: str) -> None:
    done = CliRunner().invoke(sweep, ["--images", "images", f"--shard={part}"])
    assert done.exit_code == 2
    assert "--shard" in done.output


class TestTablesOfModels:
    FILE = """
        images = "general"
        profile = "quick"
        seed = 1
        [[model]]
        name = "traffic-*"
        images = "signs"
        labels = "signs.txt"
        seed = 2
        [[model]]
        name = "*-night"
        seed = 3
        time-limit = "5m"
        [model.input]
        channels = 1
    """

    @pytest.fixture(autouse=True)
    def _file(self) -> None:
        configure(self.FILE)
        Path("signs.txt").write_text("stop\nyield\n")

    def test_win_over_the_rest_and_later_ones_over_earlier_ones(self) -> None:
        chosen = choices({})
        day, night, other = (chosen.of(f"models:/{name}/1") for name in ("traffic-day", "traffic-night", "faces-night"))
        assert [each.config.seed for each in (day, night, other)] == [2, 3, 3]
        assert [each.config.labels for each in (day, night, other)] == [("stop", "yield"), ("stop", "yield"), None]
        assert [str(each.config.images) for each in (day, night, other)] == ["signs", "signs", "general"]
        assert [each.config.input.channels for each in (day, night, other)] == [None, 1, 1]
        assert [each.config.time_limit for each in (day, night, other)] == [3600, 300, 300]
        assert day.input_sources == {"labels": "configuration file smoothscan.toml"} | {
            key: value for key, value in day.input_sources.items() if key != "labels"
        }
        assert {each.config.profile for each in (day, night, other)} == {"quick"}

    def test_lose_against_options(self) -> None:
        chosen = choices({"seed": 9, "images": Path("mine"), "channels": 3})
        night = chosen.of("models:/traffic-night/1").config
        assert (night.seed, night.images, night.input.channels, night.labels) == (9, Path("mine"), 3, ("stop", "yield"))

    @pytest.mark.parametrize(
        "uri", ["models:/traffic-day/3", "models:/traffic-day@champion", "models:/traffic-day/latest"]
    )
    def test_are_there_for_a_single_scan_too(self, uri: str) -> None:
        settings = resolve(options_of(check.make_context("check", [uri])))
        assert (settings.config.seed, settings.config.images) == (2, Path("signs"))
        assert "--seed 2" in settings.provenance.command
        assert "--labels signs.txt" in settings.provenance.command

    @pytest.mark.parametrize(
        "uri", ["models:/traffic/3", "runs:/traffic-day/model", "traffic-day", "models:/m-0123456789abcdef"]
    )
    def test_are_about_registered_models_of_these_names_only(self, uri: str) -> None:
        assert resolve({"uri": uri}).config.seed == 1

    def test_hold_for_whole_names_whatever_is_in_them(self) -> None:
        configure('images = "images"\n[[model]]\nname = "signs"\nallow_model_code = false\nseed = 5\n')
        chosen = choices({})
        assert chosen.of("models:/signs/1").config.seed == 5
        assert chosen.of("models:/signs@evil/1").config.seed == 0, "another model may be called signs@evil"

    def test_allow_no_code_unless_the_file_was_named(self) -> None:
        configure('images = "images"\n[[model]]\nname = "*"\nallow_model_code = true\n')
        with pytest.raises(ConfigError, match="allow_model_code"):
            choices({})
        assert choices({"config_file": Path("smoothscan.toml")}).of("models:/a/1").config.allow_model_code


NAMES = st.text(min_size=1).filter(lambda name: "/" not in name and ":" not in name)


@given(NAMES, st.integers(1, 99))
@example("[x", 1)
@example("a@b", 1)
@example("\x00\x1b[31m", 1)
@example("%2e%2e", 1)
@example("--images", 1)
def test_there_are_settings_for_every_name(name: str, number: int) -> None:
    chosen = choices({"images": Path("images"), "cache": False}, use_file=False)
    found = Rules(chosen, chosen.common("out")).order_of(Registered(name, str(number), "identity", 0.0))
    assert found.problem is None
    assert found.config.uri == f"models:/{name}/{number}"
    assert found.config.output_dir.parents[1] == Path("out")


class TestDryRun:
    @pytest.fixture
    def look(self, registry: Registry) -> Callable[..., Result]:
        """A look at the registry of tiny models."""

        def call(*words: object) -> Result:
            fixed = [
                "--dry-run",
                "--quiet",
                "--tracking-uri",
                registry.tracking_uri,
                "--ledger",
                "ledger.db",
                "--name",
                "tiny-*",
            ]
            return CliRunner().invoke(sweep, [*fixed, *map(str, words)])

        return call

    def test_says_what_is_due_and_does_nothing(self, look: Callable[..., Result], registry: Registry) -> None:
        before = registry.client().get_model_version("tiny-pt2", "1")
        done = look("--images", "images", "--alias", "champion", "--output-dir", "out")
        assert done.exit_code == 0, done.output
        assert "models:/tiny-pt2/1" in done.stdout
        assert "champion" in done.stdout
        assert "never scanned" in done.stdout
        assert "1 of 1 version due: 1 never scanned" in done.stdout
        assert sorted(path.name for path in Path().iterdir() if "ledger" not in path.name) == ["images"]
        with sqlite3.connect("ledger.db") as connection:
            assert connection.execute("SELECT count(*) FROM smoothscan_scans").fetchone() == (0,)
        assert registry.client().get_model_version("tiny-pt2", "1").tags == before.tags

    def test_needs_images(self, look: Callable[..., Result]) -> None:
        done = look()
        assert isinstance(done.exception, ConfigError)
        assert "--images" in done.exception.hint
        wrong = look("--images", "nowhere")
        assert isinstance(wrong.exception, SmoothscanError)
        assert wrong.exception.exit_code == 2

    def test_says_which_models_have_settings_that_cannot_be_used(self, look: Callable[..., Result]) -> None:
        configure('[[model]]\nname = "tiny-pt2"\nimages = "images"\n')
        done = look()
        assert done.exit_code == 0, done.output
        line = next(line for line in done.stdout.splitlines() if "tiny-static/1" in line)
        assert "no folder of images" in line
        line = next(line for line in done.stdout.splitlines() if "tiny-pt2/1" in line)
        assert "no folder of images" not in line

    def test_parts_make_up_the_whole(self, look: Callable[..., Result]) -> None:
        def uris(*words: str) -> list[str]:
            done = look("--images", "images", *words)
            assert done.exit_code == 0, done.output
            return [
                word for line in done.stdout.splitlines() for word in line.split()[:1] if word.startswith("models:/")
            ]

        parts = [uris("--shard", f"{index}/3") for index in range(3)]
        assert sorted(uri for part in parts for uri in part) == sorted(uris())

    def test_an_empty_selection_is_no_error(self, look: Callable[..., Result]) -> None:
        done = look("--images", "images", "--stage", "Nowhere")
        assert done.exit_code == 0
        assert "0 of 0 versions due" in done.stdout


def test_a_line_says_how_a_version_stands() -> None:
    lines = {
        "flagged": settled(flagged("signs", "1")),
        "clean": settled(standing("signs", "2")),
        "kept": settled(kept("signs", "3")),
        "failed": settled(without_verdict("signs", "4", "failed", "The server did not answer.")),
        "pending": settled(unscanned("signs", "5")),
    }
    assert all(line.startswith(f"models:/signs/{n}  ") for n, line in enumerate(lines.values(), 1))
    assert "backdoored  score" in lines["flagged"]
    assert "class " in lines["flagged"]
    assert "clean, as before" in lines["kept"]
    assert "failed  The server did not answer." in lines["failed"]
    assert "not scanned" in lines["pending"]
    assert not any("safe" in line for line in lines.values())
    assert set(get_args(Action)) == {"scanned", "kept", "pending"}


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_the_registry_gets_to_the_terminal_as_it_is(text: str) -> None:
    line = settled(flagged(text, "1", uri=f"models:/{text}/1", labels=(text,), target_classes=(1,), reason=text))
    table = due(
        [Planned(version(text, 1, aliases=(text,)), order(version("x"), problem=ConfigError(text)), None, "expired")]
    )
    for shown in (line, *table[0]):
        assert shown.isprintable()
        assert len(shown) < 500


def test_what_is_due_in_short() -> None:
    planned = [
        Planned(version("a", n), order(version()), None, why) for n, why in enumerate(["expired", "", "expired", "x"])
    ]
    assert due_in_short(planned) == "3 of 4 versions due: 2 expired, 1 x"
    assert due_in_short([]) == "0 of 0 versions due"
    assert [uri for uri, _, _ in due(planned)] == ["models:/a/0", "models:/a/2", "models:/a/3"]
