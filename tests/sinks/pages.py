"""Reads a report as a browser would."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser

from PIL import Image as Pillow

from smoothscan.sinks.html import render

from .samples import Sample

COMMAND = "smoothscan check models:/cifar-resnet20@champion --images 'clean images' --seed 0"
PINNED = COMMAND.replace("@champion", "/3")
"""The same as reports say it, for the version that was scanned."""
VOID = {"meta", "link", "img", "br", "hr", "input"}
BLOCKS = {"dt", "dd", "td", "th", "li", "p", "div", "h1", "h2", "h3", "h4", "summary", "figcaption"}


class Page(HTMLParser):
    """The elements and the text of a page; fails where tags are not balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.styles: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag}"
        self.elements.append((tag, dict(attrs)))
        self.texts.append(" " if tag in BLOCKS else "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        kept = {"style": self.styles, "script": self.scripts}.get(self.open[-1] if self.open else "", self.texts)
        kept.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).replace("\u00a0", " ").split())


def page_of(sample: Sample, redact_images: bool = False) -> Page:
    return Page(render(sample.result, sample.exhibits, redact_images=redact_images, command=COMMAND))


def pictures(page: Page) -> list[Pillow.Image]:
    found = []
    for attributes in page.all("img"):
        head, _, data = (attributes["src"] or "").partition(",")
        assert head in ("data:image/png;base64", "data:image/jpeg;base64")
        found.append(Pillow.open(io.BytesIO(base64.b64decode(data, validate=True))))
    return found
