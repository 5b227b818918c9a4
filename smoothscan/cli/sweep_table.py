"""The table [sweep] of a configuration file: options of the commands for many models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from smoothscan.cli.options import HeadedOption
from smoothscan.cli.settings import Choices
from smoothscan.cli.shared_options import given
from smoothscan.errors import ConfigError
from smoothscan.suggestions import did_you_mean


def with_table(ctx: click.Context, chosen: Choices, sweep: click.Command) -> dict[str, Any]:
    """Return the options that were given, over those of the table.

    Args:
        ctx: of the command; what the table says of options that it does not have is for `smoothscan sweep`.
        chosen: the configuration file.
        sweep: the command that has all of these options.

    Raises:
        ConfigError: the table has a key or a value that is none of the command's.
    """
    options = given(ctx)
    known, mine = _options_of(sweep), _options_of(ctx.command)
    for key, value in chosen.sweep.items():
        if key not in known:
            hint = did_you_mean(key, known) or f"known keys: {', '.join(known)}"
            raise ConfigError(f"{chosen.origin} has an unknown key: sweep.{key}", hint)
        if key not in mine:
            continue
        param = mine[key]
        try:
            options.setdefault(str(param.name), param.type_cast_value(ctx, _as_written(param, value)))
        except click.BadParameter as error:
            raise ConfigError(f"{chosen.origin}: sweep.{key}: {error.message}") from None
    return options


def _options_of(command: click.Command) -> Mapping[str, click.Parameter]:
    return {name.lstrip("-").replace("-", "_"): p for p in command.params for name in p.opts if of_the_table(p)}


def _as_written(param: click.Parameter, value: Any) -> Any:
    """Return a value of the file as it would stand on the command line, where everything is text."""
    if param.multiple:
        return [value] if isinstance(value, str) else value
    return value if isinstance(param, click.Option) and param.is_flag else str(value)


def of_the_table(param: click.Parameter) -> bool:
    """Tell whether an option may stand in the table: one that says nothing about how a model is scanned."""
    return isinstance(param, HeadedOption) and param.heading in ("Which models", "Many models")
