"""What mkdocs asks while it builds the site: pages that no file holds, links that leave docs/, pictures."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import commands
import configuration
import outcomes
import python_api
import schemas
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
FILES = "files"
"""Folder of the site for pages that show a file of the repository."""

GENERATED = {
    "reference/cli.md": commands.page,
    "reference/configuration.md": configuration.page,
    "reference/result.md": lambda: schemas.page(schemas.RESULT, "result.schema.json"),
    "reference/sweep.md": lambda: schemas.page(schemas.SWEEP, "sweep.schema.json"),
    "reference/outcomes.md": outcomes.page,
    "reference/python.md": python_api.page,
}
"""Pages that are made of the code, by their place in docs/."""
BORROWED = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md", "security.md": "SECURITY.md"}
"""Pages that lie at the root of the repository, by their place in docs/."""

_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*)?\)")
_PICTURE = re.compile(r'<img alt="([^"]*)" src="([^"]*pictures/[\w-]+\.svg)" ?/?>')
_LANGUAGES = {".yml": "yaml", ".yaml": "yaml", ".py": "python", ".toml": "toml", ".json": "json", ".md": "markdown"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and one for each file of the repository that some page links to."""
    for place, make in GENERATED.items():
        files.append(File.generated(config, place, content=make()))
    for place, name in BORROWED.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text(encoding="utf-8")))
    shown = {target for file in files.documentation_pages() for _, target in _shown(file.src_uri, file.content_string)}
    for name in sorted(shown - set(BORROWED.values())):
        files.append(File.generated(config, _place(name), content=_page_of(name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files of the repository to the pages that show them."""
    here = page.file.src_uri
    shown, titles = dict(_shown(here, markdown)), dict(_titles(config.nav))

    def lead(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        if target in shown:
            target = posixpath.relpath(_place(shown[target]), posixpath.dirname(here) or ".")
        elif here in BORROWED and target.startswith("docs/"):
            target = target.removeprefix("docs/")
        if text in (found[2], posixpath.basename(found[2])):  # in a file a name is right, in the site a title
            text = titles.get(posixpath.normpath(posixpath.join(posixpath.dirname(here), target)), text)
        return f"[{text}]({target}{anchor})"

    return _LINK.sub(lead, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put drawings into the page itself, where they take the page's colours."""
    return _PICTURE.sub(lambda found: _inline(found[1], found[2]), html)


def on_post_page(html: str, page: Page, config: MkDocsConfig) -> str:
    """Give the theme's dialog the name that a screen reader says."""
    return html.replace(
        'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
    )


def _shown(here: str, markdown: str) -> list[tuple[str, str]]:
    """Return the links of a page to files of the repository that are no pages, with each file's path from the root."""
    folder = "." if here in BORROWED else posixpath.join("docs", posixpath.dirname(here))
    found = []
    for _, target, _anchor in _LINK.findall(markdown):
        path = posixpath.normpath(posixpath.join(folder, target))
        is_page = path.startswith("docs/") and path.endswith(".md")
        if not is_page and (ROOT / path).is_file():
            found.append((target, path))
    return found


def _titles(nav: Any) -> Iterator[tuple[str, str]]:
    """Yield each page's place and its title in the navigation."""
    for entry in nav:
        for title, what in entry.items() if isinstance(entry, dict) else ():
            if isinstance(what, str):
                yield what, title
            else:
                yield from _titles(what)


def _place(name: str) -> str:
    borrowed = {origin: place for place, origin in BORROWED.items()}
    return borrowed.get(name) or f"{FILES}/{name.lstrip('.')}.md"


def _page_of(name: str) -> str:
    path = ROOT / name
    language = _LANGUAGES.get(path.suffix, path.name.lower() if path.name == "Dockerfile" else "text")
    fence = "`" * 6
    hidden = "---\nsearch:\n  exclude: true\n---\n\n"  # who searches wants the page about it
    return f"{hidden}# {path.name}\n\n`{name}` of the repository.\n\n{fence}{language}\n{path.read_text()}{fence}\n"


def _inline(alt: str, source: str) -> str:
    drawing = (ROOT / "docs" / "pictures" / posixpath.basename(source)).read_text(encoding="utf-8")
    return f'<span class="drawing" role="img" aria-label="{alt}">{drawing}</span>'
