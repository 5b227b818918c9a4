"""`report.html`: one file that needs nothing else, for people who decide about a model."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from smoothscan.errors import OutputError
from smoothscan.exhibits import Exhibits
from smoothscan.files import make_folder, write_atomically
from smoothscan.result import ScanResult
from smoothscan.sinks.text import plain
from smoothscan.sinks.view import context


class HtmlSink:
    """Writes `report.html`.

    The page loads nothing and runs only its own small script: its content security policy names the hashes of its
    style and script and allows no other source. What comes out of the model is escaped and freed of control characters.

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
        return (write_atomically(make_folder(folder) / "report.html", page.encode("utf-8")),)


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
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = template_folder()
    # Every value that reaches the page passes `_shown`, so no template can forget to clean one; autoescape follows it.
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["options"] = _with_options
    style = (folder / "report.css").read_text("utf-8")
    script = (folder / "report.js").read_text("utf-8")
    return environment.get_template("report.html.j2").render(
        context(result, exhibits, redact_images, command),
        style=Markup(style),  # noqa: S704  (a file of this package)
        script=Markup(script),  # noqa: S704  (a file of this package)
        policy=(
            f"default-src 'none'; img-src data:; style-src '{_source_hash(style)}'; "
            f"script-src '{_source_hash(script)}'; base-uri 'none'; form-action 'none'"
        ),
    )


def template_folder(package: Path | None = None) -> Path:
    """Return the folder of the templates: inside an installed package, beside it in a checkout.

    Args:
        package: folder of the package `smoothscan`; None for the one that runs.

    Raises:
        OutputError: neither place holds them.
    """
    package = Path(__file__).parents[1] if package is None else package
    for folder in (package / "templates", package.parent / "templates"):
        if (folder / "report.html.j2").is_file():
            return folder
    raise OutputError(
        f"The report's templates are missing from {package}.",
        "The installation is incomplete: install smoothscan again.",
    )


def _shown(value: Any) -> Any:
    return plain(value) if type(value) is str else value


def _with_options(text: str) -> Markup:
    """Set command line options apart, so that no line breaks inside one."""
    parts = re.split(r"(--[a-z][a-z-]*)", plain(text))  # options are at the odd positions
    return Markup("").join(
        Markup('<code class="nowrap">{}</code>').format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def _source_hash(text: str) -> str:
    """Return what a content security policy calls an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
