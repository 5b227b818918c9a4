"""Puts right what a registry says of versions whose scan holds; it is the ledger that knows, and nothing is scanned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from smoothscan.config import ScanConfig
from smoothscan.fleet.ledger import Ledger
from smoothscan.fleet.plan import Planned
from smoothscan.posture import Standing
from smoothscan.publish import deliver_again
from smoothscan.result import ScanResult
from smoothscan.sinks.mlflow_registry import known_tags, tag_again

Amiss = Literal["write-back failed", "tags changed"]


def amiss(planned: Planned, standing: Standing) -> Amiss | None:
    """Return what is wrong with what the registry says of a version; None if nothing is, or if it is not ours to say.

    Args:
        planned: the version, with its tags as they were listed.
        standing: what the ledger says of it.
    """
    entry = planned.known
    ours = standing.action == "kept" and entry is not None and entry.state == "recorded" and standing.status is not None
    if not ours or not planned.order.config.write_back:
        return None
    match standing.write_back.status:
        case "failed" | "off":  # it may have been turned on since
            return "write-back failed"
        case "done":
            present = planned.version.tags
            right = all(present.get(tag) == value for tag, value in known_tags(standing).items())
            return None if right else "tags changed"
        case "not_applicable":
            return None


def put_right(
    planned: Planned,
    standing: Standing,
    wrong: Amiss,
    registry: str,
    ledger: Ledger,
    judge: Callable[[ScanResult, ScanConfig], ScanResult],
) -> Standing:
    """Write a version's newest scan back once more, under its id; return how the version stands then.

    Its standing is unchanged if there was nothing to do after all: another process was quicker, or the registry does
    not tell tags in its list.

    Args:
        planned: the version.
        standing: what is known of it.
        wrong: what is wrong.
        registry: the registry.
        ledger: what is known.
        judge: see `Sweep`.

    Raises:
        LedgerError: the ledger cannot be used.
        OutputError: the folder of results cannot be written to.
    """
    entry, config = planned.known, planned.order.config
    newest = ledger.newest_of(registry, planned.version)
    if entry is None or newest is None or newest.scan_id != entry.scan_id:
        return standing
    if (result := ledger.result(entry.scan_id)) is None:
        return standing
    if wrong == "tags changed":
        written = tag_again(result, tracking_uri=config.tracking_uri, registry_uri=config.registry_uri)
    else:
        written = deliver_again(judge(result, config), config, entry.scan_id).write_back
    if written is None:
        return standing
    ledger.record(entry.scan_id, written)
    return standing.model_copy(update={"write_back": written, "rewritten": wrong if written.status == "done" else ""})
