"""What somebody may have meant who named a model, a version or an alias that a registry does not have."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

from smoothscan.suggestions import close_to

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

_CONSIDERED = 1000
"""Names that the registry is asked for: one page, so that a message does not take long."""
_LISTED = 5
"""Most ranges of versions, and most aliases, that are listed."""


def for_name(client: MlflowClient, name: str) -> str:
    """Return a question with the registered model that is called nearly so; empty if there is none."""
    known: list[str] = []
    with suppress(Exception):  # whatever the registry says now, the model is not there
        known = [model.name for model in client.search_registered_models(max_results=_CONSIDERED)]
    found = close_to(name, known)
    return "" if found is None else f"Did you mean {found!r}? "


def for_version(client: MlflowClient, model: RegisteredModel) -> str:
    """Return which versions a model has."""
    numbers: list[int] = []
    with suppress(Exception):
        quoted = model.name.replace("'", "''")
        found = client.search_model_versions(
            f"name = '{quoted}'", max_results=_CONSIDERED, order_by=["version_number DESC"]
        )
        numbers = sorted(int(version.version) for version in found)
    return f"It has {_ranges(numbers)}. " if numbers else ""


def for_alias(model: RegisteredModel, alias: str) -> str:
    """Return a question with the alias of a model that is called nearly so; empty if there is none."""
    found = close_to(alias, model.aliases)
    return "" if found is None else f"Did you mean models:/{model.name}@{found}? "


def newest(model: RegisteredModel) -> str | None:
    """Return the newest version of a model; None if it has none."""
    # The newest version of each stage, so the newest of all is among them.
    return str(max(versions)) if (versions := [int(v.version) for v in model.latest_versions or ()]) else None


def whole(model: RegisteredModel) -> str:
    """Return the newest version and some aliases of a model, as URIs."""
    version = newest(model)
    if version is None:
        return "It has no versions yet: register one first."
    aliases = sorted(model.aliases)[:_LISTED]
    listed = f"; aliases: {', '.join(f'models:/{model.name}@{alias}' for alias in aliases)}" if aliases else ""
    return f"Its newest version is models:/{model.name}/{version}{listed}."


def _ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers in words, such as `versions 1 to 3 and 7`; the last ones if there are many gaps."""
    starts = [numbers[0], *(b for a, b in pairwise(numbers) if b > a + 1)]
    ends = [*(a for a, b in pairwise(numbers) if b > a + 1), numbers[-1]]
    parts = [str(a) if a == b else f"{a} to {b}" for a, b in zip(starts, ends, strict=True)]
    left = "..., " if len(parts) > _LISTED else ""
    parts = parts[-_LISTED:]
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"version{'s' * (len(numbers) > 1)} {left}{listed}"
