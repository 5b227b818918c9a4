"""`smoothscan`: the group of commands, signals, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from importlib import import_module
from types import FrameType
from typing import NoReturn

import click

from smoothscan._version import __version__
from smoothscan.errors import SmoothscanError
from smoothscan.sinks.text import plain

BUG = 3
"""Exit code of an unexpected exception: the model could not be examined."""

_COMMANDS = {
    "check": "Scan one registered model for a backdoor.",
    "sweep": "Scan every version of every registered model that is due.",
    "report": "Show the result of a scan again, and make reports of it.",
    "verify": "Replay the triggers that a scan saved on another version of the model, in seconds.",
    "verify-attestation": "Tell whether an attestation holds for a model as it is now.",
    "calibrate": "Learn from clean models how anomalous a clean model may look.",
    "denoiser": "Make a diffusion model that cleans images before a scanned model sees them.",
    "serve": "Receive webhooks of an MLflow registry, and scan what they announce.",
    "doctor": "Tell which protections this machine gives against the models that it scans.",
    "demo": "Train a clean and a backdoored model, scan both, show the difference.",
}

_EXIT_CODES = """\b
Exit codes of check:
  0  clean: no trigger found under this budget
  1  flagged as suspicious or backdoored (see --fail-on)
  2  usage error, nothing was scanned
  3  the scan failed, or was refused as unsafe
  4  inconclusive: the scan ran but cannot say
  5  unsupported model

\b
Example:
  smoothscan check models:/digits/3 --images clean-images/
"""


class LazyGroup(click.Group):
    """A group that imports a command's file only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, without importing them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; None if there is no such command."""
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command = getattr(import_module(f"smoothscan.cli.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=LazyGroup, epilog=_EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="smoothscan", message="%(prog)s %(version)s")
def smoothscan() -> None:
    """Find backdoors in image classifiers of an MLflow registry, before they are deployed."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, handled like Ctrl-C so that every `finally` runs."""


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a label that the terminal can not show must not end the scan
    # Set before MLflow is imported by whichever command needs it.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    verbose = "--verbose" in arguments or "-v" in arguments
    try:
        code = smoothscan.main(arguments, prog_name="smoothscan", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SmoothscanError as error:
        _report(error)
        return error.exit_code
    except click.Abort as abort:  # click turns KeyboardInterrupt into this
        return _stopped(abort.__cause__)
    except KeyboardInterrupt as stop:
        return _stopped(stop)
    except BrokenPipeError:
        # The reader of our output went away. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BUG
    except Exception as error:
        _bug(error, verbose=verbose)
        return BUG


def _report(error: SmoothscanError) -> None:
    click.echo(f"Error: {plain(error.message)}", err=True)
    if error.hint:
        click.echo(f"Hint: {plain(error.hint)}", err=True)


def _bug(error: Exception, *, verbose: bool) -> None:
    if verbose:
        for line in "".join(traceback.format_exception(error)).splitlines():
            click.echo(plain(line), err=True)
    click.echo(f"Error: this is a bug in smoothscan: {type(error).__name__}: {plain(str(error))}", err=True)
    click.echo("Hint: report it" + ("" if verbose else " with what the same command prints with --verbose"), err=True)


def _stopped(stop: BaseException | None) -> int:
    message = str(stop) if stop is not None and stop.args else "stopped; nothing was written"
    click.echo(message, err=True)
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


def _on_sigterm(_number: int, _frame: FrameType | None) -> None:
    raise Terminated
