"""`check --denoiser` as users start it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.diffusion import pipeline

from .program import ENVIRONMENT, Digits, Run


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipeline(tmp_path_factory.mktemp("denoiser") / "untrained", size=8)


def read(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def test_a_scan_through_a_denoiser_says_so(smoothscan: Run, work: Path, digits: Digits, untrained: Path) -> None:
    options = [*digits.arguments, "--no-write-back", "--profile", "quick", "--spaces", "l2", "--cache-dir", "kept"]
    through = [*options, "--denoiser", untrained, "--denoising", "mixed"]
    first = smoothscan("check", *through, "--output-dir", "first")
    assert first.returncode in (0, 1, 4), first.stderr
    assert "] denoiser: " in first.stderr
    assert ", denoised" in first.stderr
    result = read(work / "first")
    assert result["denoiser"]["uri"] == str(untrained)
    assert result["denoiser"]["digest"].startswith("sha256:")
    assert result["cost"]["denoiser_passes"] > 0
    assert all(space["denoised"] for space in result["spaces"])
    page = (work / "first/report.html").read_text()
    assert "Denoiser passes" in page
    assert "searched through the denoiser" in page

    again = smoothscan("check", *through, "--output-dir", "again")
    assert "] recall" in again.stderr, "nothing has changed"
    weights = next((untrained / "unet").glob("*.safetensors"))
    copy = work / "copy"
    pipeline(copy, size=8)
    (copy / "unet" / weights.name).write_bytes(weights.read_bytes())
    (copy / "scheduler/scheduler_config.json").write_text(
        (copy / "scheduler/scheduler_config.json").read_text().replace("0.02", "0.019")
    )
    other = smoothscan("check", *options, "--denoiser", copy, "--denoising", "mixed", "--output-dir", "other")
    assert "] recall" not in other.stderr, "the files count, not the path alone"


@pytest.mark.parametrize(
    ("denoiser", "message"),
    [
        ("nowhere", "There is no denoiser nowhere"),
        ("grey", "is for 1-channel images, the model's have 3"),
        ("latent", "works on latents (vae)"),
        ("models:/digits/7", "has no version 7"),
    ],
)
def test_a_denoiser_that_cannot_be_used_is_a_usage_error(
    smoothscan: Run, work: Path, digits: Digits, denoiser: str, message: str
) -> None:
    if denoiser in ("grey", "latent"):
        pipeline(work / denoiser, channels=1 if denoiser == "grey" else 3)
    if denoiser == "latent":
        index = json.loads((work / "latent/model_index.json").read_text())
        index["vae"] = ["diffusers", "AutoencoderKL"]
        (work / "latent/model_index.json").write_text(json.dumps(index))
    run = smoothscan("check", *digits.arguments, "--no-write-back", "--denoiser", denoiser)
    assert run.returncode == 2, run.stderr
    error = run.stderr[run.stderr.index("Error:") :]
    assert message in error
    assert "Hint: " in error
    assert "Traceback" not in run.stderr
    assert not (work / "smoothscan-report").exists()


def test_an_id_of_the_hub_without_network_is_a_clear_error(
    smoothscan: Run, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "HF_ENDPOINT", "http://127.0.0.1:9")
    run = smoothscan("check", *digits.arguments, "--no-write-back", "--denoiser", "nobody/nothing", timeout=60)
    assert run.returncode == 2, run.stderr
    assert "nobody/nothing is no folder here, and could not be fetched from the hub" in run.stderr
    assert "give its folder" in run.stderr


def test_denoising_without_a_denoiser_is_a_usage_error(smoothscan: Run, digits: Digits) -> None:
    run = smoothscan("check", *digits.arguments, "--denoising", "always")
    assert run.returncode == 2
    assert "denoising always needs a denoiser" in run.stderr
