"""The gate in Prefect 3: a flow that moves an alias if the scan lets the model pass."""

from __future__ import annotations

import subprocess
import sys

from prefect import flow, task

SCAN_FAILED = 3
MEANING = {
    1: "the model is flagged",
    2: "usage error",
    3: "the scan failed, or the model's files were refused as unsafe",
    4: "inconclusive: the scan ran but cannot say",
    5: "this kind of model cannot be scanned",
}


@task(retries=2, retry_delay_seconds=600)
def check(uri: str, images: str, output_dir: str, alias: str) -> int:
    """Scan one version; return the exit code unless another try may give another one."""
    options = ["--images", images, "--output-dir", output_dir, "--set-alias", alias]
    # A list, not a line for a shell: nothing in it is interpreted. Behind -- there are no options.
    code = subprocess.run(["smoothscan", "check", *options, "--", uri]).returncode
    if code == SCAN_FAILED or code not in (0, *MEANING):
        raise RuntimeError(f"{MEANING.get(code, 'the scan was stopped')} (exit code {code})")
    return code


@flow
def promote(uri: str, images: str, output_dir: str = "smoothscan-report", alias: str = "champion") -> None:
    """Move the alias to a version that passes, else fail."""
    code = check(uri, images, output_dir, alias)
    if code:
        raise RuntimeError(f"{uri} does not become {alias}: {MEANING[code]} (exit code {code}); see {output_dir}")


if __name__ == "__main__":
    promote(uri=sys.argv[1], images=sys.argv[2])
