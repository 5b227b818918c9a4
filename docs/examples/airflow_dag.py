"""A nightly sweep in Airflow 3: a flagged model fails the run at once, a failed scan is tried again."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

SCAN_FAILED = 3
MEANING = {1: "a model is flagged", 2: "usage error", 4: "a scan is inconclusive", 5: "a model is not supported"}


@task(retries=2, retry_delay=timedelta(minutes=10), execution_timeout=timedelta(hours=12))
def sweep(images: str, output_dir: str) -> None:
    """Scan what is due. MLflow's own environment variables say where the registry is."""
    # A list, not a line for a shell: nothing in it is interpreted.
    code = subprocess.run(["smoothscan", "sweep", "--images", images, "--output-dir", output_dir]).returncode
    if code == 0:
        return
    if code in MEANING:
        raise AirflowFailException(f"{MEANING[code]} (exit code {code}); see {output_dir}/index.html")
    # The ledger knows what is done: another try goes on with the rest.
    why = "a scan failed" if code == SCAN_FAILED else "the sweep was stopped"
    raise AirflowException(f"{why} (exit code {code}); see {output_dir}/index.html")


@dag(schedule="17 2 * * *", start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1)
def smoothscan_sweep() -> None:
    """Sweep the registry every night."""
    sweep(images="/data/clean-images", output_dir="/data/smoothscan-sweep")


smoothscan_sweep()
