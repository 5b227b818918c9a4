"""`smoothscan doctor`: what this machine can do to hold a hostile model, found out by trying to break out."""

from __future__ import annotations

import click

from smoothscan.cli.options import HeadedCommand

_EPILOG = """\b
Exit codes:
  0  the sandbox holds: models that bring code along may be loaded in it
  1  it does not: they are refused, unless --allow-model-code is given
"""


@click.command(cls=HeadedCommand, epilog=_EPILOG)
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Tell which protections this machine gives against the models that it scans.

    A process is confined like one that holds a model, and tries what a hostile model would: to read your files and your
    environment, to reach the network, to start programs, to take more than its share.
    """
    from smoothscan.cli.summary import show_doctor
    from smoothscan.sandbox.doctor import examine

    report = examine()
    show_doctor(report)
    ctx.exit(0 if report.holds else 1)
