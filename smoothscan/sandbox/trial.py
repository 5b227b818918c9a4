"""Tries to break out of a sandbox, in ways that a model's code would; `smoothscan doctor` runs this confined.

`python -m smoothscan.sandbox.trial SECRET_FILE OTHER_FOLDER PORT PROCESS_ID` prints what became of each, as JSON.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def main() -> None:
    """Try everything, and print {attempt: "" if it succeeded, else what stopped it}."""
    secret, folder, port, scanner = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    attempts: dict[str, Callable[[], object]] = {
        "read a file of yours": secret.read_bytes,
        "write a file outside of its folder": lambda: (folder / "written").write_bytes(b"x"),
        "change a program of this installation": lambda: _append(Path(__file__)),
        "read your environment variables": lambda: _environment_of(scanner),
        "connect to a server": lambda: socket.create_connection(("127.0.0.1", port), 3).close(),
        "send a datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port)),
        "start a program": lambda: subprocess.run([sys.executable, "-c", ""], check=True, timeout=20),
        "fork": _fork,
        "signal the scanner": lambda: os.kill(scanner, 0),
        "take more memory than it may": _take_memory,
        "raise its own limits": _raise_limits,
        "fill the disk": lambda: _fill(Path.cwd() / "filler"),
    }
    print(json.dumps({what: _outcome(attempt) for what, attempt in attempts.items()}))


def _outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return error.strerror or type(error).__name__
    except Exception as error:
        return str(error) or type(error).__name__
    return ""


def _append(path: Path) -> None:
    with path.open("ab"):
        pass


def _environment_of(scanner: int) -> None:
    if "SMOOTHSCAN_DOCTOR" not in os.environ and b"SMOOTHSCAN_DOCTOR" not in _bytes(f"/proc/{scanner}/environ"):
        raise PermissionError(0, "none of them are there")


def _bytes(path: str) -> bytes:
    return Path(path).read_bytes()


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _take_memory() -> None:
    most = min(amount for amount in map(_hard_limit, (resource.RLIMIT_AS, resource.RLIMIT_DATA)) if amount > 0)
    bytearray(most)


def _hard_limit(kind: int) -> int:
    return resource.getrlimit(kind)[1]


def _raise_limits() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _fill(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


if __name__ == "__main__":
    main()
