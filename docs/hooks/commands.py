"""The reference of the command line, from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
from words import defined, fenced, plain

from smoothscan.cli.main import smoothscan
from smoothscan.cli.tables import FIELDS, INPUT_FIELDS, ON

HEAD = """# Command line

Every command and option of `smoothscan`, as `--help` has them. An option that has a key can stand in
[smoothscan.toml](configuration.md) instead.
"""


def walk(command: click.Command, context: click.Context) -> Iterator[tuple[click.Context, click.Command]]:
    """Yield a command and, depth first, all below it that are not hidden."""
    yield context, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            if not below.hidden:
                yield from walk(below, _context(below, name, context))


def commands() -> Iterator[tuple[click.Context, click.Command]]:
    """Yield the program and all its commands."""
    return walk(smoothscan, _context(smoothscan, "smoothscan"))


def _context(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    return click.Context(command, info_name=name, parent=parent, **command.context_settings)


def page() -> str:
    """Return the page."""
    return "\n\n".join([HEAD, *(_section(context, command) for context, command in commands())]) + "\n"


def anchor(path: str, option: str = "") -> str:
    """Return the anchor of a command, or of one of its options: `check`, `check--images`."""
    words = path.split()[1:] or ["smoothscan"]
    return "-".join(words) + option


def options(command: click.Command, context: click.Context) -> list[click.Option]:
    """Return what a user can pass to a command, `--help` excepted."""
    shown = [each for each in command.get_params(context) if isinstance(each, click.Option) and not each.hidden]
    return [each for each in shown if "--help" not in each.opts]


def _section(context: click.Context, command: click.Command) -> str:
    path = context.command_path
    parts = [f"## `{path}` {{: #{anchor(path)} }}", *_text(command.help or "")]
    usage = " ".join(command.collect_usage_pieces(context))
    parts.append(fenced(f"{path} {usage}".rstrip(), "text"))
    under: dict[str, list[click.Option]] = {}
    for option in options(command, context):
        under.setdefault(getattr(option, "heading", None) or "Options", []).append(option)
    for heading, some in under.items():
        parts += [f"**{plain(heading)}**", "\n".join(_option(path, context, option) for option in some)]
    if isinstance(command, click.Group):
        below = [name for name in command.list_commands(context) if not _found(command, context, name).hidden]
        told = [(name, _found(command, context, name).get_short_help_str(200)) for name in below]
        rows = [f"- [`{name}`](#{anchor(f'{path} {name}')}): {plain(text)}" for name, text in told]
        parts += ["**Commands**", "\n".join(rows)]
    parts += _text(command.epilog or "")
    return "\n\n".join(parts)


def _found(group: click.Group, context: click.Context, name: str) -> click.Command:
    command = group.get_command(context, name)
    assert command is not None
    return command


def _option(path: str, context: click.Context, option: click.Option) -> str:
    record = option.get_help_record(context)
    names, text = record if record is not None else (", ".join(option.opts), option.help or "")
    long = max(option.opts, key=len)
    notes = []
    if option.required:
        notes.append("Required.")
    key = key_of(option)
    if key is not None and any(each.name == "config_file" for each in context.command.params):
        notes.append(f"Key: [`{key}`](configuration.md#{key.replace('.', '-')}).")
    text = text.removesuffix("[required]").rstrip().removesuffix(";")
    return defined(f"`{names}`", anchor(path, long), [" ".join([plain(text), *notes])])


def key_of(option: click.Option) -> str | None:
    """Return the key of the configuration file that says the same as an option; None if there is none."""
    name = {"formats": "format", "input_size": "size"}.get(str(option.name), str(option.name))
    if name.removeprefix("no_") in ON:
        return name.removeprefix("no_")
    return f"input.{name}" if name in INPUT_FIELDS else name if name in FIELDS else None


def _text(text: str) -> list[str]:
    """Help texts have two kinds of paragraphs: those to be wrapped and, after a backspace, those that are not."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if not paragraph.startswith("\b"):
            parts.append(plain(" ".join(paragraph.split())))
            continue
        lines = paragraph.removeprefix("\b").strip("\n").split("\n")
        if lines[0].rstrip().endswith(":"):
            parts.append(f"**{plain(lines.pop(0).strip())}**")
        body = "\n".join(line.removeprefix("  ") for line in lines).rstrip()
        if body:
            parts.append(fenced(body, _language(body)))
    return parts


def _language(body: str) -> str:
    if re.match(r"(\$ )?(smoothscan|export|pip|mlflow|openssl) ", body):
        return "sh"
    return "toml" if re.search(r"^\[+[\w.]+\]+$|^\w+ = ", body, re.MULTILINE) else "text"
