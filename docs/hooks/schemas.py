"""The reference of result.json and sweep.json, from the schemas that the package ships."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from words import code, defined, kind_of, prose

PACKAGE = Path(__file__).parents[2] / "smoothscan"

RESULT = """# result.json

What a scan writes, and what `smoothscan.scan` returns as a `ScanResult`. The schema lies in the package, as
`smoothscan/result.schema.json`. Fields are added in later versions; none changes its meaning or goes away.
"""
SWEEP = """# sweep.json

What a sweep writes: how the registry stands. The schema lies in the package, as `smoothscan/sweep.schema.json`. Each
version's own [result.json](result.md) lies in `<name>/<version>/` beside it.
"""


def page(head: str, name: str) -> str:
    """Return the page of a schema.

    Args:
        head: title and first words.
        name: file name of the schema.
    """
    schema = json.loads((PACKAGE / name).read_text())
    parts = [head, prose(schema.get("description", "")), _fields(schema)]
    for title, definition in schema["$defs"].items():
        parts += [f"## {title}", prose(definition.get("description", "")), _fields(definition, title)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _fields(schema: dict[str, Any], title: str = "") -> str:
    if "properties" not in schema:
        return f"{kind_of(schema)}."
    return "\n".join(_field(name, field, title) for name, field in schema["properties"].items())


def _field(name: str, schema: dict[str, Any], title: str) -> str:
    note = kind_of(schema)
    if not isinstance(schema.get("default"), dict | list | None):
        note += f", default {code(json.dumps(schema['default']))}"
    lines = [prose(schema["description"])] if "description" in schema else []
    return defined(f"`{name}`", f"{title}-{name}".lower().lstrip("-"), [*lines, f"*{note[0].upper()}{note[1:]}.*"])
