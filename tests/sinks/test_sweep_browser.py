"""The page of a sweep in a real browser: filter, sort, keyboard, address, paper; offline and without a complaint."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from smoothscan.posture import Posture, Standing
from smoothscan.sinks.sweep_html import write_index
from tests.browser import opened, serious

from .postures import after_many, flagged, hostile, mixed, posture, registry_of, standing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def sweep() -> Posture:
    return after_many(registry_of(300))


@pytest.fixture(scope="module")
def index(sweep: Posture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_index(sweep, tmp_path_factory.mktemp("sweep"))


def rows(page: Page) -> list[tuple[str, str]]:
    """Return name and version of the rows that are shown."""
    name = "(row.cells[0].querySelector('a') ?? row.cells[0]).firstChild.textContent"
    script = f"rows => rows.map(row => [{name}, row.cells[1].textContent])"
    found = page.eval_on_selector_all("#table tbody tr", script)
    return [(name, version) for name, version in found]


def named(models: list[Standing]) -> list[tuple[str, str]]:
    return [(model.name, model.version) for model in models]


def test_search_and_buttons_narrow_the_table_down_together(browser: Browser, index: Path, sweep: Posture) -> None:
    with opened(browser, index) as page:
        assert rows(page) == named([*sweep.models[:100]])
        status = page.locator("#shown")
        assert status.inner_text() == "300 versions, 1 to 100 shown"
        page.locator("[data-value=promoted]").click()
        page.fill("#search", "TRAFFIC  no entry")
        page.locator("[data-value=backdoored]").click()
        expected = [m for m in sweep.models if m.aliases and "traffic" in m.name and m.verdict == "backdoored"]
        assert rows(page) == named(expected)
        assert status.inner_text() == f"{len(expected)} of 300 versions"
        page.locator("[data-value=failed]").click()
        page.fill("#search", "")
        either = [m for m in sweep.models if m.aliases and (m.verdict == "backdoored" or m.status == "failed")]
        assert rows(page) == named(either)
        fragment = page.url.partition("#")[2]
        assert fragment == "verdict=backdoored,failed&only=promoted"
        page.fill("#search", "no such thing")
        assert page.get_by_text("No version matches.").is_visible()
        page.get_by_role("button", name="Show all").click()
        assert "#" not in page.url
        assert rows(page) == named([*sweep.models[:100]])
        assert page.evaluate("document.activeElement.id") == "search"
    with opened(browser, index, fragment=fragment) as page:
        assert rows(page) == named(either)
        assert page.locator("[data-value=failed]").get_attribute("aria-pressed") == "true"


COLUMNS: dict[str, Callable[[Standing], Any]] = {
    "Model": lambda m: m.name,
    "Version": lambda m: int(m.version),
    "Score": lambda m: m.score,
    "p": lambda m: m.p_value,
    "q": lambda m: m.q_value,
    "Scanned, UTC": lambda m: m.scanned_at,
    "Holds until": lambda m: m.expires_at,
    "Aliases": lambda m: (" ".join(m.aliases) or m.stage or "").lower() or None,
    "Notes": lambda m: m.reason or None,
}


def test_every_column_sorts_numbers_as_numbers_and_the_unknown_last(browser: Browser, tmp_path: Path) -> None:
    sweep = mixed()
    with opened(browser, write_index(sweep, tmp_path)) as page:
        for head, value in COLUMNS.items():
            button = page.locator("#table thead").get_by_role("button", name=head, exact=True)
            orders = set()
            for _ in range(2):
                button.focus()
                page.keyboard.press("Enter")
                order = page.locator("#table th[aria-sort]").get_attribute("aria-sort")
                known = [m for m in sweep.models if value(m) is not None]
                unknown = [m for m in sweep.models if value(m) is None]
                # Sorted twice so that equal rows keep the order of the page in either direction.
                expected = sorted(known, key=value, reverse=order == "descending")
                assert rows(page) == named(expected + unknown), (head, order)
                assert page.locator("#table th[aria-sort]").inner_text().startswith(head)
                orders.add(order)
            assert orders == {"ascending", "descending"}
        page.locator("#table thead").get_by_role("button", name="Verdict").click()
        assert rows(page) == named([*sweep.models])
        assert page.url.endswith("#sort=verdict&order=ascending")


def test_pages_are_turned_by_keyboard_and_rows_say_their_place(browser: Browser, index: Path, sweep: Posture) -> None:
    with opened(browser, index) as page:
        last = page.get_by_role("button", name="Last")
        last.focus()
        page.keyboard.press("Enter")
        assert rows(page) == named([*sweep.models[200:]])
        assert page.locator("#place").inner_text() == "Page 3 of 3"
        assert page.evaluate("document.activeElement.textContent") == "Last"
        assert last.get_attribute("aria-disabled") == "true"
        page.keyboard.press("Enter")
        assert page.locator("#place").inner_text() == "Page 3 of 3"
        assert page.locator("#table").get_attribute("aria-rowcount") == "301"
        assert page.locator("#table tbody tr").last.get_attribute("aria-rowindex") == "301"
        page.get_by_role("button", name="Previous").press("Space")
        assert page.url.endswith("#page=2")


def test_links_of_the_summary_filter_the_table_and_move_the_focus_there(
    browser: Browser, index: Path, sweep: Posture
) -> None:
    with opened(browser, index) as page:
        page.get_by_role("link", name="newly flagged").first.press("Enter")
        page.wait_for_function("document.activeElement.id === 'versions-heading'")
        assert rows(page) == named([m for m in sweep.models if m.change == "newly_flagged"])
        page.keyboard.press("Shift+Home")
        page.get_by_role("link", name="Skip to the table").focus()
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("#versions$"))
        assert len(rows(page)) == 2, "an anchor leaves the filters alone"


def test_the_worst_of_each_model_and_back_to_all_of_one(browser: Browser, index: Path, sweep: Posture) -> None:
    worst = {m.name: m for m in reversed(sweep.models)}
    with opened(browser, index) as page:
        page.get_by_role("button", name="worst of each model").click()
        assert rows(page) == named([m for m in sweep.models if worst[m.name] is m][:100])
        page.locator(".of-model").first.click()
        (name,) = {name for name, _ in rows(page)}
        assert rows(page) == named([m for m in sweep.models if m.name == name])
        assert f"of 300 versions of {name}" in page.locator("#shown").inner_text()


def test_what_is_shown_is_saved_and_no_cell_is_a_formula(browser: Browser, tmp_path: Path) -> None:
    formula = '=HYPERLINK("http://evil.example","x")'
    models = [flagged("a", "1", reason='He said "no",\nthen left.'), flagged(formula, "2"), standing("b", "3")]
    with opened(browser, write_index(posture(models), tmp_path), fragment="verdict=backdoored") as page:
        with page.expect_download() as download:
            page.get_by_role("button", name="Save as CSV").click()
        download.value.save_as(tmp_path / "saved.csv")
    with (tmp_path / "saved.csv").open(encoding="utf-8", newline="") as file:
        saved = list(csv.DictReader(file))
    assert [(row["model"], row["version"], row["score"]) for row in saved] == [
        ("a", "1", "0.83"), (f"'{formula}", "2", "0.83"),
    ]  # fmt: skip
    assert saved[0]["reason"] == 'He said "no", then left.'
    assert saved[0]["scanned"] == "2026-11-22T21:33:23.000Z"


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (390, False)])
def test_nothing_serious_is_found_by_axe(browser: Browser, tmp_path: Path, width: int, dark: bool) -> None:
    path = write_index(after_many(mixed()), tmp_path)
    with opened(browser, path, width=width, dark=dark, fragment="verdict=failed,backdoored&sort=score") as page:
        for details in page.locator("details").all():
            details.evaluate("element => element.open = true")
        assert serious(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1440, 390])
def test_what_is_hostile_changes_nothing(browser: Browser, tmp_path: Path, width: int) -> None:
    sweep = hostile()
    with opened(browser, write_index(sweep, tmp_path), width=width) as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        assert len(rows(page)) == len(sweep.models)
        assert page.locator("#table :is(script, img, iframe, style)").count() == 0
        assert ("<script>alert(1)</script>",) * 2 in rows(page)
        for column in page.locator("#table thead th").all():
            column.locator("button").evaluate("button => button.click()")
            assert len(rows(page)) == len(sweep.models)
        for chip in page.locator(".chip").all():
            chip.evaluate("chip => { chip.click(); chip.click(); }")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_an_address_can_only_filter(browser: Browser, index: Path) -> None:
    attack = "q=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E&model=%3Cb%3E&sort=__proto__&order=x&page=-9e99&verdict=x,y"
    with opened(browser, index, fragment=attack) as page:
        assert rows(page) == []
        assert page.locator("#shown").inner_text() == "0 of 300 versions of <b>"
    with opened(browser, index, fragment="page=1e9") as page:
        assert page.locator("#place").inner_text() == "Page 3 of 3"


def test_paper_gets_everything_that_is_wanted(browser: Browser, index: Path, sweep: Posture) -> None:
    with opened(browser, index, fragment="only=due,promoted&page=1") as page:
        count = "document.querySelectorAll('#table tbody tr').length"
        page.evaluate(f"addEventListener('beforeprint', () => {{ window.printed = {count}; }})")
        page.locator("[data-value=due]").click()
        page.locator("[data-value=promoted]").click()
        page.pdf(landscape=True)
        assert page.evaluate("window.printed") == 300
        assert len(rows(page)) == 100


def test_without_its_script_the_page_shows_the_worst_and_says_so(browser: Browser, index: Path) -> None:
    with opened(browser, index, java_script_enabled=False) as page:
        assert page.locator("#table tbody tr").count() == 100
        assert page.locator("#shown").inner_text().startswith("The worst 100 of 300 versions.")
        assert not page.locator("#tools").is_visible()
        assert not page.locator("#pager").is_visible()
