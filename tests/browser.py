"""Pages in a real browser: offline, in a colour scheme and at a width, with all that they report."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def opened(
    browser: Browser, path: Path, *, fragment: str = "", width: int = 1440, dark: bool = False, **context: Any
) -> Iterator[Page]:
    """Open a page from disk without a network; fail where it reports an error or asks for anything else.

    Args:
        browser: the fixture `browser`.
        path: the page.
        fragment: what follows the `#` of its address.
        width: of the window, in pixels.
        dark: whether the user prefers a dark page.
        context: further options of a browser's context.
    """
    told: list[str] = []
    asked: list[str] = []
    colours = "dark" if dark else "light"
    viewport = {"width": width, "height": 900}
    session = browser.new_context(viewport=viewport, color_scheme=colours, offline=True, **context)
    try:
        page = session.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda request: asked.append(request.url.partition("#")[0]))
        page.goto(path.as_uri() + (f"#{fragment}" if fragment else ""))
        yield page
        assert told == [], told  # pytest rewrites the asserts of tests only
        assert {url for url in asked if not url.startswith("data:")} == {path.as_uri()}, asked
    finally:
        session.close()


def serious(page: Page) -> list[str]:
    """Return what axe-core holds to be serious or critical, with the places."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['help']}: {[node['html'][:200] for node in each['nodes'][:3]]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
