"""`check --dry-run`: what would be scanned, and whether its estimate is any good."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from smoothscan.cli.preview_outcome import as_text
from smoothscan.config import ScanConfig
from smoothscan.errors import ModelNotFoundError
from smoothscan.events import Silent
from smoothscan.pipeline import scan
from smoothscan.preview import Cost, Kept, Preview, preview
from smoothscan.result import InputSpec, ModelInfo, SafetyReport, Waiver

from .program import Digits, Run

CONFIG = ScanConfig(uri="models:/digits@champion", images=Path("clean"), output_dir=Path("out"))
FOUND = Preview(
    model=ModelInfo(
        uri="models:/digits@champion", resolved_uri="models:/digits/3", name="digits", version="3",
        flavor="pytorch/pt2", digest="sha256:" + 64 * "0",
    ),
    size=2**20,
    safety=SafetyReport(sandboxed=True),
    spec=InputSpec(
        channels=3, height=8, width=9, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), outputs="log_probabilities",
        sources={"channels": "signature", "height": "signature", "width": "signature", "mean": "option"},
    ),
    labels=None,
    n_classes=10,
    in_full=10,
    images=60,
    left_out=0,
    skipped=(),
    synthesis=("a.png", "b.png"),
    screening=0,
    held_out=58,
    spaces=("l2", "patch"),
    device="cpu",
    precision="float32",
    batch_size=64,
    kept=None,
    cost=Cost({"l2": 9000.0, "patch": 4321.0}, 131.2, 0.0041),
)  # fmt: skip


def said(found: Preview = FOUND, **changes: object) -> dict[str, str]:
    """What is said, by caption; several lines under one caption in one text."""
    lines: dict[str, str] = {}
    for line in as_text(found, CONFIG.model_copy(update=changes), (), None).splitlines():
        caption, text = line[:8].strip(), line[9:]
        lines[caption] = f"{lines[caption]}\n{text}" if caption in lines else text
    return lines


def test_a_dry_run_writes_nothing_and_exits_with_0(smoothscan: Run, work: Path, digits: Digits) -> None:
    done = smoothscan("check", *digits.arguments, "--dry-run", "--profile", "quick")
    assert done.returncode == 0, done.stderr
    for part in (
        "model    models:/digits/1, pytorch/pt2, ",
        "images   60 usable images in ",
        "classes  10, each searched in full",
        "cached   no",
        "registry tags smoothscan.* on version 1 of digits, and a run",
        "files    result.json, report.html, perturbations/ in smoothscan-report",
    ):
        assert part in done.stdout
    assert list(work.iterdir()) == []
    refused = smoothscan("check", *digits.arguments, "--dry-run", "--waivers", "nowhere.toml")
    assert (refused.returncode, refused.stdout) == (2, "")


def test_the_estimate_is_within_a_factor_of_two_and_the_scan_is_found_again(digits: Digits, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    config = ScanConfig(
        uri=digits.uri,
        tracking_uri=digits.tracking_uri,
        images=digits.images,
        profile="quick",
        spaces=("l2",),
        cache_dir=tmp_path / "cache",
        threads=1,
    )
    runs = len(MlflowClient(digits.tracking_uri).search_runs(["1", "2"]))
    before = preview(config, Silent())
    assert before.kept is None
    assert not (tmp_path / "cache").exists()
    assert len(MlflowClient(digits.tracking_uri).search_runs(["1", "2"])) == runs
    result, _ = scan(config, Silent())
    assert before.model == result.model
    assert before.held_out == result.coverage.held_out
    assert 0.5 < before.cost.total_passes / result.cost.model_passes < 2
    assert preview(config, Silent()).kept == Kept(result.finished_at)


def test_what_keeps_a_scan_from_beginning_is_the_error_of_the_scan(digits: Digits) -> None:
    config = ScanConfig(uri=digits.uri, tracking_uri=digits.tracking_uri, images=digits.images)
    with pytest.raises(ModelNotFoundError, match="no version 9"):
        preview(config.model_copy(update={"uri": "models:/digits/9"}), Silent())


def test_everything_is_said_in_words() -> None:
    lines = said()
    assert lines["model"].startswith("models:/digits@champion is models:/digits/3, pytorch/pt2, 1 MiB, sha256:")
    assert lines["input"].splitlines()[0] == "3 x 8 x 9 (signature)"
    assert "mean 0.5, 0.5, 0.5 (option)" in lines["input"]
    assert "the model answers log probabilities" in lines["input"]
    assert "about 13,000 model passes and 2 min 10 s (4.1 ms a pass on cpu in float32, batches of 64)" in lines["cost"]
    assert "estimate" in lines["cost"]
    assert "seed 0" in lines["search"]
    assert "limit" not in lines


def test_what_differs_from_scan_to_scan() -> None:
    assert "stopped" in said(time_limit=60.0)["limit"]
    assert "not everything" in said(time_budget=60.0)["limit"]
    assert "nothing is written" in said(write_back=False)["registry"]
    folder = replace(FOUND, model=ModelInfo(uri="a/folder"))
    assert "no MLflow registry" in said(folder)["registry"]
    assert "no tags" in said(replace(FOUND, model=ModelInfo(uri="runs:/1/model", run_id="1")))["registry"]
    assert "goes on from there" in said(replace(FOUND, kept=Kept(None)))["cached"]
    assert "2026-11-22 21:40 UTC" in said(replace(FOUND, kept=Kept("2026-11-22T21:40:23+00:00")))["cached"]
    assert "the others screened" in said(replace(FOUND, n_classes=1000, in_full=16))["classes"]
    assert "from there" not in said(cache=False)["cached"]
    code = replace(FOUND, safety=SafetyReport(needs_model_code=True, sandboxed=True))
    assert "inside the sandbox" in said(code)["code"]
    assert "report.html" not in said(formats=("sarif",))["files"]
    assert "smoothscan.sarif" in said(formats=("sarif",))["files"]
    assert "comes on top" in said(denoiser="owner/name")["cost"]


def test_waivers_and_alias_are_told() -> None:
    waivers = tuple(
        Waiver(model_digest=digest, rule="target-class", index=1, reason="r", owner="o", expires=date(2027, 1, 1))
        for digest in (str(FOUND.model.digest), "sha256:1")
    )
    text = as_text(
        FOUND,
        CONFIG.model_copy(update={"waivers": Path("w.toml"), "set_alias": "approved", "fail_on": "backdoored"}),
        waivers,
        None,
    )
    assert "exits with 1 from backdoored on; 1 of 2 waivers in w.toml are for these files" in text
    assert "the alias approved moves to this version" in text


def test_hostile_names_change_nothing() -> None:
    text = "\x1b[31m\u202e<script>\n" + "x" * 10_000
    model = FOUND.model.model_copy(update={"uri": text, "resolved_uri": text, "name": text, "version": text})
    found = replace(FOUND, model=model, labels=(text,) * 10, skipped=(text,), synthesis=(text,))
    shown = as_text(found, CONFIG, (), None)
    assert not set("\x1b\u202e") & set(shown)
    assert len(shown.splitlines()) == len(as_text(FOUND, CONFIG, (), None).splitlines()) + 1
