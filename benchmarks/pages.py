"""How large the pages are, and how long a browser takes over them: `python benchmarks/pages.py`.

The page of a sweep over 5,000 versions: opened from disk, sorted by every column, searched. Reports of scans with ten
and with 1,000 classes: size, and opened from disk. Needs Playwright and a Chromium on the PATH. Writes
`benchmarks/results/pages.json` and `docs/page-figures.md`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from shared import ROOT, machine, save

sys.path.insert(0, str(ROOT))
from smoothscan.exhibits import Exhibits
from smoothscan.sinks.html import HtmlSink
from smoothscan.sinks.sweep_html import write_index
from tests.browser import CHROMIUM
from tests.sinks.postures import after_many, registry_of
from tests.sinks.samples import Sample, exhibit, many_classes, ten_targets_large

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

RESULTS = ROOT / "benchmarks" / "results" / "pages.json"
PAGE = ROOT / "docs" / "page-figures.md"
VERSIONS = 5000
REPEATS = 7
OPENS, SORTS = 2.0, 0.2
"""Bars, in seconds."""
SIZES = {"ten classes": 3.0, "1,000 classes": 8.0}
"""Bars, in megabytes."""
PAINTED = """act => new Promise((done) => {
  const started = performance.now();
  act();
  requestAnimationFrame(() => {  // a message that is sent here comes after the frame was painted
    const channel = new MessageChannel();
    channel.port1.onmessage = () => done((performance.now() - started) / 1000);
    channel.port2.postMessage(0);
  });
})"""


def main() -> None:
    """Measure, write the results, print the page."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        report: dict[str, Any] = {
            "machine": machine(),
            "browser": f"Chromium {browser.version}",
            "index": index(browser, Path(folder)),
            "reports": {
                name: scan(browser, Path(folder) / str(number), make())
                for number, (name, make) in enumerate(REPORTS.items())
            },
        }
        browser.close()
    save(RESULTS, report)
    PAGE.write_text(page(report))
    sys.stdout.write(PAGE.read_text())


def index(browser: Browser, folder: Path) -> dict[str, Any]:
    """Measure the page of a sweep."""
    sweep = after_many(registry_of(VERSIONS))
    started = time.perf_counter()
    path = write_index(sweep, folder)
    written = time.perf_counter() - started
    opened = [opening(browser, path) for _ in range(REPEATS)]
    context = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True)
    tab = context.new_page()
    columns = open_in(tab, path).eval_on_selector_all("#table thead th", "heads => heads.map(h => h.dataset.column)")
    sorts: dict[str, list[float]] = {}
    for column in columns:
        press = f"() => document.querySelector('#table th[data-column={column}] button').click()"
        sorts[column] = []
        for _ in range(REPEATS):
            open_in(tab, path)  # so that the first sort of a page, which compares texts, counts like the second
            sorts[column] += [painted(tab, press) for _ in range(2)]
    typed = []
    for letters in ("t", "tr", "traffic", "traffic 12", "no such version"):
        text = (
            f"const s = document.getElementById('search'); s.value = '{letters}'; s.dispatchEvent(new Event('input'))"
        )
        typed += [painted(tab, f"() => {{ {text}; }}") for _ in range(REPEATS)]
    context.close()
    return {
        "versions": VERSIONS,
        "megabytes": path.stat().st_size / 1e6,
        "write_seconds": written,
        "open_seconds": opened,
        "sort_seconds": sorts,
        "search_seconds": typed,
    }


def scan(browser: Browser, folder: Path, sample: Sample) -> dict[str, Any]:
    """Measure the report of a scan."""
    sink = HtmlSink(redact_images=False, command="smoothscan check models:/m/1 --images images")
    started = time.perf_counter()
    (path,) = sink.write(sample.result, sample.exhibits, folder)
    written = time.perf_counter() - started
    opened = [opening(browser, path) for _ in range(REPEATS)]
    return {"megabytes": path.stat().st_size / 1e6, "write_seconds": written, "open_seconds": opened}


def ten_classes() -> Sample:
    """Return ten flagged classes at 224 x 224 with noise all over, which no compressor makes smaller."""
    sample, rng, noisy = ten_targets_large(), np.random.default_rng(0), {}
    for i in range(10):
        one = exhibit(i, 10.0, True, side=224)
        image = np.clip(one.synthesis_image + rng.normal(0, 0.05, one.synthesis_image.shape), 0, 1).astype(np.float32)
        delta = rng.normal(0, 0.026, image.shape).astype(np.float32)
        noisy[i] = replace(one, perturbation=delta, synthesis_image=image)
    return replace(sample, exhibits=Exhibits(noisy))


REPORTS: dict[str, Callable[[], Sample]] = {"ten classes": ten_classes, "1,000 classes": many_classes}


def opening(browser: Browser, path: Path) -> float:
    """Return the seconds from asking a new window for a page to its first frame after it was loaded."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True)
    tab = context.new_page()
    started = time.perf_counter()
    open_in(tab, path)
    painted(tab, "() => {}")
    seconds = time.perf_counter() - started
    context.close()
    return seconds


def open_in(tab: Page, path: Path) -> Page:
    """Open a page and wait until it is loaded."""
    tab.goto("about:blank")  # the same address would only move within the page
    tab.goto(path.as_uri())
    return tab


def painted(tab: Page, act: str) -> float:
    """Return the seconds from an event to the end of the next frame."""
    return float(tab.evaluate(f"({PAINTED})({act})"))


def page(report: dict[str, Any]) -> str:
    """Return the page for people."""
    m, sweep, reports = report["machine"], report["index"], report["reports"]
    columns = [(column, statistics.median(times), max(times)) for column, times in sweep["sort_seconds"].items()]
    search = sweep["search_seconds"]
    opened = {f"index of {VERSIONS:,} versions": (sweep, None), **{k: (v, SIZES[k]) for k, v in reports.items()}}
    return "\n".join(
        [
            "# Pages: size and speed",
            "",
            "Written by `python benchmarks/pages.py`; raw figures in `benchmarks/results/pages.json`. Pages are opened",
            f"from disk in a new window, {REPEATS} times; the time ends with the first frame after all is loaded. The",
            "report of ten classes shows ten flagged ones at 224 x 224, with noise that no compressor makes smaller.",
            f"{report['browser']} on {m['processor']}, {m['cores']} cores.",
            "",
            "| page | size | bar | opens, median | slowest | bar | written in |",
            "|---|---|---|---|---|---|---|",
            *(
                f"| {name} | {of['megabytes']:.2f} MB | {'none' if bar is None else f'{bar:.0f} MB'} "
                f"| {statistics.median(of['open_seconds']):.2f} s | {max(of['open_seconds']):.2f} s "
                f"| {f'{OPENS:.0f} s' if bar is None else 'none'} | {of['write_seconds']:.2f} s |"
                for name, (of, bar) in opened.items()
            ),
            "",
            f"Sorting {VERSIONS:,} versions, from the event to the end of the next frame, as the first sort of a page",
            f"and as the second (bar: {1000 * SORTS:.0f} ms), and a search at every change of its text:",
            "",
            "| by | median | slowest |",
            "|---|---|---|",
            *(f"| {name} | {1000 * median:.0f} ms | {1000 * worst:.0f} ms |" for name, median, worst in columns),
            f"| search | {1000 * statistics.median(search):.0f} ms | {1000 * max(search):.0f} ms |",
            "",
        ]
    )


if __name__ == "__main__":
    main()
