"""What `smoothscan doctor` looks at beside the sandbox: versions, device, extras, registry, folders, configuration.

Nothing here writes anything, apart from a file in each folder that goes again at once.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from smoothscan.capacity import own_cores
from smoothscan.errors import SmoothscanError
from smoothscan.result import Record
from smoothscan.sinks.text import size

State = Literal["ok", "warning", "problem"]

EXTRAS: dict[str, tuple[tuple[str, ...], str]] = {
    "denoiser": (("diffusers",), "diffusion models that take the noise off images (--denoiser)"),
    "transformers": (("transformers",), "models of the flavor transformers"),
    "timm": (("timm",), "weights of timm's networks (--architecture timm/NAME)"),
    "torchvision": (("torchvision",), "weights of torchvision's networks (--architecture torchvision/NAME)"),
    "onnx": (("onnx", "onnx2fx"), "models of the flavor onnx"),
    "postgresql": (("psycopg",), "a ledger in PostgreSQL (--ledger postgresql+psycopg://...)"),
    "ray": (("ray",), "sweeps on a Ray cluster (--engine ray)"),
    "serve": (("prometheus_client", "starlette", "uvicorn"), "webhooks (smoothscan serve)"),
}
"""Extras of the package: the modules that each installs, and what it gives."""

_MLFLOW = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
_LITTLE = 2 * 2**30
"""Free bytes below which a folder is worth a warning: models and results are copied there."""


class Found(Record):
    """One thing that was looked at."""

    topic: str
    """What it is about."""
    state: State
    """`ok`; `warning`: something is missing that some scans need; `problem`: what was asked for does not work so."""
    message: str
    """What was found."""
    hint: str = ""
    """What to do about it; empty where it is ok."""


def look(config_file: Path | None, tracking_uri: str | None, registry_uri: str | None) -> Iterator[Found]:
    """Look at everything but the sandbox, one after the other.

    Args:
        config_file: the configuration file that was named; None for the one found here.
        tracking_uri: MLflow tracking server; None for the file's, else MLflow's own setting.
        registry_uri: MLflow model registry; the same.
    """
    yield _versions()
    yield _device()
    yield from map(extra, EXTRAS)
    found, values = configuration(config_file)
    yield found
    yield _registry(tracking_uri or values.get("tracking_uri"), registry_uri or values.get("registry_uri"))
    yield from _places(values)


def _versions() -> Found:
    from smoothscan.draft import environment

    versions = ", ".join(f"{name} {version}" for name, version in environment("").items())
    return Found(topic="versions", state="ok", message=versions)


def _device() -> Found:
    import torch

    from smoothscan.devices import native_bfloat16, pick_device

    device = pick_device("auto")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "no accelerator that torch can use"
    arithmetic = "bfloat16" if native_bfloat16(device) else "float32"
    cores = own_cores()
    message = f"{device.type} ({name}), {cores} cores, {torch.get_num_threads()} threads, {arithmetic} is fast there"
    return Found(topic="device", state="ok", message=message)


def extra(name: str) -> Found:
    """Find out whether an extra is installed."""
    modules, gives = EXTRAS[name]
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        return Found(
            topic=f"extra {name}",
            state="ok",
            message=f"not installed: no {gives}",
            hint=f"pip install 'smoothscan[{name}]', if you need it",
        )
    versions = ", ".join(f"{module.replace('_', '-')} {metadata.version(module)}" for module in modules)
    return Found(topic=f"extra {name}", state="ok", message=f"installed ({versions}): {gives}")


def configuration(named: Path | None) -> tuple[Found, dict[str, str | Path]]:
    """Return what is to be said of the configuration file, and those of its values that matter here."""
    from smoothscan.cli.settings import choices

    topic = "configuration"
    try:
        chosen = choices({"config_file": named})
        values = chosen.common("smoothscan-report")
        if "images" in chosen.general.values:
            chosen.of("models:/any/1")
    except SmoothscanError as error:
        return Found(topic=topic, state="problem", message=error.message, hint=error.hint or "Mend the file."), {}
    if chosen.origin is None:
        message = "no smoothscan.toml here, and no table [tool.smoothscan] in a pyproject.toml: defaults and options"
        return Found(topic=topic, state="ok", message=message), {}
    settings = {
        "tracking_uri": values.tracking_uri,
        "registry_uri": values.registry_uri,
        "output_dir": values.output_dir,
        "cache_dir": values.cache_dir,
        "ledger": chosen.sweep.get("ledger"),
    }
    found = Found(topic=topic, state="ok", message=f"{chosen.origin} is valid")
    return found, {name: value for name, value in settings.items() if value is not None}


def _registry(tracking_uri: object, registry_uri: object) -> Found:
    """Ask the registry for one model. Scans of folders need none, so that only one that was named has to be there."""
    from smoothscan.sources.inventory import reach

    stores = {
        "tracking_uri": None if tracking_uri is None else str(tracking_uri),
        "registry_uri": None if registry_uri is None else str(registry_uri),
    }
    try:
        name, models = reach(**stores)
    except SmoothscanError as error:
        named = any(stores.values()) or any(os.environ.get(name) for name in _MLFLOW)
        state: State = "problem" if named else "warning"
        return Found(topic="registry", state=state, message=error.message, hint=error.hint)
    if not models:
        hint = "If models are there, pass --tracking-uri or set MLFLOW_TRACKING_URI to the server that has them."
        return Found(topic="registry", state="warning", message=f"{name} answers, and holds no models", hint=hint)
    return Found(topic="registry", state="ok", message=f"{name} answers, and holds models")


def _places(values: dict[str, str | Path]) -> Iterator[Found]:
    """Yield what is to be said of the folders that scans write to."""
    from smoothscan.cache import default_folder
    from smoothscan.cli.fleet_setup import LEDGER
    from smoothscan.credentials import without_credentials
    from smoothscan.fleet.ledger import default_ledger

    ledger = str(os.environ.get(LEDGER) or values.get("ledger") or default_ledger())
    if "://" in ledger:
        message = f"{without_credentials(ledger)} is a database; smoothscan sweep --dry-run tells whether it answers"
        yield Found(topic="ledger", state="ok", message=message)
    else:
        yield place("ledger", Path(ledger).parent, "pass another --ledger to smoothscan sweep")
    cache = Path(values.get("cache_dir", default_folder()))
    yield place("cache", cache, "pass another --cache-dir, or --no-cache")
    output = Path(values.get("output_dir", "smoothscan-report"))
    yield place("output folder", output, "pass another --output-dir")
    yield place("temporary files", Path(tempfile.gettempdir()), "set TMPDIR to another folder")


def place(topic: str, folder: Path, instead: str) -> Found:
    """Find out whether a folder can be made or written to, and how much room there is."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):  # only a write tells
            pass
        free = shutil.disk_usage(there).free
    except OSError as error:
        message = f"{folder} cannot be written to: {error.strerror}"
        return Found(topic=topic, state="problem", message=message, hint=f"Change its permissions, or {instead}.")
    message = f"{folder} can be written to, {size(free)} free"
    if free < _LITTLE:
        hint = f"Make room, or {instead}: models and results are copied there."
        return Found(topic=topic, state="warning", message=message, hint=hint)
    return Found(topic=topic, state="ok", message=message)
