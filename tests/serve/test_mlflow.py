"""A real MLflow server delivers to a real smoothscan server, set up as the page on it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.stores import Registry

from .deliveries import SECRET
from .program import Server, rows, scanned, wait_until_done

PAGE = Path(__file__).parents[2] / "docs" / "serve.md"


def snippet() -> str:
    """The code on the page that registers the webhook."""
    found = re.search(r"<!-- webhook -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    return found[1]


def test_versions_and_promotions_are_scanned(server: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    client = server.client()
    monkeypatch.setattr("mlflow.MlflowClient", lambda: MlflowClient(server.tracking_uri))
    monkeypatch.setenv("SMOOTHSCAN_WEBHOOK_SECRET", SECRET.decode())
    with Server(tmp_path) as receiver:
        public = "https://scanner.example.org"
        code = snippet()
        assert public in code
        exec(code.replace(public, f"http://127.0.0.1:{receiver.port}"), {})
        (webhook,) = client.list_webhooks()
        try:
            assert client.test_webhook(webhook.webhook_id).response_status == 202
            client.create_registered_model("announced")
            model = server.model_ids["tiny-pt2"]
            version: Any = client.create_model_version("announced", f"models:/{model}", model_id=model)
            client.set_model_version_tag("announced", version.version, "smoothscan.verdict", "clean")
            client.set_registered_model_alias("announced", "candidate", version.version)
            wait_until_done(tmp_path, 3, limit=30)
        finally:
            client.delete_webhook(webhook.webhook_id)
            client.delete_registered_model("announced")
        metrics = receiver.request("GET", "/metrics")[1].decode()
    events = {row[1:] for row in rows(tmp_path, "delivery_id, event, name, version, outcome")}
    assert events == {
        ("model_version.created", "example_model", "1", "clean"),
        ("model_version.created", "announced", "1", "clean"),
        ("model_version_alias.created", "announced", "1", "clean"),
    }
    assert sorted(scanned(tmp_path)) == ["models:/announced/1", "models:/example_model/1"]
    assert 'smoothscan_deliveries_total{outcome="queued"} 3.0' in metrics
