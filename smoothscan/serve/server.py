"""Runs the web application beside the dispatcher.

The dispatcher has the main thread: there a signal interrupts a scan as it interrupts `check`, so that the processes of
the scan end with it. The web server has a thread of its own.
"""

from __future__ import annotations

import logging
import socket
import threading

import uvicorn
from starlette.applications import Starlette

from smoothscan.errors import SmoothscanError, UsageError
from smoothscan.serve.dispatcher import Dispatcher

_CONNECTIONS = 256  # times the largest body: what strangers can make the server hold in memory
_GRACE = 5
_LOG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "[%(asctime)s] %(message)s", "datefmt": "%H:%M:%S"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {"uvicorn": {"handlers": ["stderr"], "propagate": False}},
}


def listen_on(host: str, port: int) -> socket.socket:
    """Return a socket that listens, so that deliveries wait for the server from now on.

    Raises:
        UsageError: the address does not exist, or is in use.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"Cannot listen on {host}:{port}: {reason}.", "Pass another --host or --port.") from None


def run(app: Starlette, dispatcher: Dispatcher, listener: socket.socket, *, verbose: bool) -> None:
    """Serve until a signal comes, which is raised as it is anywhere else: KeyboardInterrupt.

    Args:
        app: the web application.
        dispatcher: scans what the application puts into the queue.
        listener: where the application listens.
        verbose: whether every request gets a line on standard error.

    Raises:
        SmoothscanError: the web server has ended by itself.
    """
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=_LOG,
        log_level=logging.INFO if verbose else logging.WARNING,
        access_log=verbose,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE,
    )
    server = uvicorn.Server(config)

    def serve() -> None:
        try:
            server.run(sockets=[listener])
        finally:
            dispatcher.end()

    thread = threading.Thread(target=serve, name="http", daemon=True)
    thread.start()
    try:
        dispatcher.run()
    finally:
        server.should_exit = True
        thread.join(2 * _GRACE)
    raise SmoothscanError("The web server has ended by itself.", "Start it again; what was accepted is in the queue.")
