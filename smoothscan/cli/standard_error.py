"""Warnings and errors on standard error: for people, or with `--progress json` for programs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import click

from smoothscan.sinks.text import plain


class _Manner:
    """How standard error is written to; one process has one."""

    json = False


def choose_manner(arguments: Sequence[str]) -> None:
    """Find out from the command line whether programs read standard error; errors come before options are parsed."""
    chosen = ""
    for word, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        if word == "--progress":
            chosen = following
        elif word.startswith("--progress="):
            chosen = word.partition("=")[2]
    _Manner.json = chosen == "json" and not {"--quiet", "-q"} & set(arguments)


def warn(message: str) -> None:
    """Tell of something that the user should know, although the command goes on."""
    if _Manner.json:
        from smoothscan.cli.progress_lines import write

        write("warning", message=message)
    else:
        click.echo(f"Warning: {plain(message)}", err=True)


def complain(message: str, hint: str = "") -> None:
    """Tell what went wrong, and what to do about it."""
    if _Manner.json:
        from smoothscan.cli.progress_lines import write

        write("error", message=message, hint=hint or None)
        return
    click.echo(f"Error: {plain(message)}", err=True)
    if hint:
        click.echo(f"Hint: {plain(hint)}", err=True)


def misused(error: click.ClickException) -> None:
    """Tell what is wrong with a command line."""
    if _Manner.json:
        complain(error.format_message())
    else:
        error.show()


def note(message: str) -> None:
    """Tell how a command ends, where that is neither an error nor a result."""
    if _Manner.json:
        from smoothscan.cli.progress_lines import write

        write("note", message=message)
    else:
        click.echo(plain(message), err=True)


def end(exit_code: int) -> None:
    """Tell programs that nothing more comes."""
    if _Manner.json:
        from smoothscan.cli.progress_lines import write

        write("end", exit_code=exit_code)
