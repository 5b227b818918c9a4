"""Takes rights away from the present process. Runs inside, first of all, while there is one thread and nothing loaded.

Landlock and seccomp hold for the thread that asks for them and for those that it starts: a thread that numpy or torch
had started before would stay free.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
from pathlib import Path

from smoothscan.sandbox.calls import call_filter
from smoothscan.sandbox.policy import Limits, Policy


def confine(policy: Policy) -> None:
    """Apply a policy to this process, for good.

    Raises:
        OSError: the kernel refused a part of it. The process must not go on.
    """
    if policy.parent is not None:
        _die_with(policy.parent)
    _limit(policy.limits, accelerator=bool(policy.devices))
    # the library is looked for by programs that Landlock would not let run, so it is loaded first
    calls = call_filter(accelerator=bool(policy.devices)) if policy.seccomp else None
    if policy.landlock:
        _restrict_files(policy)
    if calls is not None:
        calls.load()


def _die_with(parent: int) -> None:
    """Ask the kernel to kill this process when the one that started it is gone, however it went (Linux)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before the kernel was asked
        os._exit(1)


def _limit(limits: Limits, *, accelerator: bool) -> None:
    import resource

    memory = resource.RLIMIT_DATA if accelerator else resource.RLIMIT_AS
    wanted = {
        memory: limits.memory_bytes,
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_CORE: 1,  # zero would still feed a crash handler behind a pipe
    }
    for kind, amount in wanted.items():
        _, hard = resource.getrlimit(kind)
        most = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        try:
            resource.setrlimit(kind, (most, most))
        except ValueError as error:  # macOS knows limits that it does not let anybody set
            if sys.platform == "linux":
                raise OSError(errno.EPERM, f"a limit could not be set: {error}") from error


def _restrict_files(policy: Policy) -> None:
    from landlockpy import AccessFS, Ruleset, Scope

    read_folder = AccessFS.READ_FILE | AccessFS.READ_DIR
    write_folder = (
        read_folder
        | AccessFS.WRITE_FILE
        | AccessFS.TRUNCATE
        | AccessFS.MAKE_REG
        | AccessFS.MAKE_DIR
        | AccessFS.REMOVE_FILE
        | AccessFS.REMOVE_DIR
        | AccessFS.REFER
    )
    device = AccessFS.READ_FILE | AccessFS.WRITE_FILE | AccessFS.IOCTL_DEV
    rights = (
        (policy.read, read_folder, AccessFS.READ_FILE),
        (policy.names, AccessFS.READ_DIR, AccessFS.NONE),
        (policy.write, write_folder, AccessFS.READ_FILE | AccessFS.WRITE_FILE),
        (policy.devices, read_folder | device, device),
    )
    everything = Scope.ABSTRACT_UNIX_SOCKET | Scope.SIGNAL
    with Ruleset(scoped=everything) as rules:  # handles all rights that the kernel knows, network ports included
        for paths, of_folder, of_file in rights:
            for path in filter(os.path.exists, paths):
                rules.allow_path(path, of_folder if Path(path).is_dir() else of_file)
        rules.restrict()
