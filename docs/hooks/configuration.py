"""The reference of the configuration file, from the model that validates it, and of environment variables."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import click
from commands import anchor, commands, key_of, options
from words import code, defined, kind_of, prose

from smoothscan.cli.tables import FIELDS, INPUT_FIELDS
from smoothscan.config import InputConfig, ScanConfig

ROOT = Path(__file__).parents[2]

HEAD = """# Configuration

`smoothscan.toml` in the current folder is read by `check`, `sweep`, `verify`, `calibrate` and `serve`, and so is a
table `[tool.smoothscan]` of `pyproject.toml`; `--config FILE` names another file. Options on the command line win over
the file. Paths in the file are relative to its folder. A key that does not exist is an error.

```toml
images = "clean-images"
profile = "standard"
time_limit = "30m"

[input]
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]

[[model]]
name = "traffic-*"
images = "clean-images/signs"

[sweep]
workers = 2
```

Times and sizes are numbers of seconds and bytes, or text such as `"30m"` and `"2GiB"`. *None* below means that the key
is left out.

A file that merely lies in the current folder may be part of a checkout that others write to, so that it may do less
than one that `--config` names: `allow_model_code` and `cache_dir` are refused there; so are `tracking_uri` and
`registry_uri` where MLflow has credentials (`MLFLOW_TRACKING_USERNAME`, `_PASSWORD`, `_TOKEN` or `_AUTH`, or the file
`~/.mlflow/credentials`), which it would send to that server; and `registry_uri` counts for nothing beside the option
`--tracking-uri`.
"""

VARIABLES = {
    "SMOOTHSCAN_ATTEST_PASSWORD": "Password of the key of [`attest_key`](#attest_key), if it is encrypted.",
    "SMOOTHSCAN_LEDGER": "Ledger of [`sweep`](cli.md#sweep--ledger) and `serve`, for URLs with a password in them.",
    "SMOOTHSCAN_WEBHOOK_SECRET": "Secret that [`serve`](cli.md#serve) shares with the registry's webhooks.",
}
"""What the program reads from its environment. A test compares it with the code."""
OTHERS = {
    "MLFLOW_TRACKING_URI": "Tracking server, where no option and no key names one.",
    "MLFLOW_REGISTRY_URI": "Model registry, likewise.",
    "MLFLOW_TRACKING_USERNAME": "User of the server.",
    "MLFLOW_TRACKING_PASSWORD": "Its password.",
    "MLFLOW_TRACKING_TOKEN": "A token instead of both.",
    "MLFLOW_WORKSPACE": "Workspace whose models [`serve`](cli.md#serve) scans.",
    "XDG_CACHE_HOME": "Folder of caches, in which scans are kept unless [`cache_dir`](#cache_dir) is set.",
}
"""What MLflow and others read, and people who scan have to know."""
_KINDS = {"labels": "path of a file, or list of string", "input.size": '`"HxW"`, or list of integer, integer'}
"""What some keys take that is not what the scan takes."""
_INTERNAL = {"SMOOTHSCAN_DOCTOR", "_SMOOTHSCAN_COMPLETE"}
"""Set by the program itself, for processes of its own and for the shell."""


def page() -> str:
    """Return the page."""
    scan, given = (model.model_json_schema() for model in (ScanConfig, InputConfig))
    keys = [_entry(key, (field,), scan) for key, field in FIELDS.items()]
    inputs = [_entry(f"input.{key}", fields, given) for key, fields in INPUT_FIELDS.items()]
    parts = [
        HEAD,
        "## Keys",
        "\n".join(keys),
        "## The table `[input]`",
        "What the model takes. What is left out is read from the model's signature and example, or inferred.",
        "\n".join(inputs),
        "## Tables `[[model]]`",
        "Settings of the models whose registered name fits the pattern `name`: every key above, and `input`. Later "
        "tables win over earlier ones.",
        "## The table `[sweep]`",
        "Options of [`sweep`](cli.md#sweep) itself, by their names.",
        "\n".join(_of_sweep()),
        "## Environment variables",
        "\n".join(defined(f"`{name}`", name.lower(), [text]) for name, text in (VARIABLES | OTHERS).items()),
    ]
    return "\n\n".join(parts) + "\n"


def variables_in_the_code() -> set[str]:
    """Return the environment variables of our own that the program reads."""
    files = [*(ROOT / "smoothscan").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    texts = {
        node.value
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {text for text in texts if re.fullmatch(r"_?SMOOTHSCAN_[A-Z_]+", text)} - _INTERNAL


def _entry(key: str, fields: tuple[str, ...], schema: dict[str, Any]) -> str:
    told = [schema["properties"][field] for field in fields]
    kind = _KINDS.get(key) or " and ".join(dict.fromkeys(_kind(each, schema) for each in told))
    lines = [" ".join(prose(each.get("description", "")) for each in told)]
    option = _option_of(key)
    note = f"{kind[0].upper()}{kind[1:]}."
    if len(told) == 1 and "default" in told[0] and not isinstance(told[0]["default"], dict | None):
        note += f" Default {code(json.dumps(told[0]['default']))}."
    lines.append(note + (f" Option [`{option}`](cli.md#{anchor('smoothscan check', option)})." if option else ""))
    return defined(f"`{key}`", key.replace(".", "-"), lines)


def _kind(schema: dict[str, Any], whole: dict[str, Any]) -> str:
    """Return what a key takes; a path is a text, and what may be left out is not null in TOML."""
    if "$ref" in schema:
        return _kind(whole["$defs"][schema["$ref"].rsplit("/", 1)[-1]], whole)
    choices = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
    return " or ".join("path" if each.get("format") == "path" else kind_of(each) for each in choices)


def _option_of(key: str) -> str | None:
    for context, command in commands():
        if context.command_path == "smoothscan check":
            for option in options(command, context):
                if key_of(option) == key:
                    return max(option.opts, key=len)
    return None


def _of_sweep() -> list[str]:
    """The options of `sweep` that its own table takes: those that say nothing about a scan."""
    from smoothscan.cli.sweep_table import of_the_table

    found = []
    for context, command in commands():
        if context.command_path == "smoothscan sweep":
            for option in (each for each in options(command, context) if of_the_table(each)):
                name = max(option.opts, key=len)
                link = f"[`{name}`](cli.md#{anchor(context.command_path, name)})"
                found.append(defined(f"`{key_in_table(option)}`", f"sweep-{key_in_table(option)}", [f"As {link}."]))
    return found


def key_in_table(option: click.Option) -> str:
    """Return the key of the table [sweep] that stands for an option."""
    return max(option.opts, key=len).lstrip("-").replace("-", "_")
