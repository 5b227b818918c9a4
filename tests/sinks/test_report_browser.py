"""The report in a real browser: nothing refused, nothing reported, something drawn."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from smoothscan.sinks.html import HtmlSink

from .samples import Sample

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=3000",
)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH")
@pytest.mark.parametrize("dark", [False, True])
def test_report_in_chromium(dark: bool, backdoored_sample: Sample, tmp_path: Path) -> None:
    sink = HtmlSink(redact_images=False, command="smoothscan check models:/x/1 --images clean")
    (page,) = sink.write(backdoored_sample.result, backdoored_sample.exhibits, tmp_path)
    # The same page with a style of its own: proof that the browser would report what the policy refuses.
    wrong = tmp_path / "wrong.html"
    wrong.write_text(page.read_text("utf-8").replace("<main>", '<main style="color: red">'), "utf-8")

    picture, messages = _open(page, tmp_path, dark)
    assert messages == []
    assert any("Content Security Policy" in message for message in _open(wrong, tmp_path, dark)[1])

    assert picture.size == (1200, 900)
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert pixels[-1, 2].tolist() == ([15, 20, 25] if dark else [245, 246, 248])  # the page's ground
    flagged = np.array([255, 148, 102] if dark else [178, 58, 14])
    assert (np.abs(pixels - flagged).max(axis=2) < 3).sum() > 2000  # the band and the sign of the verdict


def _open(page: Path, folder: Path, dark: bool) -> tuple[Pillow.Image, list[str]]:
    """Return a screenshot and what the page says on the console."""
    assert CHROMIUM is not None
    shot = folder / "shot.png"
    done = subprocess.run(
        [
            CHROMIUM,
            *OPTIONS,
            f"--user-data-dir={folder / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--window-size=1200,900",
            f"--screenshot={shot}",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return Pillow.open(shot), re.findall(r"CONSOLE.*", done.stderr)
