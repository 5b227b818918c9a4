"""Reads the values of options, wherever they were written: `512MB`, `30m`, `32x32`, `0.5,0.5,0.5`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from smoothscan.suggestions import did_you_mean
from smoothscan.vocabulary import MOST_SECONDS, SPACES, SpaceName

FORMATS = ("html", "json", "sarif", "junit", "markdown")

if TYPE_CHECKING:
    from smoothscan.fleet.plan import Shard

_SIZES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_TIMES = {"": 1, "S": 1, "M": 60, "H": 3600, "D": 86400}
_NUMBER_AND_UNIT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def parse_bytes(text: str) -> int:
    """Read an amount of memory, such as `512MB`, `1.5GiB` or `1000000`; return bytes.

    Raises:
        ValueError: `text` is no such amount.
    """
    return round(_with_unit(text, _SIZES, "an amount of memory such as 512MB or 2GiB"))


def parse_seconds(text: str) -> float:
    """Read a time span, such as `90`, `90s`, `30m`, `1.5h` or `7d`; return seconds.

    Raises:
        ValueError: `text` is no such time span.
    """
    seconds = _with_unit(text, _TIMES, "a time span such as 90s, 30m, 2h or 7d")
    if seconds > MOST_SECONDS:
        raise ValueError(f"{text!r} is more than 100 years; write a time span such as 90s, 30m, 2h or 7d")
    return seconds


def parse_size(text: str) -> tuple[int, int]:
    """Read `HxW`, such as `32x32`, or one number for a square; return height and width in pixels.

    Raises:
        ValueError: `text` is no such size.
    """
    found = re.fullmatch(r"\s*(\d+)(?:\s*[xX]\s*(\d+))?\s*", text)
    if found is None:
        raise ValueError(f"{text!r} is not a size such as 224x224 (height x width)")
    return int(found[1]), int(found[2] or found[1])


def parse_numbers(text: str) -> tuple[float, ...]:
    """Read numbers separated by commas, such as `0.485,0.456,0.406`.

    Raises:
        ValueError: something between the commas is no number.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{text!r} is not a list of numbers such as 0.5,0.5,0.5") from None


def parse_range(text: str) -> tuple[float, float]:
    """Read two numbers separated by a comma, such as `0,255`.

    Raises:
        ValueError: `text` is anything else.
    """
    numbers = parse_numbers(text)
    if len(numbers) != 2:
        raise ValueError(f"{text!r} is not a pair of numbers such as 0,1 or 0,255")
    return numbers[0], numbers[1]


def parse_formats(text: str) -> tuple[str, ...]:
    """Read report formats separated by commas, such as `html,json`.

    Raises:
        ValueError: a format is unknown.
    """
    names = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise ValueError(f"{', '.join(unknown) or 'nothing'} is not a report format; {_choices(unknown, FORMATS)}")
    return names


def parse_shard(text: str) -> Shard:
    """Read `i/n`, such as `0/4`: the first of four parts.

    Raises:
        ValueError: `text` is no such part.
    """
    from smoothscan.fleet.plan import Shard

    found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    if found is None or not int(found[1]) < int(found[2]):
        raise ValueError(f"{text!r} is no part such as 0/4, 1/4, 2/4 or 3/4")
    return Shard(index=int(found[1]), count=int(found[2]))


def parse_spaces(text: str) -> tuple[SpaceName, ...]:
    """Read trigger spaces separated by commas, such as `l2,patch`; `all` stands for every one.

    Raises:
        ValueError: a space is unknown.
    """
    names = dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip())
    unknown = [name for name in names if name not in SPACES and name != "all"]
    if unknown or not names:
        raise ValueError(
            f"{', '.join(unknown) or 'nothing'} is not a trigger space; {_choices(unknown, (*SPACES, 'all'))}"
        )
    return tuple(space for space in SPACES if space in names or "all" in names)


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """A click type around one of the readers above.

    Args:
        name: what the help shows in place of the value, in capitals.
        read: the reader; its ValueError becomes a usage error.
        known: names that the value is a list of, for shells to complete.
    """

    def __init__(self, name: str, read: Callable[[str], Any], known: Sequence[str] = ()) -> None:
        self.name = name
        self._read = read
        self._known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return what `value` means; fail with a usage error if it means nothing."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return what the value may become."""
        return _with_known(self._known, incomplete)


def _with_known(known: Sequence[str], incomplete: str) -> list[CompletionItem]:
    """Return lists of names that begin with an incomplete one."""
    before, comma, last = incomplete.rpartition(",")
    taken = before.split(",")
    return [CompletionItem(f"{before}{comma}{name}") for name in known if name.startswith(last) and name not in taken]


def _choices(unknown: Sequence[str], known: Sequence[str]) -> str:
    """Return what may be written instead of unknown names, what is like the first of them before the rest."""
    question = did_you_mean(unknown[0], known) if unknown else ""
    return " ".join(filter(None, (question, f"choose from {', '.join(known)}")))


def _with_unit(text: str, units: dict[str, int], expected: str) -> float:
    found = _NUMBER_AND_UNIT.fullmatch(text)
    if found is None or found[2].upper() not in units:
        raise ValueError(f"{text!r} is not {expected}")
    return float(found[1]) * units[found[2].upper()]
