"""Small pieces of Markdown that the generated pages are made of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

_SPECIAL = re.compile(r"([\\*_{}\[\]#|~^])")


def plain(text: str) -> str:
    """Return running text, in which no character means anything to Markdown or HTML."""
    return _SPECIAL.sub(r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def prose(text: str) -> str:
    """Return a docstring, whose words in backquotes stay code."""
    parts = " ".join(text.split()).split("`")
    return "".join(f"`{part}`" if odd % 2 else plain(part) for odd, part in enumerate(parts))


def code(value: Any) -> str:
    """Return a value as it stands in JSON."""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def fenced(text: str, language: str) -> str:
    """Return a block of code."""
    return f"```{language}\n{text}\n```"


def defined(term: str, anchor: str, lines: Iterable[str]) -> str:
    """Return an entry of a list of definitions, to which one can link."""
    body = "\n\n    ".join(lines)
    return f"{term} {{: #{anchor} }}\n:   {body}\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def kind_of(schema: dict[str, Any]) -> str:
    """Return in words what a JSON schema allows; classes are links to their sections.

    Raises:
        ValueError: it says something that these words cannot tell.
    """
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return code(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(map(code, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(kind_of(each) for each in schema["anyOf"]))
    if "allOf" in schema and len(schema["allOf"]) == 1:
        return kind_of(schema["allOf"][0])
    kind = schema.get("type")
    if kind == "array":
        if "prefixItems" in schema:
            return "list of " + ", ".join(kind_of(each) for each in schema["prefixItems"])
        return f"list of {kind_of(schema['items'])}" if schema.get("items") else "list"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"table of {kind_of(values)}" if isinstance(values, dict) else "table"
    if kind in ("string", "integer", "number", "boolean", "null"):
        form = f" ({schema['format']})" if "format" in schema else ""
        return f"{kind}{form}{_bounds(schema)}"
    if not schema.keys() - {"title", "description", "default"}:
        return "anything"
    raise ValueError(f"what does {schema} mean?")


def _bounds(schema: dict[str, Any]) -> str:
    told = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    found = [f"{word} {schema[key]}" for key, word in told.items() if key in schema]
    return f", {', '.join(found)}" if found else ""
