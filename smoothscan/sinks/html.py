"""`report.html`: one file that needs nothing else, for people who decide about a model."""

from __future__ import annotations

from pathlib import Path

from smoothscan.exhibits import Exhibits
from smoothscan.files import make_folder, write_atomically
from smoothscan.products import REPORT
from smoothscan.result import ScanResult
from smoothscan.sinks.page import render_page
from smoothscan.sinks.report.view import context


class HtmlSink:
    """Writes `report.html`.

    Args:
        redact_images: leave the user's images out, also those with a perturbation added.
        command: the command line that reproduces the scan.
    """

    def __init__(self, redact_images: bool, command: str) -> None:
        self.redact_images = redact_images
        self.command = command

    def write(self, result: ScanResult, exhibits: Exhibits, folder: Path) -> tuple[Path, ...]:
        """Write `report.html`; see `Sink.write`."""
        page = render(result, exhibits, redact_images=self.redact_images, command=self.command)
        return (write_atomically(make_folder(folder) / REPORT, page.encode("utf-8")),)


def render(result: ScanResult, exhibits: Exhibits, *, redact_images: bool, command: str) -> str:
    """Return the page.

    Args:
        result: the scan, of any status.
        exhibits: its pictures; may be empty.
        redact_images: leave the user's images out.
        command: the command line that reproduces the scan.

    Raises:
        OutputError: the installation lacks the templates.
    """
    return render_page(
        "report.html.j2",
        context(result, exhibits, redact_images, command),
        styles=["base.css", "report.css"],
        scripts=["report.js", "sorting.js"],
    )
