"""What the report shows, worded and sorted; the template only lays it out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from smoothscan._version import __version__
from smoothscan.exhibits import ClassExhibit, Exhibits, Image
from smoothscan.result import ClassResult, InputSpec, ScanResult
from smoothscan.sinks import charts, words
from smoothscan.sinks.advice import advice, exit_code
from smoothscan.sinks.findings import excuse, set_aside, subject
from smoothscan.sinks.pictures import SMALL, amplification, data_uri, of_trigger
from smoothscan.sinks.text import count, duration, moment, number, percent, probability, size
from smoothscan.vocabulary import SPACES, SpaceWords, share, titles

MAX_CARDS = 10
"""Classes that are shown with pictures; the highest-ranked of the flagged ones."""
MAX_EXAMPLES = 6
"""Held-out images that are shown for a class."""
MAX_MATRIX = 30
"""Classes up to which the matrix of pairs is shown."""
OPEN_TABLE = 20
"""Classes up to which the table of all classes is open when the page is."""

_LARGE, _MEDIUM = 224, 128  # longest side of the pictures in pixels
_SHOWN = 176  # display size of a small picture in CSS pixels

Row = tuple[str, str]


@dataclass(frozen=True)
class Picture:
    """One picture, ready for an `img` element."""

    uri: Markup
    """Base64 only, so safe as it is."""
    width: int
    height: int
    pixelated: bool
    alt: str


@dataclass(frozen=True)
class Example:
    """One held-out image before and after."""

    name: str
    clean: Picture | None
    perturbed: Picture | None
    before: str
    after: str
    moved: bool


@dataclass(frozen=True)
class Card:
    """The evidence for one class."""

    cls: ClassResult
    text: str
    trigger: Picture | None = None
    trigger_text: str = ""
    clean: Picture | None = None
    clean_text: str = ""
    perturbed: Picture | None = None
    perturbed_text: str = ""
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One pair of source and target class."""

    shown: str
    rate: float
    """Share of the images that move, in [0, 1]; 0 where none was searched."""
    title: str
    flagged: bool


@dataclass(frozen=True)
class PairCard:
    """The evidence for one pair of source and target class."""

    title: str
    text: str
    card: Card | None


@dataclass(frozen=True)
class PairsView:
    """The search over pairs of source and target class."""

    note: str
    targets: tuple[str, ...]
    rows: tuple[tuple[str, int, tuple[Cell, ...]], ...]
    """Name of the source, number of its images, a cell for each target."""
    cards: tuple[PairCard, ...]
    more: int
    """Flagged pairs without a card."""


@dataclass(frozen=True)
class SpaceRow:
    """What was found in one trigger space."""

    title: str
    measure: str
    label: str
    e50: str
    reference: str
    anomaly: str
    transfer: str
    reported: bool
    flagged: bool


def context(result: ScanResult, exhibits: Exhibits, redact_images: bool, command: str) -> dict[str, Any]:
    """Return the variables of the template.

    Args:
        result: the scan.
        exhibits: its pictures.
        redact_images: leave out every picture that shows the user's images.
        command: the command line that reproduces the scan.
    """
    ranked = sorted(result.classes, key=lambda c: (not c.flagged, -c.score, -c.transfer_rate, c.index))
    names = {c.index: c.label for c in ranked}
    flagged = [c for c in ranked if c.flagged]
    closest = ranked[0] if ranked and not flagged else None
    shown = flagged[:MAX_CARDS] if flagged else ranked[:1]
    cards = [
        _card(c, _text(c, result), exhibits.classes.get(c.index), names, SPACES[result.space].thing, redact_images)
        for c in shown
        if c.found_by != "pairs"
    ]
    in_charts = ranked[: charts.MAX_CLASSES]
    probe = result.noise_probe
    probed = [names.get(t, str(t)) for t in probe.top_class] if probe else []
    reason = words.reason(result)
    space = SPACES[result.space]
    return {
        "result": result,
        "version": __version__,
        "tone": words.tone(result),
        "headline": words.headline(result),
        "badge": words.badge(result),
        "reason": reason,
        "advice": advice(result, exit_code(result)),
        "more_reasons": [line for line in result.reasons if line != reason],
        "gate": _gate(result),
        "gate_notes": result.gate.notes if result.gate else (),
        "facts": _facts(result, flagged, closest),
        "thing": space.thing,
        "kind": words.kind(result),
        "level": words.level(result),
        "share": words.share(result),
        "control": words.control(result),
        "pairs": _pairs(result, exhibits, names, redact_images),
        "spaces": _spaces(result, names, {c.index for c in flagged if c.found_by != "pairs"}),
        "chances": words.chances(result),
        "flagged": flagged,
        "closest": closest,
        "cards": cards,
        "redacted": redact_images,
        "more_flagged": len(flagged) - len(shown) if flagged else 0,
        "ranked": ranked,
        "table_title": "Classes searched in full" if words.screened(result) else "All classes",
        "table_open": len(ranked) <= OPEN_TABLE,
        "chart_note": _chart_note(ranked, in_charts),
        "bars": charts.transfer_bars(in_charts) if in_charts else None,
        "bars_note": _bars_note(in_charts, space),
        "curves": charts.budget_curves(in_charts, closest.index if closest else None, space, words.level(result)),
        "probe": probe,
        "probe_labels": probed,
        "noise": charts.noise_lines(probe, probed) if probe else None,
        "coverage": _coverage(result),
        "model": _model(result),
        "input_spec": _input_spec(result.input_spec) if result.input_spec else (),
        "safety": _safety(result),
        "not_examined": words.not_examined(result),
        "write_back": _write_back(result),
        "cost": _cost(result),
        "config": tuple(_flat(result.config)),
        "environment": tuple(sorted(result.environment.items())),
        "command": command,
        "limits": words.limits(result),
        "when": moment(result.finished_at or result.started_at),
        "number": number,
        "percent": percent,
        "probability": probability,
        "count": count,
    }


def _text(c: ClassResult, result: ScanResult) -> str:
    return words.found(c, result) if c.flagged else words.not_suspect(c, result)


def _card(
    c: ClassResult, text: str, exhibit: ClassExhibit | None, names: Mapping[int, str], thing: str, redact: bool
) -> Card:
    if exhibit is None:
        return Card(c, text)

    def name(index: int) -> str:
        return names.get(index, str(index))

    def examples_picture(image: Image, alt: str) -> Picture | None:
        return None if redact else _picture(image, alt, _MEDIUM)

    examples = tuple(
        Example(
            name=e.name,
            clean=examples_picture(e.clean, f"Held-out image {e.name}, predicted {name(e.clean_prediction)}"),
            perturbed=examples_picture(
                e.perturbed, f"{e.name} with the {thing}, predicted {name(e.perturbed_prediction)}"
            ),
            before=name(e.clean_prediction),
            after=name(e.perturbed_prediction),
            moved=e.perturbed_prediction == c.index,
        )
        for e in exhibit.examples[:MAX_EXAMPLES]
    )
    clean = perturbed = None
    if not redact:
        changed = (exhibit.synthesis_image + exhibit.perturbation).clip(0, 1)
        clean = _picture(exhibit.synthesis_image, f"Clean synthesis image {exhibit.synthesis_name}", _LARGE)
        perturbed = _picture(changed, f"{exhibit.synthesis_name} with the {thing} for {c.label}", _LARGE)
    return Card(
        c,
        text,
        trigger=_picture(of_trigger(exhibit), f"Recovered {thing} for {c.label}", _LARGE),
        trigger_text=_trigger_text(exhibit),
        clean=clean,
        clean_text=name(exhibit.synthesis_prediction),
        perturbed=perturbed,
        perturbed_text=name(exhibit.perturbed_prediction),
        examples=examples,
    )


def _pairs(result: ScanResult, exhibits: Exhibits, names: Mapping[int, str], redact: bool) -> PairsView | None:
    """Return the matrix of transfers at the largest patch, which all pairs were tried with, and the flagged pairs."""
    found = result.pairs
    if found is None:
        return None
    flagged = {(pair.source, pair.target) for pair in found.flagged}
    classes = {c.index: c for c in result.classes}

    def name(index: int) -> str:
        return names.get(index, str(index))

    def cell(source: int, n: int, target: int, hits: int) -> Cell:
        if hits < 0:
            return Cell("", 0.0, "", flagged=False)
        title = f"{name(source)} to {name(target)}: {hits} of {n}"
        return Cell(percent(hits / n), hits / n, title, (source, target) in flagged)

    rows = tuple(
        (name(source), n, tuple(cell(source, n, t, own[-1]) for t, own in enumerate(hits)))
        for source, n, hits in zip(found.sources, found.n_images, found.hits, strict=True)
    )
    cards = []
    for pair in found.flagged:
        pictures = exhibits.pairs.get((pair.source, pair.target))
        if pictures is not None:
            title, text = f"{name(pair.source)} \u2192 {name(pair.target)}", words.pair(pair, result)
            card = _card(classes[pair.target], text, pictures, names, SPACES["patch"].thing, redact)
            cards.append(PairCard(title, text, card))
    small = len(result.classes) <= MAX_MATRIX
    return PairsView(
        note=words.pairs(result),
        targets=tuple(c.label for c in sorted(result.classes, key=lambda c: c.index)) if small else (),
        rows=rows if small else (),
        cards=tuple(cards),
        more=len(found.flagged) - len(cards),
    )


def _trigger_text(exhibit: ClassExhibit) -> str:
    """Return what stands under the picture of a trigger."""
    if exhibit.picture is not None:
        return exhibit.description
    delta = exhibit.perturbation
    factor = amplification(delta)
    largest = number(255 * 0.5 / factor, 2) if delta.any() else "0"
    return f"amplified \u00d7{number(factor, 2)}: mid-grey is no change, the largest is {largest} of 255"


def _picture(image: Image, alt: str, longest: int) -> Picture:
    height, width = image.shape[-2:]
    enlarge = _SHOWN / max(height, width)
    return Picture(
        uri=Markup(data_uri(image, longest)),  # noqa: S704  (base64)
        width=max(1, round(width * enlarge)),
        height=max(1, round(height * enlarge)),
        pixelated=max(height, width) <= SMALL,
        alt=alt,
    )


def _gate(result: ScanResult) -> tuple[tuple[str, str, str], ...]:
    """Return (state, what it is about, why it does not count) of every finding that is waived or known."""
    return tuple((finding.state, subject(finding), excuse(finding)) for finding in set_aside(result))


def _facts(
    result: ScanResult, flagged: list[ClassResult], closest: ClassResult | None
) -> tuple[tuple[str, str, str], ...]:
    """Return (name, value, remark) of the few numbers that stand beside the verdict."""
    facts: list[tuple[str, str, str]] = []
    if flagged:
        listed = ", ".join(c.label for c in flagged[:3])
        more = f"and {len(flagged) - 3} more" if len(flagged) > 3 else ""
        facts.append(("Target class" if len(flagged) == 1 else "Target classes", listed, more))
    elif closest:
        facts.append(("Closest class", closest.label, "not flagged"))
    first = flagged[0] if flagged else closest
    pair = words.pair_of(first, result) if first else None
    if pair:
        facts.append(
            (
                "It moves",
                percent(pair.transfer_rate),
                f"of {pair.n_images} images of {words.label(pair.source, result)}",
            )
        )
        facts.append(("Replaced pixels", number(pair.epsilon), "made for this source class alone"))
    elif first:
        facts.append(("It moves", percent(first.transfer_rate), f"of {count(first.n_images, 'held-out image')}"))
        largest = max((p.epsilon for p in first.curve), default=first.epsilon)
        needs = f"> {number(largest)}" if first.e50 is None else number(first.e50)
        axis = SPACES[result.space].axis
        name = f"{axis[0].upper()}{axis[1:]} for {words.share(result)}"
        facts.append((name, needs, f"ordinary classes: {words.ordinary(first, result)}"))
    if result.classes:
        c = result.coverage
        held_out = count(c.held_out, "held-out image")
        facts.append(("Classes examined", f"{c.classes_examined:,} of {c.classes_total:,}", f"on {held_out}"))
    if result.cost.seconds:
        facts.append(("Time", duration(result.cost.seconds), f"on {result.cost.device}"))
    return tuple(facts)


def _chart_note(ranked: list[ClassResult], in_charts: list[ClassResult]) -> str:
    if len(in_charts) == len(ranked):
        return ""
    return f"The {len(in_charts)} highest-ranked of {len(ranked):,} classes; all of them are in the table below."


def _spaces(result: ScanResult, names: Mapping[int, str], flagged: set[int]) -> tuple[SpaceRow, ...]:
    """Return a row for each space that was searched, in the order of the search."""
    rows = []
    for found in result.spaces:
        space = SPACES[found.space]
        rows.append(
            SpaceRow(
                title=space.title,
                measure=f"{space.axis} for {share(found.level)} of the images"
                + ("; searched through the denoiser" if found.denoised else ""),
                label=names.get(found.index, str(found.index)),
                e50="not reached" if found.e50 is None else number(found.e50),
                reference=number(found.reference),
                anomaly=f"{found.anomaly:.2f}",
                transfer=percent(found.transfer_rate),
                reported=found.space == result.space,
                flagged=found.space == result.space and found.index in flagged,
            )
        )
    return tuple(rows)


def _bars_note(in_charts: list[ClassResult], space: SpaceWords) -> str:
    budgets = sorted({number(c.epsilon) for c in in_charts}, key=float)
    sigmas = sorted({f"{c.sigma:g}" for c in in_charts}, key=float)
    return f"at {space.budget.format(_range(budgets))} and noise level \u03c3 = {_range(sigmas)}"


def _range(values: list[str]) -> str:
    return values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}" if values else ""


def _coverage(result: ScanResult) -> tuple[Row, ...]:
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


def _model(result: ScanResult) -> tuple[Row, ...]:
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


def _input_spec(spec: InputSpec) -> tuple[tuple[str, str, str], ...]:
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


def _safety(result: ScanResult) -> tuple[Row, ...]:
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


def _write_back(result: ScanResult) -> tuple[Row, ...]:
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


def _cost(result: ScanResult) -> tuple[Row, ...]:
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


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[Row]:
    """Yield nested configuration as dotted names."""
    for key, value in sorted(values.items()):
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            yield f"{prefix}{key}", ", ".join(map(str, value)) or "none"
        else:
            yield f"{prefix}{key}", _setting(value)
