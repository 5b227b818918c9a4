"""The reference names everything that there is; who adds a command, an option, a key or a field finds it there."""

from __future__ import annotations

import importlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import click
import commands
import configuration
import outcomes
import pictures
import pytest
import python_api
import schemas
import words
from click.testing import CliRunner

import smoothscan
from smoothscan.cli.check import check
from smoothscan.cli.main import smoothscan as program
from smoothscan.cli.options import NOT_IN_FILES
from smoothscan.cli.tables import FIELDS, INPUT_FIELDS
from smoothscan.config import InputConfig, ScanConfig
from smoothscan.errors import SmoothscanError

from .blocks import ROOT
from .conftest import Site


class Anchors(HTMLParser):
    """The anchors of a page, and the text of its entries."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.entries: dict[str, str] = {}
        self._open: str | None = None
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if (name := dict(attrs).get("id")) is not None:
            self._open = name
            self.entries.setdefault(name, "")

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self.entries[self._open] += data


def test_every_command_and_option_is_in_the_site(site: Site) -> None:
    entries = Anchors(site.page("reference/cli")).entries
    seen = set()
    for context, command in commands.commands():
        path = context.command_path
        assert commands.anchor(path) in entries, path
        seen.add(path)
        for option in commands.options(command, context):
            entry = entries[commands.anchor(path, max(option.opts, key=len))]
            assert all(name in entry for name in (*option.opts, *option.secondary_opts)), f"{path} {option.opts}"
            told = " ".join((option.help or "").split())
            assert told.split(";")[0][:60] in " ".join(entry.split()), f"{path} {option.opts}"
    assert {f"smoothscan {name}" for name in program.list_commands(click.Context(program))} < seen
    assert "smoothscan denoiser train" in seen


def test_every_key_of_the_configuration_is_in_the_site(site: Site) -> None:
    entries = Anchors(site.page("reference/configuration")).entries
    for key, field in FIELDS.items():
        description = ScanConfig.model_fields[field].description
        assert description, f"{field} has no docstring"
        assert " ".join(description.replace("`", "").split())[:60] in " ".join(entries[key].split())
    for key, fields in INPUT_FIELDS.items():
        assert f"input-{key}" in entries
        assert all(InputConfig.model_fields[field].description for field in fields)
    for context, command in commands.commands():
        if context.command_path == "smoothscan sweep":
            mine = [each for each in commands.options(command, context) if commands.key_of(each) is None]
            assert any(f"sweep-{configuration.key_in_table(each)}" in entries for each in mine)


def test_the_keys_of_the_table_sweep_are_those_that_sweep_takes(site: Site) -> None:
    entries = Anchors(site.page("reference/configuration")).entries
    written = {name.removeprefix("sweep-") for name in entries if name.startswith("sweep-")}
    assert {"filter", "workers", "ledger", "retries"} <= written
    assert not written & FIELDS.keys(), "what a scan takes stands outside of the table"


def test_every_environment_variable_of_ours_is_named(site: Site) -> None:
    assert configuration.variables_in_the_code() == configuration.VARIABLES.keys()
    entries = Anchors(site.page("reference/configuration")).entries
    assert {name.lower() for name in configuration.VARIABLES | configuration.OTHERS} <= entries.keys()


@pytest.mark.parametrize(("page", "name"), [("result", "result.schema.json"), ("sweep", "sweep.schema.json")])
def test_every_field_of_the_schemas_is_in_the_site(site: Site, page: str, name: str) -> None:
    entries = Anchors(site.page(f"reference/{page}")).entries
    schema = json.loads((ROOT / "smoothscan" / name).read_text())
    for title, definition in [("", schema), *schema["$defs"].items()]:
        for field, about in definition.get("properties", {}).items():
            entry = entries[f"{title}-{field}".lower().lstrip("-")]
            told = re.sub(r"[`*]", "", " ".join(about.get("description", "").split()))
            assert told[:60] in " ".join(entry.split()), f"{title}.{field}"


def test_every_error_exit_code_and_tag_is_in_the_site(site: Site) -> None:
    assert outcomes.tags_of_the_code() == outcomes.TAGS.keys()
    text = site.page("reference/outcomes").read_text()

    def below(kind: type[SmoothscanError]) -> list[type[SmoothscanError]]:
        return [kind, *(each for child in kind.__subclasses__() for each in below(child))]

    for error in below(SmoothscanError):
        if error.__module__ == "smoothscan.errors":
            assert f"<td><code>{error.__name__}</code></td>\n<td>{error.exit_code}</td>" in text
    assert all(f"smoothscan.{tag}" in text for tag in outcomes.TAGS)


def test_everything_that_the_package_exports_is_in_the_site(site: Site) -> None:
    text = site.page("reference/python").read_text()
    for name in smoothscan.__all__:
        if not name.startswith("__"):
            assert re.search(rf'id="smoothscan\.[\w.]*\b{name}"', text), name


def test_pictures_are_those_that_are_drawn() -> None:
    folder = ROOT / "docs" / "pictures"
    drawn = pictures.pictures()
    assert {path.name for path in folder.glob("*.svg")} == drawn.keys()
    for name, text in drawn.items():
        assert (folder / name).read_text() == text, f"run python docs/hooks/pictures.py: {name} is an old one"


def test_thresholds_of_the_pictures_are_those_of_the_verdict() -> None:
    decision = importlib.import_module("smoothscan.verdict.decision")
    assert (pictures.SUSPICIOUS, pictures.BACKDOORED) == (decision.SUSPICIOUS, decision.BACKDOORED)


def test_a_schema_that_the_words_cannot_tell_is_an_error() -> None:
    assert (
        words.kind_of({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]}) == "integer, at least 1 or null"
    )
    assert words.kind_of({"type": "array", "items": {"$ref": "#/$defs/Cost"}}) == "list of [Cost](#cost)"
    with pytest.raises(ValueError, match="what does"):
        words.kind_of({"type": "string-ish"})


def test_markup_in_help_texts_stays_text() -> None:
    assert words.plain("'traffic-*' <b> [x](y)") == "'traffic-\\*' &lt;b&gt; \\[x\\](y)"
    assert schemas.page("# T", "result.schema.json").count("\n## ") >= 10
    assert python_api.page().count("::: ") == len([name for name in smoothscan.__all__ if not name.startswith("__")])


def test_the_help_of_check_says_which_options_a_file_cannot_hold() -> None:
    ctx = click.Context(check)
    options = [each for each in check.get_params(ctx) if isinstance(each, click.Option) and "--help" not in each.opts]
    without_key = {max(each.opts, key=len) for each in options if commands.key_of(each) is None}
    assert without_key == set(NOT_IN_FILES)
    told = " ".join(CliRunner().invoke(check, ["--help"]).output.split())
    assert f"All options but {', '.join(NOT_IN_FILES[:-1])} and {NOT_IN_FILES[-1]} can also stand" in told
