"""What the application answers to deliveries of every kind."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from smoothscan.serve.app import Intake, make_app
from smoothscan.serve.metrics import Metrics
from smoothscan.serve.queue import Queue

from .deliveries import SECRET, Answer, body_of, created, delivery, post, query, request, standing

LARGEST = 4096


@dataclass
class Site:
    """An application, its queue and its counters."""

    queue: Queue
    metrics: Metrics
    app: Any = None
    woken: list[None] = field(default_factory=list)

    def counted(self, sample: str, **labels: str) -> float | None:
        exposition = request(self.app, "GET", "/metrics").body.decode()
        for family in text_string_to_metric_families(exposition):
            for found in family.samples:
                if found.name == sample and found.labels == labels:
                    return found.value
        return None


def make_site(folder: Path, limit: int = 100) -> Site:
    queue = Queue(folder / "queue.db", limit)
    site = Site(queue, Metrics(queue))
    site.app = make_app(queue, Intake(SECRET, LARGEST, 300, "default"), site.metrics, lambda: site.woken.append(None))
    return site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = make_site(tmp_path)
    yield site
    site.queue.close()


def test_a_new_version_is_queued_and_the_dispatcher_woken(site: Site) -> None:
    answer = post(site.app, delivery(created("signs", "7")))
    assert (answer.status, answer.json) == (202, {"status": "queued"})
    assert len(site.woken) == 1
    assert site.queue.take(5) == [("signs", "7")]
    assert site.counted("smoothscan_deliveries_total", outcome="queued") == 1


def test_a_promoted_version_is_queued(site: Site) -> None:
    body = body_of({"name": "signs", "alias": "champion", "version": "7"}, "model_version_alias")
    assert post(site.app, delivery(body)).json == {"status": "queued"}
    assert site.queue.take(5) == [("signs", "7")]


def test_what_mlflow_repeats_is_no_second_job(site: Site) -> None:
    one = delivery()
    assert [post(site.app, one).json["status"] for _ in range(3)] == ["queued", "duplicate", "duplicate"]
    assert post(site.app, one).status == 202, "or MLflow would go on repeating it"
    assert site.queue.depth().rows["queued"] == 1
    assert len(site.woken) == 1


@pytest.mark.parametrize(
    "body",
    [
        body_of({"name": "x", "tags": {}, "description": None}, "registered_model"),
        body_of(
            {"name": "x", "version": "1", "key": "smoothscan.verdict", "value": "clean"}, "model_version_tag", "set"
        ),
        body_of({"name": "x", "version": "1", "key": "k", "value": "v"}, "model_version_tag", "set"),
        body_of({"name": "x", "alias": "champion"}, "model_version_alias", "deleted"),
        body_of({"name": "x", "version": "1"}, "prompt_version"),
        body_of({"some": "thing"}, "of_the_future", "happened"),
        body_of({"name": "x", "version": "1"}, workspace="of-others"),
    ],
)
def test_other_events_are_ignored_and_counted(site: Site, body: bytes) -> None:
    answer = post(site.app, delivery(body))
    assert (answer.status, answer.json) == (202, {"status": "ignored"})
    assert site.counted("smoothscan_deliveries_total", outcome="ignored") == 1
    assert site.queue.depth().rows["queued"] == 0


def test_our_workspace_is_no_other(site: Site) -> None:
    assert (
        post(site.app, delivery(body_of({"name": "x", "version": "1"}, workspace="default"))).json["status"] == "queued"
    )


def test_a_forged_delivery_learns_nothing(site: Site) -> None:
    forged = delivery(secret=b"a guess at the secret")
    changed = delivery()
    unsigned = delivery()
    del unsigned.headers["X-MLflow-Signature"]  # type: ignore[attr-defined]
    for one in (forged, type(changed)(changed.headers, changed.body + b" "), unsigned):
        answer = post(site.app, one)
        assert (answer.status, answer.json) == (401, {"error": "signature"})
    assert site.counted("smoothscan_deliveries_total", outcome="forged") == 3
    assert site.queue.depth().rows["queued"] == 0


def test_a_replayed_id_with_another_body_is_forged(site: Site) -> None:
    one = delivery(created("signs", "1"))
    post(site.app, one)
    assert post(site.app, type(one)(one.headers, created("signs", "2"))).status == 401
    assert site.queue.take(5) == [("signs", "1")]


@pytest.mark.parametrize("at", [0, 4_000_000_000])
def test_a_late_delivery_is_refused_although_it_is_signed(site: Site, at: float) -> None:
    answer = post(site.app, delivery(at=at))
    assert (answer.status, answer.json) == (400, {"error": "timestamp"})
    assert site.counted("smoothscan_deliveries_total", outcome="late") == 1


def test_an_oversized_delivery_is_not_read(site: Site) -> None:
    answer = post(site.app, delivery(b" " * (LARGEST + 1)))
    assert (answer.status, answer.json, answer.read) == (413, {"error": "size"}, 0)
    assert answer.headers["connection"] == "close"


def test_an_oversized_delivery_without_a_length_is_read_to_the_limit_only(site: Site) -> None:
    endless = delivery(b"")
    answer = post(site.app, endless, chunks=[b" " * 1000] * 1000)
    assert (answer.status, answer.read) == (413, 5)
    assert site.counted("smoothscan_deliveries_total", outcome="oversized") == 1


def test_a_body_in_pieces_is_one_body(site: Site) -> None:
    one = delivery()
    assert post(site.app, one, chunks=[one.body[:5], one.body[5:9], one.body[9:]]).json == {"status": "queued"}


def test_a_body_that_does_not_come(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smoothscan.serve.app._BODY_SECONDS", 0.05)
    one = delivery()
    headers = [(name.encode(), value.encode()) for name, value in one.headers.items()]
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(5)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/webhooks/mlflow", "root_path": "", "query_string": b""}
    scope["headers"] = [(name.lower(), value) for name, value in headers]
    asyncio.run(site.app(scope, receive, send))
    assert sent[0]["status"] == 408


def test_a_sender_that_goes_away(site: Site) -> None:
    one = delivery()
    assert post(site.app, one, chunks=[]).status == 400
    assert site.counted("smoothscan_deliveries_total", outcome="malformed") == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"entity": 1, "action": "created"}',
        b"[" * 4000,
        b'{"entity": "model_version", "action": "created", "data": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        b'{"entity": "model_version", "action": "created", "data": {"name": "\\ud800", "version": "1"}}',
        body_of(None),
        body_of([]),
        body_of({"name": "x"}),
        body_of({"name": "", "version": "1"}),
        body_of({"name": "x" * 257, "version": "1"}),
        body_of({"name": "x", "version": 1}),
        body_of({"name": "x", "version": "latest"}),
        body_of({"name": "x", "version": "1\n"}),
        body_of({"name": "x", "version": "9" * 19}),
        body_of({"name": ["x"], "version": "1"}),
    ],
)
def test_signed_nonsense_is_a_bad_request(site: Site, body: bytes) -> None:
    answer = post(site.app, delivery(body))
    assert (answer.status, answer.json) == (400, {"error": "body"})
    assert site.counted("smoothscan_deliveries_total", outcome="malformed") == 1


def test_a_full_queue_says_when_to_come_again(tmp_path: Path) -> None:
    site = make_site(tmp_path, limit=1)
    assert post(site.app, delivery()).status == 202
    one = delivery()
    answer = post(site.app, one)
    assert (answer.status, answer.headers["retry-after"]) == (503, "30")
    assert request(site.app, "GET", "/readyz").status == 503
    assert site.counted("smoothscan_deliveries_total", outcome="full") == 1
    site.queue.take(1)
    site.queue.finish(("digits", "1"), "clean", "")
    assert post(site.app, one).json == {"status": "queued"}, "MLflow repeats it with the same id"
    site.queue.close()


@pytest.mark.parametrize(("tolerance", "seconds"), [(300, 30), (60, 15), (1, 1)])
def test_three_repetitions_lie_within_the_tolerance(tolerance: float, seconds: int) -> None:
    assert Intake(SECRET, 1, tolerance, "default").retry_after == str(seconds)


def test_a_queue_that_cannot_be_written_is_not_ready_and_accepts_nothing(site: Site) -> None:
    assert (request(site.app, "GET", "/readyz").status, request(site.app, "GET", "/healthz").status) == (200, 200)
    query(site.queue.path, "DROP TABLE deliveries")
    answer = post(site.app, delivery())
    assert (answer.status, "retry-after" in answer.headers) == (503, True)
    assert request(site.app, "GET", "/readyz").json == {"queue": "unavailable"}
    assert request(site.app, "GET", "/healthz").status == 200, "a restart would not help"
    assert site.counted("smoothscan_deliveries_total", outcome="unavailable") == 1
    assert site.counted("smoothscan_queue_deliveries", state="queued") is None, "a zero would be wrong"


def test_metrics_say_zero_before_anything_happens(site: Site) -> None:
    assert site.counted("smoothscan_deliveries_total", outcome="forged") == 0
    assert site.counted("smoothscan_scans_total", result="backdoored") == 0
    assert site.counted("smoothscan_queue_deliveries", state="queued") == 0
    assert site.counted("smoothscan_queue_oldest_seconds") == 0


def test_metrics_of_scans(site: Site) -> None:
    one = ("digits", "1")
    site.metrics.scan(standing(one, verdict="backdoored", seconds=45.0))
    site.metrics.scan(standing(one, status="refused", verdict=None))
    site.metrics.scan(standing(one, action="kept"))
    assert site.counted("smoothscan_scans_total", result="backdoored") == 1
    assert site.counted("smoothscan_scans_total", result="refused") == 1
    assert site.counted("smoothscan_scans_total", result="clean") == 0
    assert site.counted("smoothscan_scans_spared_total") == 1
    assert site.counted("smoothscan_scan_seconds_count") == 2
    assert site.counted("smoothscan_scan_seconds_bucket", le="30.0") == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/webhooks/mlflow", 405),
        ("PUT", "/webhooks/mlflow", 405),
        ("POST", "/healthz", 405),
        ("GET", "/", 404),
        ("POST", "/webhooks/other", 404),
        ("GET", "/docs", 404),
    ],
)
def test_there_is_nothing_else(site: Site, method: str, path: str, status: int) -> None:
    assert request(site.app, method, path).status == status


_names = st.sampled_from(["x-mlflow-signature", "x-mlflow-timestamp", "x-mlflow-delivery-id", "content-length", "x"])
_headers = st.lists(st.tuples(_names.map(str.encode), st.binary(max_size=40)), max_size=6)
_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
_events = st.fixed_dictionaries(
    {"entity": st.sampled_from(["model_version", "model_version_alias"]) | _json, "action": st.just("created") | _json},
    optional={
        "workspace": _json,
        "data": st.fixed_dictionaries({}, optional={"name": _json, "version": _json | st.just("1")}) | _json,
    },
)
_bodies = st.binary(max_size=200) | (_json | _events).map(lambda value: json.dumps(value).encode())


def answered(answer: Answer) -> None:
    assert answer.status in (202, 400, 401, 413)
    assert set(answer.json) <= {"status", "error"}


@pytest.fixture(scope="module")
def lasting_site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory() as folder:
        site = make_site(Path(folder), limit=10**6)
        yield site
        site.queue.close()


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(headers=_headers, chunks=st.lists(_bodies, min_size=1, max_size=3))
def test_no_request_of_a_stranger_makes_the_server_fail(
    lasting_site: Site, headers: list[tuple[bytes, bytes]], chunks: list[bytes]
) -> None:
    answered(request(lasting_site.app, "POST", "/webhooks/mlflow", headers, chunks))


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(body=_bodies)
def test_no_signed_body_makes_the_server_fail(lasting_site: Site, body: bytes) -> None:
    answered(post(lasting_site.app, delivery(body)))
