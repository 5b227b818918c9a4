"""`index.html`: how a registry stands after a sweep, one file that needs nothing else but the reports it links to."""

from __future__ import annotations

from pathlib import Path

from smoothscan.files import make_folder, write_atomically
from smoothscan.posture import Posture
from smoothscan.sinks.page import render_page
from smoothscan.sinks.sweep_view import context


def write_index(posture: Posture, folder: Path) -> Path:
    """Write `index.html`.

    Args:
        posture: the sweep, finished or interrupted.
        folder: where to write, beside `sweep.json`; made if it does not exist.

    Returns:
        The file.

    Raises:
        OutputError: it could not be written; that of an earlier sweep is then as it was.
    """
    return write_atomically(make_folder(folder) / "index.html", render(posture).encode("utf-8"))


def render(posture: Posture) -> str:
    """Return the page.

    Raises:
        OutputError: the installation lacks the templates.
    """
    return render_page(
        "index.html.j2",
        context(posture),
        styles=["base.css", "index.css"],
        scripts=["index.js"],
    )
