"""Help with options under headings."""

from __future__ import annotations

from typing import Any

import click

from smoothscan.sinks.text import plain
from smoothscan.suggestions import did_you_mean

EXIT_CODES = """\
  0  clean: no trigger found under this budget
  1  flagged as suspicious or backdoored (see --fail-on)
  2  usage error, nothing was scanned
  3  the scan failed, or was refused as unsafe
  4  inconclusive: the scan ran but cannot say
  5  unsupported model
"""
"""What `check` exits with, for the help."""
NOT_IN_FILES = ("--config", "--explain", "--dry-run", "--progress", "--quiet", "--verbose")
"""Options of `check` that cannot stand in a configuration file."""


class SuggestingGroup(click.Group):
    """A group that asks whoever mistyped a command which one was meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return a command's name, the command, and the arguments that are left for it."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            question = did_you_mean(args[0], self.list_commands(ctx))
            ctx.fail(f"No such command {plain(args[0], 100)!r}." + (f" {question.capitalize()}" if question else ""))
        return super().resolve_command(ctx, args)


class HeadedOption(click.Option):
    """An option that stands under a heading of its command's help.

    Args:
        heading: the heading.
    """

    def __init__(self, *args: Any, heading: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heading = heading


class HeadedCommand(click.Command):
    """A command whose help lists options by heading, in the order in which headings first appear."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings; options without one come last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        others: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                heading = param.heading if isinstance(param, HeadedOption) else None
                (others if heading is None else sections.setdefault(heading, [])).append(record)
        for heading, records in [*sections.items(), ("Other options", others)]:
            with formatter.section(heading):
                formatter.write_dl(records)
