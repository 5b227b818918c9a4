"""Puts right what folders and registry say of versions whose scan holds: the ledger knows, and nothing is scanned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from smoothscan.config import ScanConfig
from smoothscan.errors import SmoothscanError
from smoothscan.exhibits import Exhibits
from smoothscan.files import make_folder
from smoothscan.fleet.ledger import Ledger
from smoothscan.fleet.plan import Order, Planned
from smoothscan.posture import Standing
from smoothscan.products import PRODUCTS, REPORT, RESULT
from smoothscan.publish import clear_up, deliver_again, is_of, publish, write_again
from smoothscan.result import Gate, ScanResult, WriteBack
from smoothscan.sinks.findings import own_notes
from smoothscan.sinks.json_file import JsonSink
from smoothscan.sinks.mlflow_registry import known_tags, tag_again, worse_since

Amiss = Literal["write-back failed", "tags changed"]
_Item = TypeVar("_Item")
IN_VAIN = 5
"""Earlier results in a row whose write-back comes to nothing, after which a sweep tries no other."""


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
            return None if right or worse_since(present, standing) else "tags changed"
        case "not_applicable":
            return None


def or_broken(write: Callable[[], _Item]) -> _Item | WriteBack:
    """Write something about one version; a mistake of ours that it brings out is told, and stops no other version.

    Args:
        write: writes it.

    Raises:
        SmoothscanError: what is not about this version, such as a full disk.
    """
    try:
        return write()
    except SmoothscanError:
        raise
    except Exception as bug:
        what = f"smoothscan itself could not write it ({type(bug).__name__}: {bug}); please report this"
        return WriteBack(status="failed", message=what)


def bring_up_to_date(order: Order, result: ScanResult, there: Mapping[str, Any]) -> None:
    """See that the folder of a version tells of its newest scan, and what the gate says of it now.

    The page of a scan stays: its held-out images are kept nowhere else. It says until when a waiver holds.

    Args:
        order: how the version is scanned.
        result: the scan, judged.
        there: what lies in the folder; see `read_there`.

    Raises:
        OutputError: the folder cannot be written to.
    """
    config = order.config
    folder = config.output_dir
    if not is_of(there, result.config_digest, result.finished_at):  # it is new, or another machine did the scan
        clear_up(make_folder(folder))
        publish([JsonSink()], result, Exhibits(), folder, replace=PRODUCTS)
    elif _says(result.gate) != _says(_gate_of(there)):
        kept = {"html"} if (folder / REPORT).exists() else set()
        formats, redact = {"json", *config.formats} - kept, config.redact_images
        write_again(result, folder / RESULT, folder, formats, order.provenance, redact_images=redact)


def _gate_of(there: Mapping[str, Any]) -> Gate | None:
    try:
        return Gate.model_validate(there.get("gate"))
    except ValidationError:
        return None


def _says(gate: Gate | None) -> tuple[Any, ...]:
    return () if gate is None else (gate.passed, gate.exit_code, gate.fail_on, gate.findings, own_notes(gate))


def in_turn(items: Sequence[_Item], group: Callable[[_Item], str], day: date) -> list[_Item]:
    """Return items with another group at the head each day, so that groups which come to nothing hold up no others.

    Args:
        items: the items.
        group: tells the group of each.
        day: the day.
    """
    groups = sorted({group(item) for item in items})
    place = {name: (number - day.toordinal() * IN_VAIN) % len(groups) for number, name in enumerate(groups)}
    return sorted(items, key=lambda item: place[group(item)])


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

    def write() -> WriteBack | None:
        if wrong == "tags changed":
            return tag_again(result, tracking_uri=config.tracking_uri, registry_uri=config.registry_uri)
        return deliver_again(judge(result, config), config, entry.scan_id).write_back

    if (written := or_broken(write)) is None:
        return standing
    ledger.record(entry.scan_id, written)
    return standing.model_copy(update={"write_back": written, "rewritten": wrong if written.status == "done" else ""})
