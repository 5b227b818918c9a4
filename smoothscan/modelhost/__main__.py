"""Starts a model host: `python -m smoothscan.modelhost CHANNEL_FD MEMORY_FD`. Not started by people."""

from __future__ import annotations

import socket
import sys


def main() -> None:
    """Run until the scanner hangs up."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    # heavy imports run while the scanner still resolves and downloads the model
    import mlflow.pytorch  # noqa: F401

    from smoothscan.modelhost.serving import serve

    serve(channel, int(sys.argv[2]))


if __name__ == "__main__":
    main()
