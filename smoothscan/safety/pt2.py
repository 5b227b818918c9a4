"""Judges a `torch.export` archive (model.pt2) by its bytes: does loading it run code of the model's author?

The same question as MLflow's own check for archives free of pickles, answered without torch, plus a look into the
graph (see `graph.py`), which MLflow's check takes for harmless because it is JSON.
"""

from __future__ import annotations

import json
import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

from smoothscan.safety.graph import graph_problems
from smoothscan.safety.pickles import tensor_pickle_problem
from smoothscan.safety.zips import unreadable

MAX_RECORDS = 100_000
"""Records of an archive; a weight is one record."""
MAX_JSON_BYTES = 64 * 2**20
"""Largest JSON record that is read; the graph of a ResNet-152 takes 3 MB."""
MAX_PICKLE_BYTES = 16 * 2**20
"""Largest pickle that is read; tensors lie beside it, not in it."""
MAX_FINDINGS = 10
"""Findings of one archive; more say nothing new."""

_TEXT_NAMES = frozenset({"version", "archive_format", "archive_version", "byteorder", "serialization_id"})
_TEXT = re.compile(rb"[A-Za-z0-9._-]{1,64}\n?")
_PAYLOAD_CONFIG = re.compile(r"(?:^|/)data/(?:weights|constants)/[^/]+_config\.json$")
_GRAPH = re.compile(r"(?:[^/]+/)?models/model\.json")
_NUMBERS = {"5": "<q", "6": "<e", "7": "<f", "8": "<d"}
"""How one number of torch's common data types lies in a record."""
_RAW_PREFIXES = ("weight_", "tensor_")


def archive_findings(source: Path | BinaryIO) -> list[str]:
    """Say what in the archive may run code when it is loaded; empty if all of it is data.

    Work is bounded: raw tensors are not read, all other records only up to a limit, whatever size they declare.
    """
    findings = []
    try:
        with zipfile.ZipFile(source) as archive:
            for finding in _findings(archive):
                findings.append(finding)
                if len(findings) == MAX_FINDINGS:
                    break
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        # RuntimeError and NotImplementedError: encrypted, or compressed by an unknown method.
        findings.append(unreadable(error))
    return findings


def graph_of(path: Path) -> tuple[Any, dict[str, float]] | None:
    """Return what the archive says of the model's graph, and its stored single numbers by name; None if nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            graphs = [info for info in records if _GRAPH.fullmatch(info.filename)]
            if len(graphs) != 1 or len(records) > MAX_RECORDS:
                return None
            return _json(archive, graphs[0]), _single_numbers(archive)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, ValueError):
        return None


def _single_numbers(archive: zipfile.ZipFile) -> dict[str, float]:
    """Return the parameters, buffers and constants that are one number each."""
    found = {}
    records = {info.filename: info for info in archive.infolist()}
    for config in [info for name, info in records.items() if _PAYLOAD_CONFIG.search(name)]:
        for name, entry in _payloads(archive, config):
            described, record = entry.get("tensor_meta"), records.get(_beside(config, entry))
            form = _NUMBERS.get(str(described.get("dtype"))) if isinstance(described, dict) else None
            if form and record and record.file_size == struct.calcsize(form):
                (found[name],) = struct.unpack(form, _read(archive, record, 8))
    return found


def _findings(archive: zipfile.ZipFile) -> Iterator[str]:
    records = [info for info in archive.infolist() if not info.is_dir()]
    if len(records) > MAX_RECORDS:
        yield f"holds {len(records)} records, more than the {MAX_RECORDS} that are looked at"
        return
    yield from _ambiguities(archive, records)
    raw = raw_tensors(archive, records)
    for info in records:
        if info.filename not in raw and (problem := _record_problem(archive, info)):
            yield f"record {info.filename[:200]!r} {problem}"


def _ambiguities(archive: zipfile.ZipFile, records: list[zipfile.ZipInfo]) -> Iterator[str]:
    """Report what torch's reader could take otherwise than this one: it ignores case, and the first match counts."""
    names: set[str] = set()
    for info in records:
        if info.filename.lower() in names:
            yield f"record {info.filename[:200]!r} appears twice"
        names.add(info.filename.lower())
    if archive.comment:
        yield "carries a comment behind its directory"


def raw_tensors(archive: zipfile.ZipFile, records: list[zipfile.ZipInfo]) -> set[str]:
    """Return the records that the archive's own configuration has torch read as plain numbers, and never unpickle."""
    raw: set[str] = set()
    pickled: set[str] = set()
    for info in records:
        if not _PAYLOAD_CONFIG.search(info.filename):
            continue
        for _, entry in _payloads(archive, info):
            is_raw = entry.get("use_pickle") is False and entry["path_name"].startswith(_RAW_PREFIXES)
            (raw if is_raw else pickled).add(_beside(info, entry))
    return raw - pickled


def _payloads(archive: zipfile.ZipFile, config: zipfile.ZipInfo) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield names and descriptions of the tensors that a configuration lists."""
    document = _json(archive, config)
    entries = document.get("config") if isinstance(document, dict) else None
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        record = entry.get("path_name") if isinstance(entry, dict) else None
        if isinstance(record, str) and "/" not in record:
            yield name, entry


def _beside(config: zipfile.ZipInfo, entry: dict[str, Any]) -> str:
    """Return the record that a configuration's entry is about."""
    return f"{config.filename.rsplit('/', 1)[0]}/{entry['path_name']}"


def _record_problem(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str | None:
    base = info.filename.rsplit("/", 1)[-1]
    if base in _TEXT_NAMES:
        return None if _TEXT.fullmatch(_read(archive, info, 65)) else "is not the short text that it should be"
    if base.endswith(".json"):
        return _json_problem(archive, info)
    with archive.open(info) as record:
        start = record.read(4)
        if start != b"PK\x03\x04":
            return "is neither text, JSON nor a listed tensor: torch may unpickle or run it"
        if info.compress_type != zipfile.ZIP_STORED:
            return "is a compressed archive of its own"
        record.seek(0)
        return _checkpoint_problem(record)


def _json_problem(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str | None:
    document = _json(archive, info)
    if document is None:
        return f"is no JSON of at most {MAX_JSON_BYTES // 2**20} MiB"
    try:
        problem = next(graph_problems(document), None)
    except RecursionError:
        return "is nested too deeply"
    return f"has {problem}; torch could evaluate that as code" if problem else None


def _checkpoint_problem(record: IO[bytes]) -> str | None:
    """Judge a `torch.save` file inside the archive: sample inputs, and weights that are not stored as plain numbers."""
    try:
        with zipfile.ZipFile(record) as checkpoint:
            members = [info for info in checkpoint.infolist() if not info.is_dir()]
            if any(_ambiguities(checkpoint, members)) or len(members) > MAX_RECORDS:
                return "is an archive that can be read in two ways"
            bases = [info.filename.rsplit("/", 1)[-1] for info in members]
            if bases.count("data.pkl") != 1 or "constants.pkl" in bases:
                return "is an archive, but no file of torch.save"
            pickle = _read(checkpoint, members[bases.index("data.pkl")], MAX_PICKLE_BYTES + 1)
            if len(pickle) > MAX_PICKLE_BYTES:
                return "holds a pickle too large to look through"
            problem = tensor_pickle_problem(pickle)
            return f"holds a pickle that {problem}" if problem else None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OSError):
        return "begins like an archive but is none"


def _json(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Any:
    content = _read(archive, info, MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        return None
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> bytes:
    with archive.open(info) as record:
        return record.read(limit)
