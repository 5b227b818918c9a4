"""Everything else that the result holds, as rows of name and value: for who follows up a single number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from smoothscan.result import InputSpec, ScanResult
from smoothscan.sinks import words
from smoothscan.sinks.text import count, duration, size
from smoothscan.vocabulary import titles

Row = tuple[str, str]


def coverage(result: ScanResult) -> tuple[Row, ...]:
    """Return how much of the model and of the images was looked at."""
    c = result.coverage
    not_examined = []
    if c.classes_examined < c.classes_total:
        not_examined.append(f"{count(c.classes_total - c.classes_examined, 'class', 'classes')}")
    if c.images_skipped:
        not_examined.append(count(len(c.images_skipped), "image file"))
    if c.images_left_out:
        not_examined.append(f"{count(c.images_left_out, 'image')} more than are of use, or fit into memory")
    if c.unfinished:
        not_examined.append(titles(c.unfinished))
    if result.status != "completed":
        not_examined = ["the model: the scan did not complete"]
    error = (("Kind of error", result.error.type),) if result.error else ()
    if not c.images and not c.classes_total:
        return (("Not examined", not_examined[0] if not_examined else "the model"), *error)
    return (
        ("Classes", f"{c.classes_examined:,} of {c.classes_total:,} examined" + words.screened(result)),
        ("Images", f"{c.images:,} usable, {c.held_out:,} of them held out to count transfer"),
        ("Skipped", count(len(c.images_skipped), "file")),
        ("Not examined", " and ".join(not_examined) or "nothing was left out"),
        *error,
    )


def model(result: ScanResult) -> tuple[Row, ...]:
    """Return which model it was."""
    m = result.model
    rows = (
        ("URI", m.uri),
        ("Resolved to", m.resolved_uri),
        ("Name", m.name),
        ("Version", m.version),
        ("Model id", m.model_id),
        ("Run", m.run_id),
        ("Stored as", m.flavor),
        ("Architecture", m.architecture),
        ("Digest", m.digest),
        ("Scan configuration", result.config_digest),
    )
    return tuple((name, value) for name, value in rows if value)


def input_spec(spec: InputSpec) -> tuple[tuple[str, str, str], ...]:
    """Return (part, value, where it comes from)."""

    def values(numbers: Iterable[float] | None) -> str:
        return ", ".join(f"{v:g}" for v in numbers) if numbers is not None else "none"

    black, white = spec.value_range
    rows = {
        "channels": str(spec.channels),
        "height": f"{spec.height} pixels",
        "width": f"{spec.width} pixels",
        "layout": spec.layout,
        "dtype": spec.dtype,
        "value_range": f"{black:g} (black) to {white:g} (white)",
        "mean": values(spec.mean),
        "std": values(spec.std),
        "resize": spec.resize,
        "outputs": (spec.outputs or "not asked").replace("_", " "),
    }
    parts = [(part.replace("_", " "), value, spec.sources.get(part, "")) for part, value in rows.items()]
    parts += [(part.replace("_", " "), "", source) for part, source in spec.sources.items() if part not in rows]
    return tuple(parts)


def safety(result: ScanResult) -> tuple[Row, ...]:
    """Return what was seen in the files, in short."""
    s = result.safety
    if s.held_by_caller:
        files = "not looked at: a Python program handed the model over and held it in its own process, unconfined"
        return (("Files and code", files), ("Architecture", "examined" if s.architecture_examined else "not examined"))
    where = "inside a sandbox that holds" if s.sandboxed else "in a process that this machine cannot confine"
    rows = [
        ("Loading needs the model's own code", _yes(s.needs_model_code)),
        ("Such code was run", f"yes, {where}" if s.model_code_executed else "no"),
        ("Files that no scanner understood", ", ".join(s.unexamined) or "none"),
        ("Architecture", "examined" if s.architecture_examined else "not examined"),
    ]
    if s.scanners:
        rows.append(("Static scanners", ", ".join(f"{name} {version}" for name, version in s.scanners.items())))
    return tuple(rows)


def write_back(result: ScanResult) -> tuple[Row, ...]:
    """Return what became of tags, run and alias."""
    w = result.write_back
    status = {
        "done": "written to the registry",
        "off": "off: the registry was left alone",
        "not_applicable": "not applicable",
        "failed": "failed; the verdict stands" if result.verdict else "failed",
    }[w.status]
    rows = [("Status", status), ("Tags on the model version", _yes(w.tagged))]
    rows += [("MLflow run", w.run_id)] if w.run_id else []
    rows += [("Message", w.message)] if w.message else []
    return (*rows, *([("Alias", result.promotion.message)] if result.promotion else []))


def cost(result: ScanResult) -> tuple[Row, ...]:
    """Return what the scan took."""
    c = result.cost
    if not c.model_passes:
        return (("Wall time", duration(c.seconds)), ("Model passes", "none"))
    return (
        ("Wall time", duration(c.seconds)),
        ("Model passes", f"{c.model_passes:,.0f}"),
        *((("Denoiser passes", f"{c.denoiser_passes:,.0f}"),) if c.denoiser_passes else ()),
        ("In the model's process", duration(c.host_seconds)),
        ("Exchange with it", duration(c.exchange_seconds)),
        ("Peak memory", size(c.peak_rss_bytes)),
        ("Device", c.device),
    )


def _setting(value: Any) -> str:
    if value is None:
        return "not set"
    return _yes(value) if isinstance(value, bool) else str(value)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[Row]:
    """Yield nested configuration as dotted names."""
    for key, value in sorted(values.items()):
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            yield f"{prefix}{key}", ", ".join(map(str, value)) or "none"
        else:
            yield f"{prefix}{key}", _setting(value)
