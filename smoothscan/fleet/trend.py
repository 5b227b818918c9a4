"""What became of a registry from sweep to sweep: the sweeps before, and what changed since the last of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from smoothscan.errors import LedgerError
from smoothscan.fleet.ledger import Ledger
from smoothscan.fleet.report import count_as
from smoothscan.posture import Change, Posture, Standing
from smoothscan.sinks.sweep_words import in_numbers

REMEMBERED = 60
"""Most sweeps that are read back."""

_FLAGGED = ("backdoored", "suspicious")
_JUDGED = (*_FLAGGED, "clean")


def with_history(posture: Posture, ledger: Ledger, warn: Callable[[str], None]) -> Posture:
    """Return a sweep with those before it over the same selection, and with what changed since the last of them.

    Args:
        posture: the sweep, finished or interrupted.
        ledger: where the sweeps before are noted.
        warn: is told that they cannot be read; the sweep itself stands without them.
    """
    try:
        history, states = ledger.past_sweeps(posture.registry, _scope(posture), REMEMBERED)
    except LedgerError as error:
        warn(f"What changed since the last sweep cannot be told. {error.message}")
        return posture
    if not history:
        return posture
    there = {model.uri for model in posture.models}
    return posture.model_copy(
        update={
            "history": history,
            "models": tuple(_compared(model, states) for model in posture.models),
            "gone": tuple(sorted(uri for uri in states if uri not in there)),
        }
    )


def remember(posture: Posture, ledger: Ledger, warn: Callable[[str], None]) -> None:
    """Note a finished sweep for those that come after it.

    Args:
        posture: the sweep.
        ledger: where to note it.
        warn: is told that it cannot be noted; the sweep itself stands.
    """
    states = {model.uri: count_as(model) for model in posture.models}
    try:
        ledger.record_sweep(posture.registry, _scope(posture), in_numbers(posture), states)
    except LedgerError as error:
        warn(f"The next sweep will not know of this one. {error.message}")


def change(before: str | None, now: str) -> Change | None:
    """Return what became of a version.

    Args:
        before: its verdict or status at the sweep before; None if it was not there.
        now: the same now.
    """
    if now in _FLAGGED:
        return None if before in _FLAGGED else "newly_flagged"
    if now not in _JUDGED:
        return "not_judged_since" if before in _JUDGED else "new" if before is None else None
    if before is None:
        return "new"
    return "no_longer_flagged" if before in _FLAGGED else None if before in _JUDGED else "judged_since"


def _compared(model: Standing, states: dict[str, str]) -> Standing:
    before = states.get(model.uri)
    return model.model_copy(update={"before": before, "change": change(before, count_as(model))})


def _scope(posture: Posture) -> str:
    """Return a digest of the selection: sweeps over different parts of a registry are not compared."""
    text = json.dumps(posture.selection, sort_keys=True, default=str)
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
