"""`smoothscan doctor`: is this machine ready, and what can it do to hold a hostile model?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from smoothscan.cli.options import HeadedCommand
from smoothscan.cli.shared_options import FILE, output_option, registry_options, scan_option

_EPILOG = """\b
Examples:
  smoothscan doctor
  smoothscan doctor --tracking-uri http://localhost:5000
  smoothscan doctor --json

\b
Exit codes, about the sandbox alone:
  0  the sandbox holds: models that bring code along may be loaded in it
  1  it does not: they are refused, unless --allow-model-code is given
With --strict also 1 where anything else is a problem.
"""


@click.command(cls=HeadedCommand, epilog=_EPILOG)
@scan_option("--config", "config_file", type=FILE, metavar="FILE", help="Configuration file instead of the one here.")
@registry_options
@output_option("--json", "as_json", is_flag=True, help="Everything as one JSON object.")
@output_option("--strict", is_flag=True, help="Exit with 1 as well where anything beside the sandbox is a problem.")
@click.pass_context
def doctor(
    ctx: click.Context,
    /,
    config_file: Path | None,
    tracking_uri: str | None,
    registry_uri: str | None,
    as_json: bool,
    strict: bool,
) -> None:
    """Tell whether this machine is ready, and what holds the models that it scans.

    Looks at versions, device, extras, the configuration file, the registry, and the folders that scans write to. Then
    a process is confined like one that holds a model, and tries what a hostile model would: to read your files and
    your environment, to reach the network, to start programs, to take more than its share.
    """
    from smoothscan.cli.health import look
    from smoothscan.cli.protection import as_data
    from smoothscan.cli.summary import show_doctor, show_health
    from smoothscan.sandbox.doctor import examine

    found = list(look(config_file, tracking_uri, registry_uri))
    if not as_json:
        show_health(found)
    report = examine()
    if as_json:
        checks = [each.model_dump(mode="json") for each in found]
        click.echo(json.dumps({"checks": checks, "sandbox": as_data(report)}, indent=2))
    else:
        show_doctor(report)
    trouble = strict and any(each.state == "problem" for each in found)
    ctx.exit(0 if report.holds and not trouble else 1)
