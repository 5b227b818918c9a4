from __future__ import annotations

from pathlib import Path
from typing import Any

from smoothscan.config import ScanConfig
from smoothscan.draft import Draft, config_digest
from smoothscan.result import CalibrationUse, ModelInfo, NoiseProbe, ScanResult
from smoothscan.stored import DiffusionFiles
from smoothscan.verdict.calibration import Calibration, CleanModel
from smoothscan.verdict.decision import Verdict

VERDICT = Verdict(
    name="clean",
    score=0.2,
    anomaly=0.1,
    p_value=0.4,
    calibration=CalibrationUse(p_value=1.0, smallest_p=0.5, n_models=1, highest_anomaly=0.3),
    target_classes=(),
    classes=(),
    reasons=("No trigger found under this budget.",),
    noise_probe=NoiseProbe(),
    reported=0,
    space="l2",
    search=0,
    spaces=(),
    pairs=None,
)


def judged(anomaly: float | None = None, digest: str = "sha256:clean", **options: Any) -> ScanResult:
    """A scan of the model sha256:scanned, with a calibration on one model if its anomaly is given."""
    calibration = None
    if anomaly is not None:
        calibration = Calibration(models=(CleanModel(uri="models:/clean/1", digest=digest, anomaly=anomaly),))
    config = ScanConfig(uri="models:/x/1", images=Path("images"), **options)
    draft = Draft(config, ModelInfo(uri=config.uri, digest="sha256:scanned"), "sha256:images", calibration)
    return draft.judged(VERDICT)


def test_what_the_calibration_said_is_in_the_result() -> None:
    result = judged(0.3)
    assert (result.anomaly, result.p_value, result.calibration) == (0.1, 0.4, VERDICT.calibration)
    assert result.reasons == VERDICT.reasons


def test_a_model_that_is_judged_by_itself_says_so() -> None:
    result = judged(0.3, digest="sha256:scanned")
    assert result.reasons[0] == VERDICT.reasons[0]
    assert "one of the calibration's clean models" in result.reasons[-1]


def test_the_configuration_is_told_apart_by_what_is_in_the_calibration_not_by_its_name() -> None:
    digests = {judged().config_digest, judged(0.3).config_digest, judged(0.4).config_digest}
    assert len(digests) == 3
    assert None not in digests
    here, there = judged(0.3, calibration=Path("here.json")), judged(0.3, calibration=Path("there.json"))
    assert here.config_digest == there.config_digest == judged(0.3).config_digest
    assert here.config["calibration"] == "here.json"


def test_what_the_gate_reads_does_not_change_what_a_scan_finds() -> None:
    options: dict[str, Any] = {
        "waivers": Path("w"),
        "baseline": Path("b"),
        "sarif_anchor": Path("a"),
        "formats": ("sarif",),
    }
    assert judged(**options).config_digest == judged().config_digest
    assert judged(**options).config["waivers"] == "w"


def test_the_denoiser_counts_by_its_files_and_not_by_where_they_are() -> None:
    def digest(uri: str, content: str) -> str:
        config = ScanConfig(uri="models:/x/1", images=Path("images"), denoiser=uri)
        files = DiffusionFiles(
            uri=uri, unet=uri, scheduler=uri, scheduler_class="DDPMScheduler", digest=f"sha256:{content}"
        )
        return config_digest(config, "sha256:images", None, files)

    none = config_digest(ScanConfig(uri="models:/x/1", images=Path("images")), "sha256:images", None, None)
    assert digest("here", "one") == digest("there", "one")
    assert len({digest("here", "one"), digest("here", "two"), none}) == 3
