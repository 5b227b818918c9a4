"""What has to be typed for a step: commands, and waivers that only lack who answers for them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from datetime import date, timedelta

from smoothscan.credentials import without_credentials
from smoothscan.result import Finding, ScanResult
from smoothscan.sinks.findings import subject
from smoothscan.sinks.text import instant, plain

WAIVERS = "smoothscan-waivers.toml"
"""The file that the waivers are meant for."""
LOG_AS_PT2 = """mlflow.pytorch.log_model(
    model, name="model", input_example=images, serialization_format="pt2",
)"""
"""How a model is stored as data."""

_WAIVED_FOR = timedelta(days=90)


def again(command: str, **options: str | None) -> str:
    """Return the command with other options; empty where there is none.

    Args:
        command: a command line.
        options: by name without dashes, `_` for `-`; None for an option that takes no value. `uri` is the model.
    """
    try:
        parts = shlex.split(command)
    except ValueError:
        return ""
    if len(parts) < 3:
        return ""
    if (uri := options.pop("uri", None)) is not None:
        parts[2] = uri
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if option not in parts:
            parts += [option] if value is None else [option, value]
        elif value is not None:
            parts[parts.index(option) + 1 : parts.index(option) + 2] = [value]
    return shlex.join(parts)


def other_seed(command: str) -> str:
    """Return the command with the next seed."""
    found = re.search(r"--seed (\d{1,9})(?!\d)", command)
    return again(command, seed=str(int(found[1]) + 1 if found else 1))


def calibrate(command: str) -> str:
    """Return the command that learns from clean models; empty where the command names no images."""
    parts = shlex.split(command) if again(command) else []
    if "--images" not in parts[:-1]:
        return ""
    images = parts[parts.index("--images") + 1]
    profile = parts[parts.index("--profile") : parts.index("--profile") + 2] if "--profile" in parts else []
    clean = ["models:/CLEAN_MODEL/1", "models:/CLEAN_MODEL/2"]
    words = ["smoothscan", "calibrate", "--clean", *clean, "--images", images, *profile, "--output", "clean.json"]
    return shlex.join(words)


def output_folder(result: ScanResult) -> str:
    """Return the folder that the scan wrote to."""
    return str(result.config.get("output_dir") or "smoothscan-report").rstrip("/")


def replay(result: ScanResult) -> str:
    """Return the command that tries the saved triggers on a new version."""
    model = f"models:/{result.model.name}/NEW_VERSION" if result.model.name else "NEW_MODEL"
    return shlex.join(["smoothscan", "verify", model, "--against", f"{output_folder(result)}/result.json"])


def off_every_alias(result: ScanResult) -> str:
    """Return the command that takes every alias off the scanned version.

    Names are Python literals inside a quoted word of the shell: whatever a registry calls a model, it stays a name.
    """
    stores = ((key, without_credentials(str(result.config.get(key) or ""))) for key in ("tracking_uri", "registry_uri"))
    client = f"MlflowClient({', '.join(f'{key}={json.dumps(uri)}' for key, uri in stores if uri)})"
    name, version = (json.dumps(text, ensure_ascii=False) for text in (result.model.name, result.model.version))
    aliases = f"c.get_model_version({name}, {version}).aliases"
    code = f"from mlflow import MlflowClient; c = {client}; "
    return shlex.join(["python", "-c", code + f"[c.delete_registered_model_alias({name}, a) for a in {aliases}]"])


def waivers(result: ScanResult, findings: Sequence[Finding]) -> str:
    """Return a waiver for each finding as TOML, bound to the model's files; each is refused until it is signed."""
    last = _day_of(result) + _WAIVED_FOR
    return "\n\n".join(_waiver(f, result.model.digest or "", last) for f in findings)


def _waiver(finding: Finding, digest: str, last: date) -> str:
    lines = ["[[waiver]]", f'model_digest = "{digest}"']
    if finding.rule != "target-class":
        lines.append(f'rule = "{finding.rule}"')
    if finding.source is not None:
        lines.append(f"source = {finding.source}")
    if finding.index is not None:
        lines.append(f"class = {finding.index}")
    lines[-1] += f"  # {plain(subject(finding), 100)}"
    lines += [
        'reason = ""  # why this is no backdoor, and who looked at it where',
        'owner = ""  # who answers for it',
        f"expires = {last.isoformat()}  # the last day, in UTC",
    ]
    return "\n".join(lines)


def _day_of(result: ScanResult) -> date:
    at = instant(result.finished_at) or instant(result.started_at)
    return date.today() if at is None else at.date()
