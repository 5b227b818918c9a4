"""Starts a module of ours in a confined process, and ends it with everything that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from smoothscan.sandbox.bubblewrap import walls
from smoothscan.sandbox.installation import DEVICES, NOTHING, accelerators, listable, readable
from smoothscan.sandbox.limits import limits
from smoothscan.sandbox.policy import Limits, Policy
from smoothscan.sandbox.protections import protections

_KEPT_VARIABLES = (
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "PATH",
    "PYTHONPATH",
    "TZ",
)
"""What a confined process inherits; everything else may hold credentials and stays here."""
_MEMORY_BYTES = 4 * 2**30
"""Address space of a process that is only run to its end; files are mapped or read in pieces."""


def start(
    module: str,
    arguments: Sequence[str],
    *,
    home: Path,
    read: Sequence[Path],
    limits: Limits,
    output: IO[bytes] | int,
    errors: IO[bytes] | int,
    accelerator: bool = False,
    pass_fds: Sequence[int] = (),
    variables: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `python -m MODULE ARGUMENTS` with as many protections as this machine gives.

    Args:
        module: a module of this package.
        arguments: its command line.
        home: an empty folder; its home, its current folder and the only place where it may write. With bubblewrap what
            it writes there is in memory, and is not seen from outside.
        read: what it may read besides the Python installation.
        limits: amounts.
        output: receives its standard output.
        errors: receives its standard error.
        accelerator: whether it may use accelerators.
        pass_fds: open file descriptors that it inherits.
        variables: environment variables that it gets besides the few harmless ones of this process.
    """
    here = protections()
    devices, drivers = accelerators() if accelerator else ((), ())
    shown = (*readable(), *drivers, *map(str, read))
    policy = Policy(
        read=(*shown, "/proc/self", *DEVICES),
        names=listable(),
        write=(str(home), NOTHING),
        devices=devices,
        limits=limits,
        landlock=here.landlock > 0,
        seccomp=here.seccomp,
        parent=os.getpid() if here.bubblewrap is None else None,
    )
    command = [sys.executable, "-P", "-m", "smoothscan.sandbox", policy.to_json(), module, *arguments]
    if here.bubblewrap is not None:
        command = [*walls(here.bubblewrap, shown, [str(home)], devices), "--", *command]
    return subprocess.Popen(  # noqa: S603 a module of our own
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        cwd=home,
        env=_environment(home, variables or {}),
        pass_fds=pass_fds,
        start_new_session=True,
    )


@dataclass(frozen=True)
class Finished:
    """A confined process that has ended."""

    code: int | None
    """Exit code, as `subprocess` gives it; None if it had to be stopped because its time was over."""
    output: bytes
    """What it printed."""
    errors: str
    """The end of what it printed on standard error."""


def run(
    module: str,
    arguments: Sequence[str],
    *,
    read: Sequence[Path],
    seconds: float,
    variables: Mapping[str, str] | None = None,
) -> Finished:
    """Run `python -m MODULE ARGUMENTS` in a sandbox to its end.

    Args:
        module: a module of this package.
        arguments: its command line.
        read: what it may read besides the Python installation.
        seconds: time after which it is stopped.
        variables: environment variables that it gets.
    """
    with (
        tempfile.TemporaryDirectory(prefix="smoothscan-") as home,
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
    ):
        process = start(
            module,
            arguments,
            home=Path(home),
            read=read,
            limits=limits(seconds, _MEMORY_BYTES),
            output=output,
            errors=errors,
            variables=variables,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            end(process)
        output.seek(0)
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - 2000))
        return Finished(code, output.read(), errors.read().decode(errors="replace"))


def innermost(process: subprocess.Popen[bytes]) -> psutil.Process | None:
    """Return the process that the module runs in, inside of bubblewrap's own; None if it is gone."""
    try:
        found = psutil.Process(process.pid)
        while protections().bubblewrap is not None and (children := found.children()):
            found = children[0]
    except psutil.Error:
        return None
    return found


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process, its group and its descendants, those that left the group included."""
    family = []
    with contextlib.suppress(psutil.Error):
        family = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for child in family:
        with contextlib.suppress(psutil.Error):
            child.kill()
    process.wait()


def _environment(home: Path, variables: Mapping[str, str]) -> dict[str, str]:
    return {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ} | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        **variables,
    }
