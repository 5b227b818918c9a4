"""The web application: checks deliveries, the cheapest check first, and puts them into the queue. It never scans."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from smoothscan.serve.interface import Outcome, Refused
from smoothscan.serve.metrics import Metrics
from smoothscan.serve.payload import read_event
from smoothscan.serve.queue import Queue, QueueUnavailableError
from smoothscan.serve.signature import read_stamp, verify

WEBHOOK = "/webhooks/mlflow"
"""Where the registry delivers to."""

_BODY_SECONDS = 10.0
_RETRY_AFTER = 30.0


@dataclass(frozen=True)
class Intake:
    """Which deliveries are taken."""

    secret: bytes
    """Shared with the registry, which signs with it."""
    max_body: int
    """Largest body in bytes."""
    tolerance: float
    """By how many seconds a timestamp may be off."""
    workspace: str
    """Workspace of the registry whose models are scanned."""

    @property
    def retry_after(self) -> str:
        """Seconds after which to try again: MLflow does so three times, with the timestamp of the first."""
        return str(max(1, int(min(_RETRY_AFTER, self.tolerance / 4))))


def make_app(
    queue: Queue,
    intake: Intake,
    metrics: Metrics,
    put: Callable[[], None],
    *,
    now: Callable[[], float] = time.time,
) -> Starlette:
    """Return the application.

    Args:
        queue: where deliveries go.
        intake: which of them.
        metrics: counts them.
        put: is called after one was put into the queue.
        now: seconds since 1970, UTC.
    """

    async def webhook(request: Request) -> Response:
        try:
            outcome = await _take(request, queue, intake, now())
        except Refused as refused:
            metrics.delivery(refused.outcome)
            # What is left of the body is not read.
            return JSONResponse({"error": refused.word}, refused.status, headers={"Connection": "close"})
        metrics.delivery(outcome)
        if outcome in ("full", "unavailable"):
            return JSONResponse({"error": outcome}, 503, headers={"Retry-After": intake.retry_after})
        if outcome == "queued":
            put()
        return JSONResponse({"status": outcome}, 202)

    def ready(_request: Request) -> Response:
        try:
            word = "ready" if queue.has_room() else "full"
        except QueueUnavailableError:
            word = "unavailable"
        return JSONResponse({"queue": word}, 200 if word == "ready" else 503)

    def healthy(_request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    def exposition(_request: Request) -> Response:
        return PlainTextResponse(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Starlette(
        routes=[
            Route(WEBHOOK, webhook, methods=["POST"]),
            Route("/healthz", healthy),
            Route("/readyz", ready),
            Route("/metrics", exposition),
        ]
    )


async def _take(request: Request, queue: Queue, intake: Intake, now: float) -> Outcome:
    """Check a delivery and put it into the queue, which knows whether it was delivered before."""
    declared = request.headers.get("content-length", "0")  # the server has made sure that it is a number
    if declared.isdecimal() and int(declared) > intake.max_body:
        raise Refused(413, "oversized", "size")
    stamp = read_stamp(request.headers.getlist, now=now, tolerance=intake.tolerance)
    body = await _read(request, intake.max_body)
    verify(stamp, body, intake.secret)
    event = read_event(body, intake.workspace)
    if event is None:
        return "ignored"
    try:
        return await run_in_threadpool(queue.put, stamp.delivery_id, event)
    except QueueUnavailableError:
        return "unavailable"


async def _read(request: Request, most: int) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise Refused(413, "oversized", "size")
    except TimeoutError:
        raise Refused(408, "slow", "time") from None
    except ClientDisconnect:
        raise Refused(400, "malformed", "body") from None  # nobody hears it, but it is counted
    return bytes(body)
