"""`smoothscan`: the group of commands, signals, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from importlib import import_module
from types import FrameType
from typing import NoReturn

import click

from smoothscan._version import __version__
from smoothscan.cli.options import EXIT_CODES, SuggestingGroup
from smoothscan.cli.standard_error import choose_manner, complain, end, misused, note
from smoothscan.cli.streams import prepare_streams
from smoothscan.errors import SmoothscanError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_CAME: list[int] = []
"""Ctrl-C and SIGTERM, as they came."""
BUG = 3
"""Exit code of an unexpected exception: the model could not be examined."""

_COMMANDS = {
    "Scan": {
        "check": "Scan one registered model for a backdoor.",
        "demo": "Train a clean and a backdoored model, scan both, show the difference.",
    },
    "Registry": {
        "sweep": "Scan every version of every registered model that is due.",
        "serve": "Receive webhooks of an MLflow registry, and scan what they announce.",
    },
    "Evidence": {
        "report": "Show the result of a scan again, and make reports of it.",
        "verify": "Replay the triggers that a scan saved on another version of the model, in seconds.",
        "verify-attestation": "Tell whether an attestation holds for a model as it is now.",
    },
    "Set up": {
        "doctor": "Tell whether this machine is ready, and what holds the models that it scans.",
        "calibrate": "Learn from clean models how anomalous a clean model may look.",
        "denoiser": "Make a diffusion model that cleans images before a scanned model sees them.",
        "completion": "Print the script that lets a shell complete smoothscan's command lines.",
    },
}
"""What each command does, by heading of the help; each is a file of this folder."""
_NAMES = [name for section in _COMMANDS.values() for name in section]

_EPILOG = f"""\b
Exit codes of check:
{EXIT_CODES}
\b
Examples:
  smoothscan demo
  smoothscan check models:/digits/3 --images clean-images/
  smoothscan sweep --images clean-images/ --dry-run
"""


_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


class LazyGroup(SuggestingGroup):
    """A group that imports a command's file only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, without importing them."""
        return list(_NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; None if there is no such command."""
        if cmd_name not in _NAMES:
            return None
        name = cmd_name.replace("-", "_")
        command = getattr(import_module(f"smoothscan.cli.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, without importing them."""
        width = max(map(len, _NAMES))
        for heading, section in _COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, text in section.items()])


@click.group(cls=LazyGroup, epilog=_EPILOG, context_settings=_CONTEXT)
@click.version_option(__version__, "-V", "--version", prog_name="smoothscan", message="%(prog)s %(version)s")
def smoothscan() -> None:
    """Find backdoors in image classifiers of an MLflow registry, before they are deployed."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, handled like Ctrl-C so that every `finally` runs."""


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    signal.signal(signal.SIGINT, _on_sigint)
    prepare_streams()
    # Set before MLflow is imported by whichever command needs it.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    choose_manner(sys.argv[1:])
    code = _run(sys.argv[1:])
    end(code)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    verbose = "--verbose" in arguments or "-v" in arguments
    try:
        code = smoothscan.main(arguments, prog_name="smoothscan", standalone_mode=False)
        sys.stdout.flush()  # else a full disk is found out when nothing can be said of it any more
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        misused(error)
        return error.exit_code
    except SmoothscanError as error:
        complain(error.message, error.hint)
        return error.exit_code
    except click.Abort as abort:  # click turns KeyboardInterrupt into this
        return _stopped(abort.__cause__)
    except KeyboardInterrupt as stop:
        return _stopped(stop)
    except Exception as error:
        if _CAME:  # somebody below took the interruption for an error of its own
            return _stopped((Terminated if _CAME[-1] == signal.SIGTERM else KeyboardInterrupt)("stopped"))
        if isinstance(error, OSError) and error.errno in _FULL:
            complain(f"something could not be written: {error.strerror}", "make room, and run the same command again")
        else:
            _bug(error, verbose=verbose)
        return BUG


def _bug(error: Exception, *, verbose: bool) -> None:
    if verbose:
        for line in "".join(traceback.format_exception(error)).splitlines():
            note(line)
    complain(
        f"this is a bug in smoothscan: {type(error).__name__}: {error}",
        "report it" + ("" if verbose else " with what the same command prints with --verbose"),
    )


def _stopped(stop: BaseException | None) -> int:
    message = str(stop) if stop is not None and stop.args else "stopped; nothing was written"
    note(message)
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


def _on_sigterm(number: int, _frame: FrameType | None) -> None:
    _CAME.append(number)
    raise Terminated


def _on_sigint(number: int, _frame: FrameType | None) -> None:
    _CAME.append(number)
    raise KeyboardInterrupt
