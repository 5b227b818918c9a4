"""Pages of one file that need nothing else: what the report of a scan and the page of a sweep share."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from smoothscan.errors import OutputError
from smoothscan.sinks.text import plain

if TYPE_CHECKING:
    from jinja2 import Environment


def render_page(template: str, variables: Mapping[str, Any], *, styles: Sequence[str], scripts: Sequence[str]) -> str:
    """Return a page that loads nothing and runs only its own small script.

    Its content security policy names the hashes of its style and script and allows no other source. Every value that
    reaches the page is escaped and freed of control characters.

    Args:
        template: name of the template.
        variables: what the template shows.
        styles: names of the style sheets; they become one.
        scripts: names of the scripts; they become one.

    Raises:
        OutputError: the installation lacks the templates.
    """
    folder = template_folder()
    style, script = ("\n".join((folder / name).read_text("utf-8") for name in names) for names in (styles, scripts))
    return (
        _environment(folder)
        .get_template(template)
        .render(
            variables,
            style=Markup(style),  # noqa: S704  (a file of this package)
            script=Markup(script),  # noqa: S704  (a file of this package)
            policy=(
                f"default-src 'none'; img-src data:; style-src '{_source_hash(style)}'; "
                f"script-src '{_source_hash(script)}'; base-uri 'none'; form-action 'none'"
            ),
        )
    )


def render_fragment(template: str, variables: Mapping[str, Any]) -> str:
    """Return a part of somebody else's page, with every value escaped and freed of control characters.

    Args:
        template: name of the template; it brings no style sheet and no script.
        variables: what the template shows.

    Raises:
        OutputError: the installation lacks the templates.
    """
    return _environment(template_folder()).get_template(template).render(variables)


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


def _environment(folder: Path) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

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
    environment.filters["short"] = _short
    environment.globals["lines"] = _lines
    return environment


def _shown(value: Any) -> Any:
    return plain(value) if type(value) is str else value


def _with_options(text: str) -> Markup:
    """Set command line options apart, so that no line breaks inside one."""
    parts = re.split(r"(--[a-z][a-z-]*)", plain(text))  # options are at the odd positions
    return Markup("").join(
        Markup('<code class="nowrap">{}</code>').format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def _short(text: str, limit: int) -> str:
    """Cut text that comes out of a model to a length for which its place has room."""
    return plain(text, limit)


def _lines(text: str) -> Markup:
    """Return a text whose line breaks stand, as in a file to copy; each line is as plain as everything else."""
    return Markup("\n").join(plain(line) for line in text.split("\n"))


def _source_hash(text: str) -> str:
    """Return what a content security policy calls an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
