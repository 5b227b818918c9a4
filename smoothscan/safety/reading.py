"""What a pickle would do, and the stand-ins for the objects that it would make."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_MAX_FINDINGS = 20


@dataclass(frozen=True, slots=True)
class Name:
    """Something that is imported."""

    module: str
    name: str

    @property
    def full(self) -> str:
        """The dotted name."""
        return f"{self.module}.{self.name}".rstrip(".")


@dataclass(frozen=True, slots=True)
class Made:
    """An object that the pickle makes."""

    by: Any = None
    """What is called to make it; None for plain containers."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers that lie outside of the pickle."""

    type: str
    key: str
    numel: int


@dataclass
class Reading:
    """What a pickle would do."""

    names: set[str] = field(default_factory=set)
    """Dotted names that it refers to, those of data apart."""
    dangerous: list[str] = field(default_factory=list)
    """What no ordinary pickle does."""
    runs_code: bool = False
    """Whether it does more than build tensors and plain containers."""
    storages: dict[str, Storage] = field(default_factory=dict)
    """Numbers that it wants from outside, by key."""
    nested: list[bytes] = field(default_factory=list)
    """Files of torch.save inside strings of the pickle, which are loaded as well."""
    result: Any = None
    """What it ends with, if that is a constant."""

    def suspect(self, finding: str) -> None:
        """Note something that no ordinary pickle does."""
        self.runs_code = True
        if finding not in self.dangerous and len(self.dangerous) < _MAX_FINDINGS:
            self.dangerous.append(finding)
