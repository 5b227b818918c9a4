from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import smoothscan
from smoothscan.errors import OutputError
from smoothscan.exhibits import Exhibits
from smoothscan.result import ErrorInfo, ModelInfo, Promotion, ScanResult
from smoothscan.sinks.html import HtmlSink, render
from smoothscan.sinks.page import template_folder
from smoothscan.sinks.report.charts import LEADING
from smoothscan.sinks.report.classes import PRINTED
from smoothscan.sinks.report.evidence import MAX_CARDS
from smoothscan.sinks.text import plain

from .gated import HOSTILE, hostile
from .pages import COMMAND, Page, page_of, pictures
from .samples import SAMPLES, Sample, exhibit, grey, ten_targets_large


def test_structure(any_sample: Sample) -> None:
    page = page_of(any_sample)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    referred = {
        name for _, a in page.elements for key in ("aria-labelledby",) if key in a for name in (a[key] or "").split()
    }
    referred |= {(a["href"] or "")[1:] for a in page.all("a")}
    assert referred <= set(ids)
    assert [len(page.all(tag)) for tag in ("h1", "main", "header", "footer")] == [1, 1, 1, 1]
    assert page.all("html") == [{"lang": "en"}]
    assert all(attributes.get("alt") for attributes in page.all("img"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(b <= a + 1 for a, b in pairwise(levels))


def test_loads_nothing(any_sample: Sample) -> None:
    page = page_of(any_sample)
    for tag, attributes in page.elements:
        for key in ("src", "href", "srcset", "action", "data", "poster", "xlink:href", "formaction"):
            assert (attributes.get(key) or "#").startswith(("data:", "#")), (tag, key)
        assert "style" not in attributes
        assert not [key for key in attributes if key.startswith("on")]
    assert "url(" not in page.styles[0]
    assert "@import" not in page.styles[0]


def test_content_security_policy_names_style_and_script(backdoored_sample: Sample) -> None:
    page = page_of(backdoored_sample)
    (policy,) = [m["content"] or "" for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    def allowed(texts: list[str]) -> str:
        (text,) = texts
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": allowed(page.styles),
        "script-src": allowed(page.scripts),
        "base-uri": "'none'",
        "form-action": "'none'",
    }


@pytest.mark.parametrize("name", ["failed", "refused", "unsupported", "timed_out", "inconclusive"])
def test_without_an_answer_there_are_no_empty_charts(name: str) -> None:
    page = page_of(SAMPLES[name]())
    assert page.all("figure") == page.all("table") == page.all("img") == page.all("input") == []


def test_every_part_of_the_result_is_shown(backdoored_sample: Sample) -> None:
    result = backdoored_sample.result
    text = page_of(backdoored_sample).text
    assert result.input_spec is not None
    expected = [
        f"{result.score:.3f}",
        "0 to 1; suspicion begins at 0.5",
        "6 %",  # of the images moved by a shuffled copy
        "10 of 10",
        "broken.png: not an image",
        "1 image file",
        *result.model.files,
        *result.model.files.values(),
        str(result.model.digest),
        str(result.config_digest),
        *result.safety.findings,
        *result.safety.isolation,
        "The architecture was not examined",
        *result.environment.values(),
        *result.input_spec.sources.values(),
        str(result.write_back.run_id),
        "148,213",
        "1.1 GiB",
        "input.std 0.247, 0.2435, 0.2616",
        "seed 0",
        "2026-11-22 21:40 UTC",
        "amplified \u00d7",
        "clean synthesis image",
        "dog → becomes dog (not moved)",
    ]
    for words in expected:
        assert words.lower() in text.lower(), words


def test_what_became_of_the_alias_stands_beside_the_write_back(clean_sample: Sample) -> None:
    moved = Promotion(alias="champion", status="moved", before="1", message="champion moved from version 1 to 3.")
    result = clean_sample.result.model_copy(update={"promotion": moved})
    assert "Alias champion moved from version 1 to 3." in page_of(replace(clean_sample, result=result)).text
    assert "Alias" not in page_of(clean_sample).text


def test_table_is_complete(many_classes_sample: Sample) -> None:
    page = page_of(many_classes_sample)
    rows = [(a.get("class") or "").split() for a in page.all("tr") if "data-curve" in a]
    assert len(rows) == 1000
    assert rows[0] == ["class", "is-flagged"]
    assert sum("beyond" in row for row in rows) == 1000 - PRINTED
    assert f"The {PRINTED} highest-ranked of 1,000 classes" in page.text
    assert "Transfer of all 1,000 classes, most suspect first" in str(page.all("svg"))
    # A line for the target and for the first of the others; the rest is a band.
    lines = [a["class"] for a in page.all("polyline") if "noise" not in (a.get("class") or "")]
    assert lines == ["null-median"] + ["line other"] * LEADING + ["line flagged"] + ["line closest"]


def test_size_of_a_page_of_a_thousand_classes(many_classes_sample: Sample) -> None:
    classes = tuple(
        c.model_copy(update={"label": f"{c.index} {'long ' * 40}"}) for c in many_classes_sample.result.classes
    )
    result = many_classes_sample.result.model_copy(update={"classes": classes})
    text = render(result, many_classes_sample.exhibits, redact_images=False, command=COMMAND)
    assert 1_000_000 < len(text.encode()) < 8_000_000


def test_few_classes_need_no_overview(backdoored_sample: Sample) -> None:
    page = page_of(backdoored_sample)
    assert not [a for a in page.all("svg") if a.get("class") == "strip"]
    assert not [a for a in page.all("tr") if "beyond" in (a.get("class") or "")]


@pytest.mark.parametrize(
    "hostile",
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</title></style><b>", "\x1b[2J\x1b]0;x\x07\u202e"],
)
def test_hostile_text_is_neutralised(hostile: str, backdoored_sample: Sample) -> None:
    result, exhibits = backdoored_sample.result, backdoored_sample.exhibits
    one = exhibits.classes[0]
    named = replace(one, synthesis_name=hostile, examples=tuple(replace(e, name=hostile) for e in one.examples))
    changed = result.model_copy(
        update={
            "model": ModelInfo(uri=hostile, name=hostile, version=hostile, digest=hostile, files={hostile: hostile}),
            "classes": tuple(c.model_copy(update={"label": hostile}) for c in result.classes),
            "reasons": (hostile, hostile),
            "error": ErrorInfo(type=hostile, message=hostile, hint=hostile),
            "config": {hostile: {hostile: [hostile]}},
            "environment": {hostile: hostile},
            "started_at": hostile,
            "finished_at": hostile,
            "safety": result.safety.model_copy(update={"findings": (hostile,), "isolation": (hostile,)}),
            "coverage": result.coverage.model_copy(update={"images_skipped": (hostile,)}),
            "write_back": result.write_back.model_copy(update={"message": hostile, "run_id": hostile}),
            "promotion": Promotion(alias=hostile, status="held", before=hostile, message=hostile),
        }
    )
    before = page_of(backdoored_sample)
    text = render(changed, Exhibits({0: named}), redact_images=False, command=hostile)
    page = Page(text)
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert len(page.all("img")) == len(before.all("img"))
    assert page.all("b") == before.all("b")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    for _, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on")]


def test_redaction_shows_perturbations_only(backdoored_sample: Sample) -> None:
    one = backdoored_sample.exhibits.classes[0]
    page = page_of(backdoored_sample, redact_images=True)
    (picture,) = pictures(page)
    text = render(backdoored_sample.result, backdoored_sample.exhibits, redact_images=True, command=COMMAND)
    assert text.count("base64,") == 1
    # What is left is the perturbation: mid-grey plus a multiple of delta, and nothing of any image.
    seen = np.asarray(picture).transpose(2, 0, 1) / 255 - 0.5
    np.testing.assert_allclose(seen, 0.5 * one.perturbation / np.abs(one.perturbation).max(), atol=0.003)
    assert "Images are redacted" in page.text
    assert "bird → becomes airplane" in page.text
    # Without redaction the same test sees the user's pixels, so it can fail.
    shown = [np.asarray(p).transpose(2, 0, 1) for p in pictures(page_of(backdoored_sample))]
    assert any(np.abs(s / 255 - one.synthesis_image).max() < 0.003 for s in shown)
    assert len(shown) == 4 + 2 * len(one.examples)  # trigger, where it sits, and every image before and after


@pytest.mark.parametrize("name", ["patch", "warp", "frequency"])
def test_redaction_outside_l2_shows_the_trigger_by_itself(name: str) -> None:
    sample = SAMPLES[name]()
    one = sample.exhibits.classes[4]
    page = page_of(sample, redact_images=True)
    shown = [np.asarray(p).transpose(2, 0, 1) / 255 for p in pictures(page)]
    assert one.description in page.text
    np.testing.assert_allclose(shown, [one.picture], atol=0.003)


@pytest.mark.parametrize("name", ["patch", "warp", "frequency", "tone"])
def test_the_trigger_by_itself_comes_first(name: str) -> None:
    sample = SAMPLES[name]()
    one = sample.exhibits.classes[4]
    assert one.picture is not None
    page = page_of(sample)
    trigger, _, clean, perturbed, *_ = [np.asarray(p).transpose(2, 0, 1) / 255 for p in pictures(page)]
    np.testing.assert_allclose(clean, one.synthesis_image, atol=0.002)
    np.testing.assert_allclose(trigger, one.picture, atol=0.003)
    np.testing.assert_allclose(perturbed, (one.synthesis_image + one.perturbation).clip(0, 1), atol=0.002)
    assert f"{one.description} " in page.text
    assert "amplified" not in page.text


def test_pictures_are_exact_when_small(backdoored_sample: Sample) -> None:
    one = backdoored_sample.exhibits.classes[0]
    page = page_of(backdoored_sample)
    _, _, clean, perturbed, *_ = [np.asarray(p).transpose(2, 0, 1) / 255 for p in pictures(page)]
    np.testing.assert_allclose(clean, one.synthesis_image, atol=0.002)
    np.testing.assert_allclose(perturbed, np.clip(one.synthesis_image + one.perturbation, 0, 1), atol=0.002)
    assert all(attributes.get("class") == "pixelated" for attributes in page.all("img"))


def test_one_channel() -> None:
    trigger, where, *others = [picture.mode for picture in pictures(page_of(grey()))]
    assert (trigger, where, set(others)) == ("L", "RGB", {"L"})  # where it sits is marked in a colour


def test_size_of_the_largest_page_of_ten_classes() -> None:
    sample = ten_targets_large()
    rng = np.random.default_rng(0)
    # Noise all over is the worst that a perturbation and a photograph can be for a compressor.
    noisy = {}
    for i in range(10):
        one = exhibit(i, 10.0, True, side=224)
        image = np.clip(one.synthesis_image + rng.normal(0, 0.05, one.synthesis_image.shape), 0, 1).astype(np.float32)
        delta = rng.normal(0, 0.026, image.shape).astype(np.float32)
        noisy[i] = replace(one, perturbation=delta, synthesis_image=image)
    text = render(sample.result, Exhibits(noisy), redact_images=False, command=COMMAND)
    assert 300_000 < len(text.encode()) < 3_000_000


def test_more_flagged_classes_than_cards() -> None:
    sample = ten_targets_large()
    classes = tuple(sample.result.classes[i % 10].model_copy(update={"index": i}) for i in range(MAX_CARDS + 3))
    page = page_of(replace(sample, result=sample.result.model_copy(update={"classes": classes})))
    assert len(page.all("article")) == MAX_CARDS
    assert "3 more flagged classes without pictures" in page.text


def test_a_result_without_pictures(backdoored_sample: Sample) -> None:
    page = page_of(replace(backdoored_sample, exhibits=Exhibits()))
    assert page.all("img") == []
    assert "No picture of this class's perturbation was kept" in page.text


def test_an_almost_empty_result() -> None:
    page = page_of(Sample(ScanResult(status="failed", model=ModelInfo(uri="models:/x/1")), Exhibits()))
    assert "Scan failed" in page.text


def test_sink_writes_and_keeps_the_old_page_on_failure(backdoored_sample: Sample, tmp_path: Path) -> None:
    sink = HtmlSink(redact_images=False, command=COMMAND)
    (path,) = sink.write(backdoored_sample.result, backdoored_sample.exhibits, tmp_path / "out")
    assert path == tmp_path / "out" / "report.html"
    old = path.read_bytes()
    broken = replace(backdoored_sample.exhibits.classes[0], perturbation=np.zeros(3, np.float32))
    with pytest.raises(Exception, match=r"axis|shape|dimension|unpack"):
        sink.write(backdoored_sample.result, Exhibits({0: broken}), tmp_path / "out")
    assert path.read_bytes() == old
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["report.html"]


def test_the_same_scan_gives_the_same_page(backdoored_sample: Sample) -> None:
    pages = {render(*_parts(backdoored_sample), redact_images=False, command=COMMAND) for _ in range(2)}
    assert len(pages) == 1


def _parts(sample: Sample) -> tuple[ScanResult, Exhibits]:
    return sample.result, sample.exhibits


def test_templates_inside_the_package_come_first(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "smoothscan"
    for folder in (package / "templates", package.parent / "templates"):
        folder.mkdir(parents=True)
        (folder / "report.html.j2").touch()
    assert template_folder(package) == package / "templates"


def test_templates_beside_the_package_in_a_checkout(tmp_path: Path) -> None:
    package = tmp_path / "smoothscan"
    package.mkdir()
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "report.html.j2").touch()
    assert template_folder(package) == tmp_path / "templates"


def test_templates_of_this_installation() -> None:
    assert template_folder().parent in (Path(smoothscan.__file__).parent, Path(smoothscan.__file__).parents[1])


def test_templates_missing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="templates are missing") as caught:
        template_folder(tmp_path / "smoothscan")
    assert "install smoothscan again" in caught.value.hint


def test_loads_neither_torch_nor_mlflow() -> None:
    code = (
        "import sys; from smoothscan.sinks.html import render; from smoothscan.result import *\n"
        "from smoothscan.exhibits import Exhibits\n"
        "render(ScanResult(status='failed', model=ModelInfo(uri='x')), Exhibits(), redact_images=False, command='x')\n"
        "print([m for m in ('torch', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("text", HOSTILE[:6])
def test_waivers_stand_beside_the_verdict_and_are_text(text: str) -> None:
    result = hostile(text)
    page = Page(render(result, Exhibits(), redact_images=False, command=COMMAND))
    shown = " ".join(plain(text).replace("\u00a0", " ").split())
    assert "Waived or known" in page.text
    assert f"by {shown} until 2027-01-31: {shown}" in page.text
    assert f"The waiver of {shown} for class 5 matches nothing" in page.text
    assert page.all("img") == []
