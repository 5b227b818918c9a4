"""An MLflow client whose process dies at a call of choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Killed(BaseException):
    """The process dies here."""


class Mortal:
    """An MLflow client that dies at one of its calls, and says nothing more to the server from then on.

    Args:
        client: the real one.
        calls: how many calls it lives through.
    """

    def __init__(self, client: Any, calls: int) -> None:
        self.client = client
        self.left = calls
        self.died_at = ""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.left == 0:
                self.died_at = self.died_at or name
                raise Killed(self.died_at)
            self.left -= 1
            return getattr(self.client, name)(*args, **kwargs)

        return call


def runs_with(registry: Any, tag: str, value: str) -> list[Any]:
    client = registry.client()
    experiment = client.get_experiment_by_name("smoothscan").experiment_id
    return list(client.search_runs([experiment], f"tags.`{tag}` = '{value}'"))
