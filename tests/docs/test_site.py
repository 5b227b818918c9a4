"""The site that `make docs` builds: whole, and complete in itself."""

from __future__ import annotations

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .blocks import ROOT, pages
from .conftest import Site, build

_LINK = re.compile(r"!?\[[^\]]*\]\((?!\w+:)([^)\s#]*)(?:#([^)\s]*))?\)")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


class Addresses(HTMLParser):
    """What a page loads, what it links to, and its anchors."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors |= {str(values[key]) for key in ("id", "name") if values.get(key)}
        if tag == "a" and values.get("href"):
            self.linked.append(str(values["href"]))
        loads = {"link": "href", "script": "src", "img": "src", "source": "src", "iframe": "src", "object": "data"}
        address = values.get(loads.get(tag, ""))
        if address and values.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(str(address))


def test_nothing_is_loaded_from_elsewhere(site: Site) -> None:
    for page in site.folder.rglob("*.html"):
        for address in Addresses(page).loaded:
            parts = urlsplit(address)
            assert not parts.netloc, f"{page} loads {address}"
            assert parts.scheme in ("", "data"), f"{page} loads {address}"
    for sheet in site.folder.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet


def test_every_link_and_anchor_of_the_site_leads_somewhere(site: Site) -> None:
    known = {page: Addresses(page) for page in site.folder.rglob("*.html")}
    checked = 0
    for page, addresses in known.items():
        if page.name == "404.html":
            continue  # its links start at the root of a server
        for address in (*addresses.linked, *addresses.loaded):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{page}: {address}"
            if parts.fragment and target in known and not parts.fragment.startswith("__"):
                assert unquote(parts.fragment) in known[target].anchors, f"{page}: {address}"
            checked += 1
    assert checked > 1000


def test_every_page_and_file_of_the_repository_that_is_linked_is_there(site: Site) -> None:
    """Links also work for who reads the files: those that mkdocs does not look at, of README.md too."""
    made = {f"docs/{place}" for place in site.generated}
    for page, text in pages().items():
        for target, _anchor in _LINK.findall(_CODE.sub("", text)):
            path = (ROOT / page).parent.joinpath(target).resolve().relative_to(ROOT).as_posix() if target else page
            assert (ROOT / path).exists() or path in made, f"{page}: {target}"


def test_a_broken_link_or_anchor_ends_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    rules = (ROOT / "mkdocs.yml").read_text().partition("\ntheme:")[0]
    (tmp_path / "mkdocs.yml").write_text(f"{rules}\ntheme: {{name: material, font: false}}\nnav: [index.md]\n")
    page = tmp_path / "docs" / "index.md"
    page.write_text("# Fine\n\n[here](#fine)\n")
    assert build(tmp_path / "site", tmp_path).returncode == 0
    page.write_text("# Fine\n\n[a](nowhere.md) [b](#nowhere) [c](/index.md) [d](nothing.txt)\n")
    done = build(tmp_path / "site", tmp_path)
    assert done.returncode != 0
    assert "Aborted with 4 warnings" in done.stderr + done.stdout


def test_a_drawing_is_part_of_its_page_and_takes_its_colours(site: Site) -> None:
    text = site.page("method").read_text()
    assert text.count('<span class="drawing" role="img" aria-label="') == 7
    assert text.count("<svg xmlns") >= 7
    style = (ROOT / "docs" / "style.css").read_text()
    drawing = (ROOT / "docs" / "hooks" / "drawing.py").read_text()
    assert set(re.findall(r"--drawing-\w+", drawing)) == set(re.findall(r"--drawing-\w+", style))


def test_make_builds_it_strictly() -> None:
    done = subprocess.run(["make", "-n", "docs"], cwd=ROOT, capture_output=True, text=True)
    assert "mkdocs build --strict" in done.stdout
    checked = subprocess.run(["make", "-n", "check"], cwd=ROOT, capture_output=True, text=True)
    assert "mkdocs build --strict" in checked.stdout


def test_example_files_are_pages_to_be_read(site: Site) -> None:
    files = site.folder / "files"
    shown = {path.parent.relative_to(files).as_posix(): path for path in files.rglob("*.html")}
    examples = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "examples").iterdir() if path.is_file()}
    assert examples | {"github/workflows/gate.yml", "github/actions/smoothscan/action.yml"} <= shown.keys()
    assert all("highlight" in path.read_text() for path in shown.values())
