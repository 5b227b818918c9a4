"""The file of waivers: findings that somebody answers for until a day, each bound to one model's bytes."""

from __future__ import annotations

import re
import tomllib
from datetime import date, datetime
from pathlib import Path
from typing import Any, get_args

from smoothscan.errors import ConfigError
from smoothscan.result import RuleName, Waiver
from smoothscan.suggestions import did_you_mean

_KEYS = ("model_digest", "rule", "class", "source", "reason", "owner", "expires")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_EXAMPLE = """write it so:
[[waiver]]
model_digest = "sha256:..."  # model.digest in result.json
class = 3
reason = "every image of this class shows the same sign"
owner = "ann@example.org"
expires = 2027-01-31"""


def read_waivers(path: Path) -> tuple[Waiver, ...]:
    """Read a file of waivers; one that has expired is no mistake, and is returned like the others.

    Args:
        path: a TOML file with a table `[[waiver]]` for each waiver.

    Raises:
        ConfigError: the file cannot be read, or something in it is missing, unknown, wrong or there twice.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"the waivers file {path} cannot be read: {error}", _EXAMPLE) from None
    for key in data:
        _known(key, ("waiver",), str(path), "tables are headed [[waiver]]")
    tables = data.get("waiver", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{path}: waiver is no list of tables", "head each one with [[waiver]], in double brackets")
    waivers: dict[tuple[object, ...], Waiver] = {}
    for position, table in enumerate(tables, 1):
        where = f"{path}, waiver {position}"
        waiver = _waiver(table, where)
        about = (waiver.model_digest, waiver.rule, waiver.index, waiver.source)
        if about in waivers:
            raise ConfigError(f"{where} is about the same finding as an earlier one", "leave one of the two out")
        waivers[about] = waiver
    return tuple(waivers.values())


def _waiver(table: dict[str, Any], where: str) -> Waiver:
    for key in table:
        _known(key, _KEYS, where, f"known keys: {', '.join(_KEYS)}")
    rule = table.get("rule", "target-class")
    if rule not in get_args(RuleName):
        raise ConfigError(f"{where}: {rule!r} is no rule", f"choose from {', '.join(get_args(RuleName))}")
    needed = {"class-pair": ("class", "source"), "target-class": ("class",), "hard-step": ()}[rule]
    for key in ("class", "source"):
        if (key in table) != (key in needed):
            fault = "is missing" if key in needed else "is out of place"
            raise ConfigError(f"{where}: {key} {fault} for the rule {rule}", _about(rule))
    digest = _text(table, "model_digest", where)
    if not _DIGEST.fullmatch(digest):
        raise ConfigError(
            f"{where}: {digest!r} is no model digest",
            'copy model.digest from result.json: "sha256:" and 64 hexadecimal digits',
        )
    return Waiver(
        model_digest=digest,
        rule=rule,
        index=_index(table, "class", where),
        source=_index(table, "source", where),
        reason=_text(table, "reason", where),
        owner=_text(table, "owner", where),
        expires=_day(table, where),
    )


def _about(rule: str) -> str:
    return {
        "target-class": "a target class is waived by class, its index among the model's outputs",
        "class-pair": "a pair is waived by class, the index of its target, and source, the index of its source class",
        "hard-step": "hard steps are waived for the model as a whole",
    }[rule]


def _text(table: dict[str, Any], key: str, where: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        fault = "is missing" if value is None else "has to be a text, and not an empty one"
        raise ConfigError(f"{where}: {key} {fault}", _EXAMPLE)
    return value.strip()


def _index(table: dict[str, Any], key: str, where: str) -> int | None:
    value = table.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise ConfigError(f"{where}: {key} has to be the index of a class, not {value!r}", "indices start at 0")
    return value


def _day(table: dict[str, Any], where: str) -> date:
    value = table.get("expires")
    if value is None:
        raise ConfigError(f"{where}: expires is missing", "a waiver has a last day: expires = 2027-01-31")
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ConfigError(f"{where}: expires has to be a day, not {value!r}", "write expires = 2027-01-31, unquoted")
    return value


def _known(key: str, keys: tuple[str, ...], where: str, otherwise: str) -> None:
    if key not in keys:
        raise ConfigError(f"{where} has an unknown key: {key}", did_you_mean(key, keys) or otherwise)
