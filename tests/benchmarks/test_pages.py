"""The pages of figures say what the benchmarks measured: each is written once more and compared."""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import check
import denoiser_page
import numpy as np
import overhead
import pages
import pytest
import screening
import speed
import static_check
import sweep_page
import zoo_page
from PIL import Image

ROOT = Path(__file__).parents[2]
DOCS, RESULTS = ROOT / "docs", ROOT / "benchmarks" / "results"

_spec = importlib.util.spec_from_file_location("benchmark", ROOT / "benchmarks" / "architectures.py")
assert _spec is not None
assert _spec.loader is not None
architectures = importlib.util.module_from_spec(_spec)  # by its path: a folder of tests has the same name
_spec.loader.exec_module(architectures)

WRITERS: dict[str, tuple[str, Callable[[str, Any], str]]] = {
    "architectures.json": ("flavors.md", architectures.with_table),
    "check.json": ("performance.md", lambda _, results: check.page(results)),
    "denoiser.json": ("denoising.md", lambda _, results: denoiser_page.page(results)),
    "overhead.json": ("overhead.md", lambda _, results: overhead.page(results)),
    "pages.json": ("page-figures.md", lambda _, results: pages.page(results)),
    "screening.json": ("screening.md", lambda _, results: screening.page(results)),
    "speed.json": ("speed.md", lambda _, results: speed.page(results)),
    "static_check.json": ("static-check.md", static_check.with_tables),
    "sweep.json": ("sweep-figures.md", lambda _, results: sweep_page.page(results)),
    "zoo.json": ("zoo.md", lambda _, results: zoo_page.page(results)),
}
"""For each file of results its page, and what makes the page of the present one and the results."""


def results(name: str) -> Any:
    return json.loads((RESULTS / name).read_text())


def test_all_results_have_a_page() -> None:
    assert {path.name for path in RESULTS.iterdir()} == WRITERS.keys()


@pytest.mark.parametrize("name", WRITERS)
def test_a_page_says_what_was_measured(name: str) -> None:
    page, write = WRITERS[name]
    present = (DOCS / page).read_text()
    assert write(present, results(name)) == present, f"docs/{page} and benchmarks/results/{name} differ"


def test_pictures_show_what_was_measured() -> None:
    assert zoo_page.plot(results("zoo.json")) == (DOCS / "p-values.svg").read_text()
    drawn, kept = (
        np.asarray(Image.open(picture))
        for picture in (io.BytesIO(denoiser_page.picture(results("denoiser.json"))), DOCS / "denoised-triggers.png")
    )
    np.testing.assert_array_equal(drawn, kept)
