"""Every code block of the documents, with what has to become of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]

_MARK = re.compile(r"<!--\s*(.*?)\s*-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block of code."""

    page: str
    """File that holds it, from the root of the repository."""
    line: int
    """Its first line there, counted from 1."""
    language: str
    """What stands behind the fence; empty if nothing does, or if the block is indented."""
    text: str
    """What is in it."""
    mark: str
    """The comment right above it; empty if there is none."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> dict[str, str]:
    """Return the documents that people read as files, by path from the root of the repository."""
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted(files)}


def blocks_of(page: str, text: str) -> Iterator[Block]:
    """Yield the blocks of one page, those inside of lists included."""
    mark = ""
    for token in MarkdownIt("commonmark").parse(text):
        if token.type == "html_block" and (found := _MARK.fullmatch(token.content.strip())):
            mark = found[1]
        elif token.type in ("fence", "code_block"):
            assert token.map is not None
            yield Block(page, token.map[0] + 1, token.info.strip(), token.content, mark)
            mark = ""
        elif token.nesting >= 0:
            mark = ""


def blocks() -> list[Block]:
    """Return all blocks of all pages."""
    return [block for page, text in pages().items() for block in blocks_of(page, text)]
