"""Walls of namespaces around a process, put up by bubblewrap."""

from __future__ import annotations

from collections.abc import Sequence

_TEMPORARY_BYTES = 2**28
"""Room for temporary files; they lie in memory."""


def walls(bubblewrap: str, read: Sequence[str], write: Sequence[str] = (), devices: Sequence[str] = ()) -> list[str]:
    """Return the beginning of a command; what follows it runs in a world of its own.

    No network but a loopback without anything on it, no processes but its own, no files but those named.

    Args:
        bubblewrap: path of the program.
        read: files and folders that are there read-only, parents before what lies in them.
        write: folders that are there empty, in memory, and vanish afterwards.
        devices: device files that are there.
    """
    command = [bubblewrap, "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    command += ["--unshare-cgroup-try", "--die-with-parent", "--proc", "/proc", "--dev", "/dev"]
    for path in read:
        if not path.startswith("/proc/"):  # its own, of the new namespace
            command += ["--ro-bind", path, path]
    for path in devices:
        command += ["--dev-bind", path, path]
    for path in write:
        command += ["--size", str(_TEMPORARY_BYTES), "--tmpfs", path, "--chdir", path]
    return [*command, "--remount-ro", "/"]
