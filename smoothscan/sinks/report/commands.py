"""What has to be typed for a step: commands, and waivers that only lack who answers for them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import chain
from pathlib import Path

from smoothscan.credentials import without_credentials
from smoothscan.result import Finding, ScanResult
from smoothscan.sinks.findings import subject
from smoothscan.sinks.text import instant, plain

WAIVERS = "smoothscan-waivers.toml"
"""The file that the waivers are meant for, unless the scan had one."""
CALIBRATION = "clean.json"
"""The file that a calibration is written to."""
FLAGS = ("pairs", "allow_model_code", "no_write_back", "no_cache", "redact_images", "attest")
"""Options in the command of a scan that take no value."""
OF_CHECK_ONLY = (
    *("calibration", "labels", "no_write_back", "output_dir", "format", "redact_images", "fail_on", "waivers"),
    *("baseline", "sarif_anchor", "attest", "attest_key", "set_alias"),
)
"""Options in the command of a scan that `smoothscan calibrate` does not take."""
LOG_AS_PT2 = """mlflow.pytorch.log_model(
    model, name="model", input_example=images, serialization_format="pt2",
)"""
"""How a model is stored as data."""

_FOLDER = "smoothscan-report"
_WAIVED_FOR = timedelta(days=90)


def again(command: str, *, without: Sequence[str] = (), **options: str | None) -> str:
    """Return the command with other options; empty where there is none.

    Args:
        command: a command line of `smoothscan check`.
        without: options that are left out, by name as below.
        options: by name without dashes, `_` for `-`; None for an option that takes no value. `uri` is the model.
    """
    head, given = _read(command)
    if not head:
        return ""
    uri = options.pop("uri", None)
    for name in without:
        given.pop(name, None)
    given |= {name: [_option(name)] if value is None else [_option(name), value] for name, value in options.items()}
    return shlex.join([*head[:2], uri or head[2], *chain.from_iterable(given.values())])


def _read(command: str) -> tuple[list[str], dict[str, list[str]]]:
    """Return the three words before the options, and the words of each option by its name; none of any other text."""
    try:
        words = shlex.split(command)
    except ValueError:
        return [], {}
    if len(words) < 3:
        return [], {}
    given: dict[str, list[str]] = {}
    rest = words[3:]
    while rest:
        option, joined, _ = rest[0].partition("=")
        name = option.removeprefix("--").replace("-", "_")
        n = 1 if joined or name in FLAGS else 2
        given[name], rest = rest[:n], rest[n:]
    return words[:3], given


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def value(command: str, name: str) -> str:
    """Return the value of an option of the command; empty where it has none."""
    words = _read(command)[1].get(name, [])
    return words[1] if len(words) == 2 else ""


def pinned(command: str, result: ScanResult) -> str:
    """Return the command for the version that was scanned: an alias may be on another one by the time it is typed."""
    m = result.model
    named = m.name is not None and m.resolved_uri is not None  # a folder is where the user says
    return (again(command, uri=m.resolved_uri) if named else "") or command


def beside(command: str, what: str, *, without: Sequence[str] = (), **options: str | None) -> str:
    """Return the command of another scan, which leaves the results of this one where they are; see `again`.

    Args:
        command: the command line of this scan.
        what: what is different, as the end of the other folder's name.
        without: see `again`.
        options: see `again`.
    """
    here = Path(value(command, "output_dir") or _FOLDER)
    there = here.with_name(f"{here.name}-{what}") if here.name not in ("", "..") else here / what
    return again(command, without=without, **options, output_dir=str(there))


def searched(command: str, what: str, **options: str | None) -> str:
    """Return the command of a scan that searches otherwise; see `beside`.

    What the other profile does not take is left out, and so is a calibration: it holds for one kind of search only.
    """
    dropped = {"standard": ("spaces",), "paper": ("spaces", "pairs", "synthesis_images")}
    return beside(command, what, without=("calibration", *dropped.get(options.get("profile") or "", ())), **options)


def other_seed(command: str) -> str:
    """Return the command with the next seed; an alias stays where it is, and the tags tell of the scan that they do."""
    given = value(command, "seed")
    seed = str(int(given) + 1 if given.isdecimal() and len(given) < 10 else 1)
    return beside(command, f"seed-{seed}", without=("set_alias",), seed=seed, no_write_back=None)


def calibrate(command: str) -> str:
    """Return the command that learns from clean models, searching as this scan did; empty if it names no images."""
    head, given = _read(again(command, without=OF_CHECK_ONLY))
    if "images" not in given:
        return ""
    clean = ["models:/CLEAN_MODEL/1", "models:/CLEAN_MODEL/2"]
    words = chain.from_iterable(given.values())
    return shlex.join([head[0], "calibrate", "--clean", *clean, *words, "--output", CALIBRATION])


def output_folder(result: ScanResult) -> str:
    """Return the folder that the scan wrote to."""
    return str(result.config.get("output_dir") or _FOLDER).rstrip("/")


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
