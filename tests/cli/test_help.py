"""What `--help` says: grouped, with examples that the real command line understands, and readable at every width."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from smoothscan.cli.main import smoothscan as group


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of a command and of everything below it."""
    yield path
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            assert below is not None
            yield from walk(below, (*path, name))


PATHS = list(walk(group))


def help_of(path: tuple[str, ...], width: int = 80) -> str:
    """What `--help` prints on a terminal of a width."""
    done = CliRunner().invoke(group, [*path, "--help"], terminal_width=width)
    assert done.exit_code == 0, done.output
    return done.stdout


def examples(text: str) -> list[list[str]]:
    """The command lines under "Examples:", without the name of the program; redirections are the shell's."""
    (part,) = re.findall(r"^ *Examples:\n((?: +\S.*\n?)+)", text, re.M)
    lines = part.replace("\\\n", " ").splitlines()
    found = [shlex.split(line.partition(" > ")[0]) for line in lines if line.split()[:1] == ["smoothscan"]]
    return [words[1:] for words in found]


def test_there_are_all_commands() -> None:
    assert {("check",), ("denoiser",), ("denoiser", "train"), ("completion",), ()} <= set(PATHS)
    assert len(PATHS) == 13


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_command_has_examples_that_its_command_line_understands(
    path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(click.Path, "convert", lambda _self, value, _param, _ctx: Path(value))  # no file has to exist
    found = examples(help_of(path))
    assert path in [tuple(words[: len(path)]) for words in found]
    for words in found:
        command: click.Command = group
        ctx = click.Context(group, info_name="smoothscan")
        rest = list(words)
        while isinstance(command, click.Group):
            name = rest.pop(0)
            below = command.get_command(ctx, name)
            assert below is not None, words
            command = below
            ctx = click.Context(command, parent=ctx, info_name=name)
        command.make_context(str(command.name), rest, parent=ctx.parent)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_fits_the_terminal_and_has_no_colour_codes(path: tuple[str, ...], width: int) -> None:
    text = help_of(path, width)
    assert "\x1b" not in text
    lines = text.splitlines()
    assert max(map(len, lines)) <= width, max(lines, key=len)


def test_commands_stand_under_headings() -> None:
    headings = re.findall(r"^(\S.*):$", help_of(()), re.M)
    assert headings == ["Options", "Scan", "Registry", "Evidence", "Set up"]


def test_options_stand_under_headings() -> None:
    headings = re.findall(r"^(\S.*):$", help_of(("check",)), re.M)
    expected = ["What to scan, and how hard", "The model's input", "The registry", "What comes out", "The machine"]
    assert headings == [*expected, "Other options"]


@pytest.mark.parametrize("path", [(), ("check",)])
def test_every_exit_code_of_check_is_in_the_help(path: tuple[str, ...]) -> None:
    (codes,) = re.findall(r"^ *Exit codes.*:\n((?: +\d .*\n)+)", help_of(path), re.M)
    assert [line.split()[0] for line in codes.splitlines()] == ["0", "1", "2", "3", "4", "5"]
