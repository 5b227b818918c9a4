from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.examples.workbench import ALL_FORMATS, EXAMPLES, Workbench

URI = "models:/traffic-signs@candidate"


@pytest.fixture
def bench(bench: Workbench) -> Workbench:
    (bench.work / "waivers.toml").touch()
    return bench


def merged(base: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """What `extends` makes of two jobs."""
    both = {key: merged(base[key], job[key]) for key in base.keys() & job.keys() if isinstance(job[key], dict)}
    return base | job | both


def job(name: str) -> dict[str, Any]:
    pipeline = yaml.safe_load((EXAMPLES / "gitlab-ci.yml").read_text())
    return merged(pipeline[pipeline[name]["extends"]], pipeline[name])


@pytest.mark.parametrize("shell", ["bash", "sh"])
@pytest.mark.parametrize("code", [0, 1, 3, 4])
def test_the_gate_ends_with_the_code_of_the_scan_and_keeps_its_reports(bench: Workbench, code: int, shell: str) -> None:
    bench.ends_with(code)
    gate = job("smoothscan-gate")
    assert bench.run("\n".join(gate["script"]), shell, "-e", MODEL_URI=URI) == code
    out = ["--output-dir", "smoothscan-report", "--format", ALL_FORMATS, "--waivers", "waivers.toml"]
    assert bench.scans == [["check", "--images", "clean-images", *out, "--", URI]]
    assert (bench.work / gate["artifacts"]["reports"]["junit"]).is_file()
    assert gate["artifacts"]["paths"] == ["smoothscan-report/"]
    assert gate["artifacts"]["when"] == "always"
    assert gate["retry"] == {"max": 1, "exit_codes": 3}, "a flagged model is flagged"
    assert gate["image"]["entrypoint"] == [""], "GitLab wants a shell, the image's entrypoint is smoothscan"


def test_with_a_key_the_gate_signs_an_attestation(bench: Workbench) -> None:
    key = bench.work / "a key.pem"
    key.touch()
    assert bench.run("\n".join(job("smoothscan-gate")["script"]), MODEL_URI=URI, SMOOTHSCAN_ATTEST_KEY=str(key)) == 0
    assert bench.scans[0][-5:] == ["--attest", "--attest-key", str(key), "--", URI]


@pytest.mark.parametrize("ledger", ["", "postgresql://ledger?a=b c"])
def test_the_shards_of_a_sweep_count_from_zero(bench: Workbench, ledger: str) -> None:
    bench.ends_with(1)
    sweep = job("smoothscan-sweep")
    total = sweep["parallel"]
    for index in range(1, total + 1):
        about = {"CI_NODE_INDEX": str(index), "CI_NODE_TOTAL": str(total), "SMOOTHSCAN_LEDGER": ledger}
        assert bench.run("\n".join(sweep["script"]), **about) == 1
    common = ["sweep", "--images", "clean-images", "--output-dir", "smoothscan-report", "--shard"]
    assert bench.scans == [[*common, f"{index}/{total}"] for index in range(total)]
    assert set(bench.ledgers) == {ledger}
