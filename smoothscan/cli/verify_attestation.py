"""`smoothscan verify-attestation`: whether an attestation holds for a model as it is now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smoothscan.cli.options import HeadedCommand
from smoothscan.cli.shared_options import log_options, registry_options, under
from smoothscan.cli.values import Parsed, parse_seconds

if TYPE_CHECKING:
    from smoothscan.cli.display import Manner
    from smoothscan.result import ModelInfo
    from smoothscan.sinks.attestation.verification import Attestation

_EPILOG = """\b
Exit codes:
  0  it holds: these files were scanned, and passed
  1  it does not: the signature is wrong, files differ, the scan did not
     pass, or is too old
  2  usage error, such as a key that cannot be read
  3  the attestation or the model could not be read

\b
Examples:
  smoothscan verify-attestation attestation.json --key attest.pub \\
      --model models:/digits@champion
"""

_check_option = under("What has to hold")


@click.command(cls=HeadedCommand, epilog=_EPILOG)
@click.argument("file", type=click.Path(path_type=Path))
@_check_option("--model", required=True, metavar="URI", help="The model, as check takes it; it is not loaded.")
@_check_option(
    "--key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Public key (PEM) of who has to have signed it. Without one nobody vouches for what it says.",
)
@_check_option(
    "--allow-warned",
    is_flag=True,
    help="Accept a model that passed with reservations: findings that were waived, known, or below --fail-on.",
)
@_check_option(
    "--max-age",
    type=Parsed("TIME", parse_seconds),
    metavar="TIME",
    help="How long ago the scan may have been: 12h, 30d, ... (default 90d).",
)
@registry_options
@log_options
@click.pass_context
def verify_attestation(
    ctx: click.Context,
    /,
    file: Path,
    model: str,
    key: Path | None,
    allow_warned: bool,
    max_age: float | None,
    tracking_uri: str | None,
    registry_uri: str | None,
    progress: Manner,
    quiet: bool,
    verbose: bool,
) -> None:
    """Tell whether an attestation holds for a model as it is now.

    Fetches the model and compares the SHA-256 of every file with what FILE, written by check --attest, says was
    scanned; checks who signed it, how the scan ended and when. Nothing is loaded or scanned.
    """
    from smoothscan.cli.display import listen
    from smoothscan.sinks.attestation.signing import is_signed, read_public_key
    from smoothscan.sinks.attestation.verification import objections, read_attestation
    from smoothscan.sinks.mlflow_registry import VALID_FOR
    from smoothscan.sinks.text import plain
    from smoothscan.sources import present

    public = None if key is None else read_public_key(key)
    attestation = read_attestation(file)
    if public is not None and not is_signed(attestation.payload, attestation.signatures, public):
        what = f"no signature on it was made with the key of {key}" if attestation.signatures else "it is not signed"
        click.echo(f"does not hold: {plain(what)}; nothing else was looked at")
        ctx.exit(1)
    with listen("none" if quiet else progress, verbose=verbose) as events:
        now = present(model, tracking_uri=tracking_uri, registry_uri=registry_uri, events=events)
    found = objections(
        attestation.statement,
        now,
        allow_warned=allow_warned,
        max_age=VALID_FOR if max_age is None else timedelta(seconds=max_age),
        now=datetime.now(UTC),
    )
    for caption, text in _said(attestation, now, key):
        click.echo(f"{caption:<9} {plain(text)}")
    for objection in found:
        click.echo(f"{'why':<9} {plain(objection)}")
    if found:
        click.echo("does not hold")
    elif public is None:
        click.echo("holds for these files, but nobody vouches for what it says")
    else:
        click.echo("holds: these files were scanned, and passed")
    ctx.exit(1 if found else 0)


def _said(attestation: Attestation, model: ModelInfo, key: Path | None) -> list[tuple[str, str]]:
    """Return what the attestation says, and what that is worth."""
    statement = attestation.statement
    scan: dict[str, Any] = statement.scan
    whole = next((entry.uri for entry in statement.subject if entry.uri), "a model")
    if key is not None:
        signature = f"made with the key of {key}"
    elif attestation.signatures:
        signature = "there, but not checked: that takes --key"
    else:
        signature = "none: anybody can have written the attestation"
    return [
        ("model", f"{model.resolved_uri or model.uri} ({len(model.files)} files)"),
        ("scanned", f"{whole}, {scan.get('finished_at')}: {scan.get('verdict') or scan.get('status')}"),
        ("result", statement.predicate.result),
        ("signature", signature),
    ]
