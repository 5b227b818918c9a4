"""`smoothscan serve`: receive the registry's webhooks, and scan what they announce."""

from __future__ import annotations

import os
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smoothscan.cli.options import HeadedCommand
from smoothscan.cli.shared_options import (
    FILE,
    calibration_option,
    fleet_options,
    given,
    input_options,
    labels_option,
    log_options,
    machine_options,
    output_option,
    registry_options,
    report_options,
    scan_options,
    under,
    write_back_option,
)
from smoothscan.cli.values import Parsed, parse_bytes, parse_seconds
from smoothscan.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from smoothscan.cli.display import Display, Manner
    from smoothscan.serve.app import Intake
    from smoothscan.serve.interface import ScanVersions

SECRET = "SMOOTHSCAN_WEBHOOK_SECRET"  # noqa: S105 (the name of a variable)
"""Environment variable of the secret."""

_SHORTEST_SECRET = 16
_LONGEST_TOLERANCE = 24 * 3600.0
_LARGEST_BODY = 64 * 2**20

_EPILOG = """\b
Examples:
  export SMOOTHSCAN_WEBHOOK_SECRET=...
  smoothscan serve --images clean-images/ --host 0.0.0.0

TLS is left to a reverse proxy. A delivery can be lost on its way, so keep sweeping the registry now and then.

\b
Exit codes:
  2    usage error, or the queue or the address cannot be used
  3    the web server has ended by itself
  130  stopped by Ctrl-C; what was accepted is in the queue
  143  stopped by SIGTERM; the same
"""

_server_option = under("The server")


@click.command(cls=HeadedCommand, epilog=_EPILOG)
@_server_option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@_server_option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    metavar="N",
    help="Port to listen on; 0 for any that is free.",
)
@_server_option(
    "--secret-file",
    type=FILE,
    metavar="FILE",
    help=f"File with the secret that the registry signs with (default: the environment variable {SECRET}).",
)
@_server_option(
    "--queue",
    "queue_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where deliveries are kept until they are scanned, and their results for 30 days: a sqlite file on a local "
    "disk (default: webhooks.db in your folder of states).",
)
@_server_option(
    "--max-queue",
    type=click.IntRange(1),
    default=10_000,
    show_default=True,
    metavar="N",
    help="Most deliveries that wait; more are told to come again.",
)
@_server_option(
    "--max-body",
    type=Parsed("SIZE", parse_bytes),
    default="1MiB",
    show_default=True,
    metavar="SIZE",
    help="Largest delivery.",
)
@_server_option(
    "--tolerance",
    type=Parsed("TIME", parse_seconds),
    default="5m",
    show_default=True,
    metavar="TIME",
    help="By how much a delivery's timestamp may be off, to either side.",
)
@scan_options
@calibration_option
@input_options
@labels_option
@registry_options
@write_back_option
@output_option(
    "--output-dir", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the results (smoothscan-serve)."
)
@report_options
@log_options
@fleet_options
@machine_options
@click.pass_context
def serve(
    ctx: click.Context,
    /,
    host: str,
    port: int,
    secret_file: Path | None,
    queue_file: Path | None,
    max_queue: int,
    max_body: int,
    tolerance: float,
    progress: Manner,
    quiet: bool,
    verbose: bool,
    **_values: Any,
) -> None:
    """Receive webhooks of an MLflow registry, and scan what they announce.

    New versions, and versions that get an alias, are scanned as by smoothscan sweep. The registry delivers to
    /webhooks/mlflow; /healthz, /readyz and /metrics are for whoever watches the server.
    """
    _require_extra()
    from smoothscan.cli.display import steady
    from smoothscan.cli.fleet_setup import Told, engine_of, ledger_of, scanner_of
    from smoothscan.cli.settings import choices
    from smoothscan.cli.sweep import sweep
    from smoothscan.cli.sweep_table import with_table
    from smoothscan.fleet.folders import sweep_folder
    from smoothscan.serve.app import Intake

    if not 0 < tolerance <= _LONGEST_TOLERANCE:
        raise ConfigError("--tolerance: a delivery may be off by more than 0 s and at most 24 h")
    if not 0 < max_body <= _LARGEST_BODY:
        raise ConfigError("--max-body: a delivery may have at least 1 byte and at most 64 MiB")
    intake = Intake(read_secret(secret_file), max_body, tolerance, os.environ.get("MLFLOW_WORKSPACE") or "default")
    chosen = choices(given(ctx))
    options = with_table(ctx, chosen, sweep)
    common = chosen.common("smoothscan-serve")
    folder, queue = common.output_dir, queue_file or _default_queue()
    events = steady("none" if quiet else progress, verbose=verbose)
    if chosen.origin is not None:
        events.note(f"options from {chosen.origin}")
    with ledger_of(options) as ledger, sweep_folder(folder):
        engine, told = engine_of(options, common), Told(events)
        scan = scanner_of(chosen, common, ledger, engine, told, retries=options.get("retries"))
        _run(scan, intake, events, (host, port), queue, max_queue, verbose=verbose)


def _run(
    scan: ScanVersions,
    intake: Intake,
    events: Display,
    address: tuple[str, int],
    queue_file: Path,
    max_queue: int,
    *,
    verbose: bool,
) -> None:
    from smoothscan.serve.app import WEBHOOK, make_app
    from smoothscan.serve.dispatcher import Dispatcher
    from smoothscan.serve.metrics import Metrics
    from smoothscan.serve.queue import Queue, QueueUnavailableError
    from smoothscan.serve.server import listen_on, run

    queue = Queue(queue_file, max_queue)
    try:
        metrics = Metrics(queue)
        dispatcher = Dispatcher(queue, scan, events, metrics)
        app = make_app(queue, intake, metrics, dispatcher.wake)
        with listen_on(*address) as listener:
            host, port = listener.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            events.note(f"listening on http://{shown}:{port}{WEBHOOK}, the queue is {queue.path}")
            run(app, dispatcher, listener, verbose=verbose)
    except KeyboardInterrupt as stop:
        with suppress(QueueUnavailableError):  # the next start does it as well
            queue.put_back()
        stop.args = (f"stopped; what was accepted is in {queue.path}, and the next start goes on with it",)
        raise
    finally:
        queue.close()


def read_secret(path: Path | None) -> bytes:
    """Return the secret, and take it out of the environment, which other processes inherit.

    Args:
        path: the file that it stands in; None for the environment variable.

    Raises:
        ConfigError: there is none, or it can be guessed.
    """
    from_environment = os.environ.pop(SECRET, "")
    try:
        secret = from_environment.encode() if path is None else path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"The file of the secret cannot be read: {path}: {error.strerror}.") from None
    hint = "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))', and give it to MLflow, too."
    if not secret:
        where = f"the environment variable {SECRET} is not set" if path is None else f"{path} is empty"
        raise ConfigError(f"There is no secret to tell the registry's deliveries from forged ones: {where}.", hint)
    if len(secret) < _SHORTEST_SECRET:
        raise ConfigError(f"The secret is shorter than {_SHORTEST_SECRET} bytes: it can be guessed.", hint)
    return secret


def _default_queue() -> Path:
    import platformdirs

    return platformdirs.user_state_path("smoothscan", appauthor=False) / "webhooks.db"


def _require_extra() -> None:
    missing = [name for name in ("starlette", "uvicorn", "prometheus_client") if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"The server needs packages that are not installed: {', '.join(missing).replace('_', '-')}.",
            "Install them into smoothscan's environment: pip install 'smoothscan[serve]'.",
        )
