"""Starts a model host: `python -m smoothscan.modelhost CHANNEL_FD MEMORY_FD SCANNER_PID`. Not started by people."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys


def _die_with(scanner: int) -> None:
    """Ask the kernel to kill this process when the scanner is gone, however it went (Linux).

    Args:
        scanner: process id of the scanner.
    """
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != scanner:  # it was gone before the kernel was asked
            os._exit(1)


def main() -> None:
    """Run until the scanner hangs up."""
    _die_with(int(sys.argv[3]))
    channel = socket.socket(fileno=int(sys.argv[1]))
    # heavy imports run while the scanner still resolves and downloads the model
    import mlflow.pytorch  # noqa: F401

    from smoothscan.modelhost.serving import serve

    serve(channel, int(sys.argv[2]))


if __name__ == "__main__":
    main()
