"""What `smoothscan check --dry-run` says, in plain lines."""

from __future__ import annotations

from smoothscan.config import ScanConfig
from smoothscan.preview import Preview
from smoothscan.products import ATTESTATION, PERTURBATIONS, PRODUCTS, REPORTS, RESULT
from smoothscan.result import InputSpec, ScanResult, Waiver
from smoothscan.sinks.text import count, duration, moment, number, plain, shorten, size
from smoothscan.vocabulary import titles

_LABELS = 5  # classes that are named
_PARTS = ("layout", "dtype", "value_range", "mean", "std", "resize")


def as_text(found: Preview, config: ScanConfig, waivers: tuple[Waiver, ...], baseline: ScanResult | None) -> str:
    """Return what would be scanned, how, at which cost, and what would follow, in lines."""
    lines = [
        ("model", _model(found)),
        ("code", _code(found)),
        ("images", _images(found, config)),
        *(("skipped", each) for each in found.skipped),
        *(("input", line) for line in _input(found.spec)),
        ("classes", _classes(found)),
        ("search", _search(found, config)),
        ("cached", _cached(found, config)),
        ("cost", _cost(found, config)),
        *(("limit", line) for line in _limits(found, config)),
        ("gate", _gate(found, config, waivers, baseline)),
        ("files", _files(config)),
        ("registry", _registry(found, config)),
        ("note", "Nothing was searched, and nothing was written. Leave out --dry-run to scan."),
    ]
    return "\n".join(f"{caption:<8} {plain(text)}" for caption, text in lines)


def _model(found: Preview) -> str:
    model = found.model
    parts = [model.resolved_uri or model.uri, str(model.flavor), size(found.size), str(model.digest)]
    return ", ".join(([model.uri + " is " + parts[0]] if parts[0] != model.uri else parts[:1]) + parts[1:])


def _code(found: Preview) -> str:
    if not found.safety.needs_model_code:
        return "the model brings none along"
    where = "inside the sandbox" if found.safety.sandboxed else "without a sandbox, as --allow-model-code says"
    return f"the model brings code along; it runs {where}, and ran there just now"


def _images(found: Preview, config: ScanConfig) -> str:
    parts = [f"{count(found.images, 'usable image')} in {config.images}"]
    if found.left_out:
        parts.append(f"{found.left_out:,} more left out: too many for --memory, or to matter")
    made = shorten(", ".join(found.synthesis), 60)
    parts.append(f"perturbations are made from {len(found.synthesis)} ({made})")
    if found.screening:
        parts.append(f"classes are screened on {found.screening}")
    parts.append(f"transfer is counted on the other {found.held_out}, in two halves")
    return "; ".join(parts)


def _input(spec: InputSpec) -> list[str]:
    shape = f"{spec.channels} x {spec.height} x {spec.width}"
    sources = sorted({spec.sources.get(part, "default") for part in ("channels", "height", "width")})
    lines = [f"{shape} ({', '.join(sources)})"]
    for part in _PARTS:
        value = getattr(spec, part)
        shown = ", ".join(f"{each:g}" for each in value) if isinstance(value, tuple) else value
        if value is not None:
            lines.append(f"{part} {shown} ({spec.sources.get(part, 'default')})")
    if spec.mean is None:
        lines.append("no mean and std: the model normalises by itself, or not at all")
    lines.append(f"the model answers {str(spec.outputs).replace('_', ' ')}")
    return lines


def _classes(found: Preview) -> str:
    text = f"{found.n_classes:,}"
    if found.labels is not None:
        more = ", ..." if len(found.labels) > _LABELS else ""
        text += f" ({', '.join(shorten(label, 24) for label in found.labels[:_LABELS])}{more})"
    if found.in_full < found.n_classes:
        return f"{text}; {found.in_full} of them are searched in full in each kind of trigger, the others screened"
    return f"{text}, each searched in full"


def _search(found: Preview, config: ScanConfig) -> str:
    profile = config.search()
    levels = "noise level from a probe of the model"
    if profile.sigmas is not None:
        levels = f"noise level {', '.join(f'{sigma:g}' for sigma in profile.sigmas)}"
    pairs = ["pairs"] if config.pairs else []
    parts = [f"profile {config.profile}", titles([*found.spaces, *pairs]), levels, f"seed {config.seed}"]
    if config.denoiser is not None:
        parts.append(f"denoiser {config.denoiser} ({config.denoising})")
    if config.calibration is not None:
        parts.append(f"judged by the calibration {config.calibration}")
    return "; ".join(parts)


def _cached(found: Preview, config: ScanConfig) -> str:
    if found.kept is None:
        return "no: the same scan was not done before" if config.cache else "not looked at: --no-cache"
    if found.kept.finished_at is None:
        return "in part: the same scan was stopped, and goes on from there at less than this cost"
    return f"yes: the same scan was done {moment(found.kept.finished_at)} and is taken from there, at no cost"


def _cost(found: Preview, config: ScanConfig) -> str:
    cost = found.cost
    per_pass = f"{number(1000 * cost.seconds_per_pass, 2)} ms a pass on {found.device} in {found.precision}"
    text = (
        f"about {_rounded(cost.total_passes):,} model passes and {duration(_rounded(cost.seconds))} ({per_pass}, "
        f"batches of {found.batch_size}); an estimate: how far a search goes depends on what it finds, and how fast on "
        "what else runs on this machine"
    )
    return text if config.denoiser is None else f"{text}. What the denoiser takes comes on top"


def _rounded(value: float) -> int:
    """Return a number with two digits that mean something."""
    return int(float(f"{value:.2g}"))


def _limits(found: Preview, config: ScanConfig) -> list[str]:
    lines = []
    if found.cost.seconds > config.time_limit:
        lines.append(f"--time-limit is {duration(config.time_limit)}: the scan would be stopped, and count as failed")
    if config.time_budget is not None and found.cost.seconds > config.time_budget:
        lines.append(f"--time-budget is {duration(config.time_budget)}: not everything would be searched to its end")
    return lines


def _gate(found: Preview, config: ScanConfig, waivers: tuple[Waiver, ...], baseline: ScanResult | None) -> str:
    parts = [f"exits with 1 from {config.fail_on} on"]
    if config.waivers is not None:
        mine = sum(waiver.model_digest == found.model.digest for waiver in waivers)
        parts.append(f"{mine} of {count(len(waivers), 'waiver')} in {config.waivers} are for these files")
    if baseline is not None:
        parts.append(f"findings of {baseline.model.resolved_uri or baseline.model.uri} are known")
    if config.set_alias is not None:
        parts.append(f"if it passes, the alias {config.set_alias} moves to this version")
    return "; ".join(parts)


def _files(config: ScanConfig) -> str:
    reports = [REPORTS[name] for name in config.formats if name != "json"]
    names = [RESULT, *reports, f"{PERTURBATIONS}/", *([ATTESTATION] if config.attest else [])]
    there = [name for name in PRODUCTS if (config.output_dir / name).exists()]
    replaced = "; what an earlier scan left there is replaced" if there else ""
    return f"{', '.join(names)} in {config.output_dir}{replaced}"


def _registry(found: Preview, config: ScanConfig) -> str:
    if not config.write_back:
        return "nothing is written: --no-write-back"
    if found.model.name is None and found.model.run_id is None and found.model.model_id is None:
        return "nothing is written: the model comes from no MLflow registry or run"
    run = "a run in the experiment smoothscan"
    if found.model.name is None or found.model.version is None:
        return f"{run}; no tags, since the model is no registered version"
    return f"tags smoothscan.* on version {found.model.version} of {found.model.name}, and {run}"
