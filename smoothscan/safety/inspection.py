"""Has every file of a folder examined; runs in a process of its own, for the scanners read hostile bytes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import FrameType

from smoothscan.safety.examiners import examiners
from smoothscan.safety.formats import promised
from smoothscan.safety.interface import Examiner, Opinion, Piece

MAX_DEPTH = 4
"""Archives in archives that are opened."""
MAX_PIECES = 20_000
"""Members of archives that are examined, in all files of a model together; raw numbers do not count."""
SECONDS = 20
"""What one scanner may take for one piece."""
_MAX_FINDINGS = 10


class _TimeOutError(Exception):
    pass


@dataclass
class Account:
    """What is known of one file, its members included."""

    understood: bool = True
    """Whether a scanner read it and all that is in it."""
    dangerous: list[str] = field(default_factory=list)
    """What no ordinary model gives rise to, each with the name of the piece in front."""
    code: list[str] = field(default_factory=list)
    """How loading it runs code."""
    unread: list[str] = field(default_factory=list)
    """Pieces that no scanner understood."""
    failures: list[str] = field(default_factory=list)
    """Scanners that failed on a piece."""


class Inspection:
    """Examines files one by one, within bounds that hold for all of them together."""

    def __init__(self) -> None:
        self.examiners: tuple[Examiner, ...] = examiners()
        self.pieces_left = MAX_PIECES
        self.used: dict[str, str] = {}
        """Scanners that had something to say, with their versions."""
        self.numbers: set[str] = set()
        """Files that are read as plain numbers."""

    def accounts(self, root: Path, names: list[str]) -> dict[str, Account]:
        """Examine files of a folder; numbers that belong to a file that was understood are understood with it."""
        found = {name: self.account(root, name) for name in names}
        for name in self.numbers & found.keys():
            if found[name].unread == [name] and promised(name) is None:
                found[name].understood = True
                found[name].unread.clear()
        return found

    def account(self, root: Path, name: str) -> Account:
        """Examine one file of the folder."""
        account = Account()
        self._examine(Piece(name, root / name), account)
        account.understood = not account.unread
        return account

    def _examine(self, piece: Piece, account: Account) -> None:
        opinions = [opinion for examiner in self.examiners if (opinion := self._opinion(examiner, piece, account))]
        expected = promised(piece.name)
        if expected is not None and piece.kind not in expected:
            _add(account.dangerous, f"{piece.name}: its content contradicts its name")
        if not any(opinion.understood for opinion in opinions):
            _add(account.unread, piece.name)
        for opinion in opinions:
            self.numbers |= {(PurePosixPath(piece.name).parent / name).as_posix() for name in opinion.numbers}
            for finding in opinion.dangerous:
                _add(account.dangerous, f"{piece.name}: {finding}")
            for finding in opinion.code:
                _add(account.code, f"{piece.name} {finding}")
            for name in opinion.unread:
                _add(account.unread, f"{piece.name}!{name}")
        for member in (member for opinion in opinions for member in opinion.inside):
            self.pieces_left -= 1
            if member.depth > MAX_DEPTH or self.pieces_left < 0:
                _add(account.unread, member.name)
            else:
                self._examine(member, account)

    def _opinion(self, examiner: Examiner, piece: Piece, account: Account) -> Opinion | None:
        try:
            with _time_limit(SECONDS):
                opinion = examiner.examine(piece)
        except Exception as error:  # a scanner that fails has not approved of anything
            _add(account.failures, f"{piece.name}: the scanner {examiner.name} failed ({type(error).__name__})")
            return None
        if opinion is not None:
            self.used[examiner.name] = examiner.version
        return opinion


def _add(findings: list[str], finding: str) -> None:
    if finding not in findings and len(findings) < _MAX_FINDINGS:
        findings.append(finding)


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def stop(_: int, __: FrameType | None) -> None:
        raise _TimeOutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
