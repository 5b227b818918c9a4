"""What a notebook shows of a result."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

import smoothscan
from smoothscan.result import ModelInfo, SafetyReport, ScanResult
from smoothscan.sinks.notebook import pictures, render

from .pages import Page
from .samples import ANIMALS, Sample, exhibit, scanned

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = '"><script>alert(1)</script>\x1b[31m<img src=x onerror=alert(1)>\u202e' + "A" * 10_000


def block(sample: Sample, redact_images: bool = False) -> str:
    shown = pictures(sample.result, sample.exhibits, redact_images=redact_images)
    html = sample.result.with_pictures(shown)._repr_html_()
    assert html is not None
    return html


def test_every_result_is_one_block_that_brings_nothing_along(any_sample: Sample) -> None:
    html = block(any_sample)
    page = Page(html)
    assert len(html) < 300_000
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "style", "link", "iframe", "object", "form", "meta", "base"}
    for _tag, attributes in page.elements:
        assert not {name for name in attributes if name.startswith("on") or name in ("class", "id", "href")}
        assert "url(" not in (attributes.get("style") or "")
    for picture in page.all("img"):
        assert re.fullmatch(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+", picture["src"] or "")
        assert picture["alt"]
    assert "What was not examined" in page.text


def test_a_backdoor_is_shown_with_its_trigger(backdoored_sample: Sample) -> None:
    page = Page(block(backdoored_sample))
    assert "Backdoor found" in page.text
    label = next(c.label for c in backdoored_sample.result.classes if c.flagged)
    assert f"{label} (flagged)" in page.text
    assert [picture["alt"] for picture in page.all("img")][:1] == [f"perturbation for {label}"]
    assert len(page.all("polyline")) == len(backdoored_sample.result.classes)
    redacted = Page(block(backdoored_sample, redact_images=True)).all("img")
    assert [picture["alt"] for picture in redacted] == [f"perturbation for {label}"]


def test_a_clean_result_promises_nothing(clean_sample: Sample) -> None:
    text = Page(block(clean_sample)).text
    assert "No trigger found under this budget" in text
    assert "no proof that the model is safe" in text
    assert "This Python process holds the model" not in text
    held = clean_sample.result.model_copy(update={"safety": SafetyReport(held_by_caller=True)})
    text = Page(render(held)).text
    assert "its files and its code were not examined, only its answers." in text


def test_hostile_words_change_nothing() -> None:
    sample = scanned({i: 0.2 if i == 4 else 1.6 for i in range(10)}, (4,), tuple(f"{a}{HOSTILE}" for a in ANIMALS))
    result = sample.result.model_copy(
        update={"model": ModelInfo(uri=HOSTILE), "reasons": (HOSTILE,), "target_classes": (4,)}
    )
    sample = replace(sample, result=result, exhibits=replace(sample.exhibits, classes={4: exhibit(4, 0.2, True)}))
    html = block(sample)
    assert len(html) < 300_000
    page = Page(html)
    assert page.all("script") == []
    assert not [attributes for _, attributes in page.elements if "onerror" in attributes]
    assert "\x1b" not in html
    assert "\u202e" not in html
    for text in (repr(result), str(result)):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert len(text) < 1500
    assert "\n" not in repr(result)


def test_words_without_a_notebook_load_nothing_of_it(clean_sample: Sample) -> None:
    assert smoothscan.shown.renderer is not None
    assert repr(clean_sample.result).startswith("<ScanResult models:/cifar-resnet20/3: clean score=")
    failed = ScanResult(status="failed", model=ModelInfo(uri="models:/x/1"))
    assert repr(failed) == str(failed) == "<ScanResult models:/x/1: failed>"


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH")
def test_in_a_light_and_a_dark_notebook(backdoored_sample: Sample, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    # rules of JupyterLab for what it renders
    rules = (
        ".jp table{table-layout:fixed;margin:auto} .jp tr:nth-child(odd){background:#f5f5f5} .jp td{text-align:right}"
    )
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for ground, ink in (("#ffffff", "rgba(0,0,0,.87)"), ("#111111", "rgba(255,255,255,.87)")):
            page = browser.new_page(viewport={"width": 800, "height": 600})
            said: list[str] = []
            page.on("console", lambda message, said=said: said.append(message.text))
            page.set_content(
                f"<!doctype html><style>{rules} p{{margin:7px}}</style><body style='background:{ground};color:{ink}'>"
                f"<p id=before>text</p><div class=jp>{block(backdoored_sample)}</div>"
            )
            assert said == []
            style = "e => (s => [s.color, s.margin])(getComputedStyle(e))"
            colour, margin = page.eval_on_selector("#before", style)
            assert margin == "7px", "the block changes nothing outside of itself"
            assert page.eval_on_selector("td", style)[0] == colour, "words have the colour of those around them"
            assert page.eval_on_selector("td", "e => getComputedStyle(e).textAlign") == "left"
            assert page.evaluate("document.documentElement.scrollWidth") <= 800
            page.screenshot(path=tmp_path / "shot.png", full_page=True)
            row = np.asarray(Pillow.open(tmp_path / "shot.png").convert("L")).astype(int)
            assert abs(int(np.median(row)) - int(ground[1:3], 16)) < 3, "tables have no ground of their own"
        browser.close()
