"""The report in a real browser, from disk and without a network: worked by keyboard, listened to, printed, attacked."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image as Pillow

from smoothscan.exhibits import Exhibits
from smoothscan.gate import judge
from smoothscan.result import ErrorInfo, ModelInfo
from smoothscan.sinks.html import render
from tests.browser import opened, serious

from .pages import COMMAND
from .samples import SAMPLES, Sample, clean

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.browser

VIEWS = [(1440, False), (1440, True), (390, False), (390, True)]
KINDS = {
    "inconclusive": VIEWS,
    "many_classes": VIEWS,
    "pairs": [(1440, True), (390, False)],
    "undecided": [(390, True)],
    "refused": [(1440, False)],
}
MARKUP = '<script>document.title = "attacked"</script><img src=x onerror=alert(1)>"\'> '
ATTACK = f"{MARKUP} \x1b[2J\x1b]0;x\x07 \u202eright to left "


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes the report of a sample; returns its file."""
    folder = tmp_path_factory.mktemp("reports")

    def write(sample: Sample | str, redact_images: bool = False) -> Path:
        of = SAMPLES[sample]() if isinstance(sample, str) else sample
        page = folder / f"{sample if isinstance(sample, str) else len(list(folder.iterdir()))}-{redact_images}.html"
        if not page.exists():
            text = render(judge(of.result), of.exhibits, redact_images=redact_images, command=COMMAND)
            page.write_text(text, encoding="utf-8")
        return page

    return write


@pytest.fixture(scope="module")
def scanned(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Scans a model of the zoo as a user does; returns the folder of its reports."""
    import importlib

    import mlflow
    from safetensors.torch import load_file

    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(shared_dir / "data" / "cifar10-test.parquet")
    folder = tmp_path_factory.mktemp("zoo")
    images = folder / "images"
    images.mkdir()
    for position, row in enumerate(np.random.default_rng(0).permutation(table.num_rows)[:102].tolist()):
        cell = table["image"][row].as_py()
        data = cell["bytes"] if isinstance(cell, dict) else cell
        Pillow.open(io.BytesIO(data)).convert("RGB").save(images / f"{position:03d}.png")
    architectures = {e["name"]: e["arch"] for e in json.loads((shared_dir / "zoo" / "manifest.json").read_text())}
    example = (np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32)) / 255).astype(np.float32)

    def scan(name: str) -> Path:
        sys.path.insert(0, str(shared_dir / "zoo"))
        try:
            net = importlib.import_module("archs").build(architectures[name]).eval()
        finally:
            sys.path.remove(str(shared_dir / "zoo"))
        net.load_state_dict(load_file(shared_dir / "zoo" / f"{name}.safetensors"))
        model = {"serialization_format": "pt2", "input_example": example, "pip_requirements": ["torch"]}
        mlflow.pytorch.save_model(net, str(folder / name), **model)
        command = [sys.executable, "-m", "smoothscan", "check", str(folder / name), "--images", str(images)]
        command += ["--profile", "quick", "--no-write-back", "--no-cache", "--output-dir", str(folder / f"{name}-out")]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280)
        assert done.returncode in (0, 1), done.stderr
        return folder / f"{name}-out"

    return scan


@pytest.mark.zoo
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "headline", "section"),
    [
        ("d01", "Backdoor found", "Flagged class"),
        ("d02", "No trigger found under this budget", "Closest to being suspect, and why it is not"),
    ],
)
def test_reports_of_real_scans(
    name: str, headline: str, section: str, browser: Browser, scanned: Callable[[str], Path]
) -> None:
    page = scanned(name) / "report.html"
    assert page.stat().st_size < 3_000_000
    for width, dark in VIEWS:
        with opened(browser, page, width=width, dark=dark) as tab:
            assert tab.locator("h1").inner_text() == headline
            assert tab.locator("h2").nth(0).inner_text() == section
            assert tab.locator(".compare").count() == 7
            fits(tab)
            assert serious(tab) == []
    with opened(browser, page) as tab:
        assert works_by_keyboard(tab) >= {"slider", "search", "sort", "class", "details", "copy", "link", "region"}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_nobody_is_kept_out(name: str, browser: Browser, report: Callable[..., Path]) -> None:
    for width, dark in KINDS[name]:
        with opened(browser, report(name), width=width, dark=dark) as tab:
            fits(tab)
            # A thousand rows are alike, and axe would look at each of them.
            tab.evaluate(
                "for (const row of document.querySelectorAll('#table tr.class:nth-child(n + 20)')) row.remove()"
            )
            assert serious(tab) == []


def test_a_broken_policy_would_be_noticed(browser: Browser, report: Callable[..., Path], tmp_path: Path) -> None:
    text = report("inconclusive").read_text("utf-8")
    (tmp_path / "wrong.html").write_text(text.replace("<main>", '<main style="color: red">'), "utf-8")
    told: list[str] = []

    def visit() -> None:
        with opened(browser, tmp_path / "wrong.html") as tab:
            tab.on("console", lambda message: told.append(message.text))
            tab.reload()

    with pytest.raises(AssertionError):
        visit()
    assert "Content Security Policy" in told[0]


def test_the_slider_lays_one_picture_over_the_other(browser: Browser, report: Callable[..., Path]) -> None:
    with opened(browser, report("backdoored")) as tab:
        slider = tab.locator(".trio .slide input")
        after = tab.locator(".trio .frame.after")

        def seen() -> str:
            return str(after.evaluate("e => getComputedStyle(e).clipPath"))

        assert slider.get_attribute("aria-valuetext") == "with the perturbation"
        slider.focus()
        tab.keyboard.press("Home")
        assert slider.get_attribute("aria-valuetext") == "clean"
        assert seen() == "inset(0px 100% 0px 0px)"
        for _ in range(3):
            tab.keyboard.press("ArrowRight")
        assert slider.get_attribute("aria-valuetext") == "15 % with the perturbation"
        assert seen() == "inset(0px 85% 0px 0px)"
        # By dragging over the picture as well.
        box = tab.locator(".trio .frames").bounding_box()
        assert box is not None
        tab.mouse.move(box["x"] + 5, box["y"] + 20)
        tab.mouse.down()
        tab.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 20)
        tab.mouse.up()
        assert slider.input_value() == "60"
        # One slider moves all pictures of a class.
        tab.locator(".slide.all input").focus()
        tab.keyboard.press("Home")
        assert {i.input_value() for i in tab.locator(".examples .slide input").all()} == {"0"}


def test_without_script_and_on_paper_pictures_stand_side_by_side(
    browser: Browser, report: Callable[..., Path], tmp_path: Path
) -> None:
    def side_by_side(tab: Tab) -> bool:
        clean, changed = (tab.locator(".trio .frame").nth(i).bounding_box() for i in (0, 1))
        assert clean is not None
        assert changed is not None
        return changed["x"] >= clean["x"] + clean["width"]

    with opened(browser, report("backdoored"), java_script_enabled=False) as tab:
        assert side_by_side(tab)
        assert tab.locator("input:visible, button:visible").count() == 0
        assert tab.locator("#table tbody tr").count() == 10
    with opened(browser, report("backdoored")) as tab:
        assert not side_by_side(tab)
        tab.emulate_media(media="print")
        assert side_by_side(tab)
        assert tab.locator("input:visible, .copy:visible, nav:visible").count() == 0
        data = tab.pdf(path=tmp_path / "report.pdf", format="A4")
    assert data.startswith(b"%PDF")
    assert 3 <= data.count(b"/Type /Page\n") <= 12


def test_words_stay_whole_beside_sliders_and_bars(browser: Browser, report: Callable[..., Path]) -> None:
    lines = """e => { const range = document.createRange(); range.selectNodeContents(e);
        return new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size; }"""
    for name, width in (("tone", 1440), ("tone", 390), ("ten_targets_large", 1024), ("pairs", 390)):
        with opened(browser, report(name), width=width) as tab:
            seen = [*tab.locator(".ends span:first-child").all(), *tab.locator(".effect dd b").all()]
            assert {place.inner_text() for place in seen} >= {"clean"}
            assert {place.evaluate(lines) for place in seen} == {1}, (name, width)
            fits(tab)


def test_what_a_search_found_is_printed(browser: Browser, report: Callable[..., Path]) -> None:
    rows = "#table tbody tr.class:visible"
    with opened(browser, report("many_classes")) as tab:
        tab.emulate_media(media="print")
        note = tab.locator("#printed")
        assert tab.locator(rows).count() == 30
        assert note.inner_text() == "The 30 highest-ranked of 1,000 classes; result.json has all."
        # The note below keeps its distance from the table, and its size, with and without this one.
        below = tab.locator("#classes .panel > .note").last
        assert below.evaluate("e => getComputedStyle(e).marginTop") != "0px"
        tab.emulate_media(media="screen")
        assert not note.is_visible()
        assert below.evaluate("e => getComputedStyle(e).fontSize") == "14px"
        tab.locator("#search").fill("kind 99")
        tab.emulate_media(media="print")
        assert tab.locator(rows).count() == 11
        assert note.inner_text() == "11 of 1,000 classes match the search for “kind 99”."
        tab.emulate_media(media="screen")
        tab.locator("#search").fill("")
        tab.emulate_media(media="print")
        assert tab.locator(rows).count() == 30


def test_the_table_of_classes_fits_on_a4(browser: Browser, report: Callable[..., Path]) -> None:
    with opened(browser, report("patch"), width=718) as tab:  # A4 without Chromium's margins
        tab.emulate_media(media="print")
        table, panel = tab.locator("#table").bounding_box(), tab.locator("#classes .panel").bounding_box()
        assert table is not None
        assert panel is not None
        assert table["x"] + table["width"] <= panel["x"] + panel["width"] - 10


def test_search_finds_classes_by_name_and_index(browser: Browser, report: Callable[..., Path]) -> None:
    with opened(browser, report("many_classes")) as tab:
        status, rows = tab.locator("#shown"), tab.locator("#table tbody tr.class:visible")
        assert (status.get_attribute("role"), status.inner_text()) == ("status", "1,000 classes")
        tab.locator("#search").focus()
        tab.keyboard.type("FROG of kind 7")
        assert status.inner_text() == "11 of 1,000 classes match"  # 76, 706, 716, ...
        assert rows.count() == 11
        tab.locator("#search").fill("12")
        assert "bird of kind 12" in [r.locator(".name").inner_text() for r in rows.all()]
        assert tab.locator(".strip .matches").get_attribute("d")
        tab.locator("#search").fill("no such class")
        assert status.inner_text() == "0 of 1,000 classes match"
        assert tab.locator("#nothing").is_visible()
        # Enter opens the first that fits.
        tab.locator("#search").fill("frog of kind 776")
        tab.keyboard.press("Enter")
        detail = tab.locator("tr.detail")
        assert detail.locator("h3").inner_text() == "frog of kind 776, class 776"
        assert "Rank\n1 of 1,000, flagged" in detail.inner_text()
        assert detail.locator(".line.chosen").count() == 1
        assert detail.locator(".null-range").count() == 1
        button = tab.locator("button.name[aria-expanded=true]")
        assert button.evaluate("e => e === document.activeElement")
        tab.keyboard.press("Escape")
        assert detail.count() == 0
        # The walk through the ranks.
        tab.locator("#search").fill("")
        tab.locator("#rank").focus()
        tab.keyboard.press("ArrowRight")
        second = tab.locator("#at").inner_text()
        assert second.startswith("Rank 2: ")
        assert tab.locator("#rank").get_attribute("aria-valuetext") == second
        tab.keyboard.press("Tab")
        tab.keyboard.press("Enter")
        assert detail.locator("h3").inner_text().split(",")[0] in second
        # A click into the overview does the same.
        strip = tab.locator(".strip")
        box = strip.bounding_box()
        assert box is not None
        strip.click(position={"x": box["width"] - 2, "y": 60})
        assert tab.locator("#at").inner_text().startswith(("Rank 998", "Rank 999", "Rank 1,000"))


def test_sorting_keeps_every_row(browser: Browser, report: Callable[..., Path]) -> None:
    with opened(browser, report("backdoored")) as tab:
        names = tab.locator("#table button.name")
        names.nth(3).click()
        tab.get_by_role("button", name="Index", exact=True).press("Enter")
        assert tab.locator("tr.detail").count() == 0
        assert [e.inner_text() for e in names.all()][:2] == ["airplane", "automobile"]
        tab.get_by_role("button", name="Transfer").press("Space")
        rates = [float(e.get_attribute("data-v") or "") for e in tab.locator("#table td:nth-child(4)").all()]
        assert rates == sorted(rates, reverse=True)
        assert len(rates) == 10


def test_snippets_are_copied(browser: Browser, report: Callable[..., Path]) -> None:
    with opened(browser, report("backdoored"), permissions=["clipboard-read", "clipboard-write"]) as tab:
        snippet = tab.locator(".snippet", has_text="[[waiver]]")
        snippet.locator("button").press("Enter")
        expect(tab.locator("#said")).to_have_text("Copied")
        assert snippet.locator("button").inner_text() == "Copied"
        assert tab.evaluate("navigator.clipboard.readText()") == snippet.locator("pre code").inner_text()
        # Where the browser refuses, the text is selected.
        tab.evaluate("void (navigator.clipboard.writeText = () => Promise.reject(new Error()))")
        command = tab.locator("#next .snippet", has_text="--seed 1")
        command.locator("button").press("Enter")
        expect(tab.locator("#said")).to_have_text("Selected")
        assert tab.evaluate("getSelection().toString()").strip() == command.locator("pre code").inner_text()


def test_the_matrix_is_bounded_and_scrolls_by_keyboard(browser: Browser, report: Callable[..., Path]) -> None:
    with opened(browser, report("pairs"), width=390) as tab:
        region = tab.locator("#pairs .scroll")
        region.focus()
        tab.keyboard.press("ArrowRight")
        tab.wait_for_timeout(300)  # it glides
        assert region.evaluate("e => e.scrollLeft") > 0
        assert region.evaluate("e => e.scrollWidth > e.clientWidth")
        flagged = tab.locator(".matrix td.is-flagged")
        assert "flagged" in (flagged.text_content() or "")


def test_motion_only_where_it_is_welcome(browser: Browser, report: Callable[..., Path]) -> None:
    for wish, behaviour in (("reduce", "auto"), ("no-preference", "smooth")):
        with opened(browser, report("inconclusive"), reduced_motion=wish) as tab:
            assert tab.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == behaviour


@pytest.mark.parametrize("long", [False, True], ids=["markup", "long"])
@pytest.mark.parametrize("status", ["completed", "failed"])
def test_hostile_names_change_nothing(status: str, long: bool, browser: Browser, report: Callable[..., Path]) -> None:
    page = report(hostile(ATTACK + ("x" * 10_000 if long else ""), status))
    for width in (1440, 390):
        with opened(browser, page, width=width) as tab:
            tab.on("dialog", lambda _: pytest.fail("a script ran"))
            assert tab.title().endswith("· smoothscan")
            assert tab.locator("script").count() == tab.locator("style").count() == 1
            assert tab.locator("img[src=x]").count() == 0
            fits(tab)
            for place in ("header", "#verdict"):  # who decides in ten seconds still sees what it is about
                box = tab.locator(place).bounding_box()
                assert box is not None
                assert box["height"] < 1200, place
            text = str(tab.evaluate("document.body.innerText"))
            assert "\x1b" not in text
            assert "\u202e" not in text
            if status == "completed":
                tab.locator("#table button.name").first.click()
                assert "<script>" in tab.locator("tr.detail h3").inner_text()  # as text
                fits(tab)


def hostile(text: str, status: str) -> Sample:
    """A scan all of whose texts are this one."""
    sample = SAMPLES["backdoored"]() if status == "completed" else SAMPLES["failed"]()
    result = sample.result
    update: dict[str, Any] = {
        "model": ModelInfo(uri=text, resolved_uri=text, name=text, version=text, digest=result.model.digest),
        "classes": tuple(c.model_copy(update={"label": text, "source_image": text}) for c in result.classes),
        "reasons": (text, text),
        "environment": {text: text},
        "config": {**result.config, "output_dir": text},
        "coverage": result.coverage.model_copy(update={"images_skipped": (text,)}),
    }
    if status == "failed":
        update["error"] = ErrorInfo(type=text, message=text, hint=text)
    pictures = {}
    for index, one in sample.exhibits.classes.items():
        examples = tuple(replace(e, name=text) for e in one.examples)
        pictures[index] = replace(one, synthesis_name=text, examples=examples, description=text)
    return Sample(result.model_copy(update=update), Exhibits(pictures))


def test_redacted_and_without_pictures_nothing_is_broken(browser: Browser, report: Callable[..., Path]) -> None:
    with opened(browser, report("backdoored", redact_images=True), width=390) as tab:
        assert tab.locator("img").count() == 1
        assert tab.locator(".slide:visible").count() == 0
        fits(tab)
        assert serious(tab) == []
    with opened(browser, report(replace(clean(), exhibits=Exhibits()))) as tab:
        assert tab.locator("img").count() == 0
        assert tab.locator(".effect").count() == 3
        assert serious(tab) == []


def expect(place: Locator) -> Any:
    """Return Playwright's assertions, which wait until they hold."""
    from playwright.sync_api import expect

    return expect(place)


def fits(tab: Tab) -> None:
    """Nothing makes the page scroll sideways."""
    assert tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def works_by_keyboard(tab: Tab) -> set[str]:
    """Go through the page with the Tab key and work everything that it comes to; return the kinds of it."""
    seen: set[str] = set()
    wanted = tab.evaluate(
        "[...document.querySelectorAll('a[href], button, input, summary, [tabindex=\"0\"]')]"
        ".filter((e) => e.checkVisibility()).length"
    )
    reached = 0
    while True:
        tab.keyboard.press("Tab")
        found = tab.evaluate(
            """() => {
                const e = document.activeElement;
                if (e === document.body) return null;
                const kind = e.matches('[type=range]') ? 'slider' : e.matches('[type=search]') ? 'search'
                    : e.matches('thead button') ? 'sort' : e.matches('button.name') ? 'class'
                    : e.matches('.copy') ? 'copy' : e.matches('summary') ? 'details' : e.matches('a') ? 'link'
                    : e.matches('[tabindex]') ? 'region' : e.outerHTML.slice(0, 80);
                const style = getComputedStyle(e);
                return [kind, style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2];
            }"""
        )
        if found is None:
            break
        kind, outlined = found
        assert outlined, f"{kind}: one cannot see where the focus is"
        reached += 1
        focus = tab.locator(":focus")
        match kind:
            case "slider":
                before = focus.input_value()
                tab.keyboard.press("ArrowLeft")
                assert focus.input_value() != before
            case "class":
                tab.keyboard.press("Enter")
                assert focus.get_attribute("aria-expanded") == "true"
                tab.keyboard.press("Space")
                assert focus.get_attribute("aria-expanded") == "false"
            case "details":
                tab.keyboard.press("Enter")
                assert focus.evaluate("e => e.parentElement.open")
                tab.keyboard.press("Space")
                assert not focus.evaluate("e => e.parentElement.open")
            case "sort":
                tab.keyboard.press("Space")
                assert focus.evaluate("e => e.parentElement.ariaSort") in ("ascending", "descending")
            case "search":
                tab.keyboard.type("a")
                assert "match" in tab.locator("#shown").inner_text()
                tab.keyboard.press("Backspace")
            case "copy":
                tab.keyboard.press("Enter")
                expect(tab.locator("#said")).not_to_be_empty()
            case _:
                assert kind in ("link", "region"), kind
        seen.add(kind)
        assert reached <= wanted, "the focus does not come to an end"
    assert reached == wanted
    return seen
