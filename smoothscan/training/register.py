"""Logs a trained denoiser to MLflow as a model with a registered version."""

from __future__ import annotations

import io
import shutil
import sys
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from smoothscan._version import __version__
from smoothscan.errors import RegistryError
from smoothscan.events import Events
from smoothscan.sinks.runs import EXPERIMENT
from smoothscan.sources.mlflow_errors import shown
from smoothscan.surroundings import environment, quiet
from smoothscan.training.result import Trained

FLAVOR = "diffusers"
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""A lost server should be told within seconds, and standard output is for the result."""


def register(trained: Trained, name: str, tracking_uri: str | None, events: Events) -> str:
    """Log a denoiser in a run of its own, and register it.

    Args:
        trained: the denoiser.
        name: name of the registered model; made if there is none.
        tracking_uri: MLflow tracking server, whose registry is used; None for MLflow's own settings.
        events: listens.

    Returns:
        `models:/name/version`.

    Raises:
        RegistryError: MLflow did not take it; its folder is as it was.
    """
    import mlflow  # sets up its loggers, so before they are quieted
    from mlflow.models import Model

    events.stage("register", name)
    before = mlflow.get_tracking_uri()
    # some of what MLflow has to say goes to standard error without a logger
    with environment(_ENVIRONMENT), quiet("mlflow", "alembic"), redirect_stderr(io.StringIO()):
        try:
            if tracking_uri is not None:
                mlflow.set_tracking_uri(tracking_uri)
            experiment = mlflow.set_experiment(EXPERIMENT)
            with mlflow.start_run(experiment_id=experiment.experiment_id, run_name=f"denoiser {name}"):
                mlflow.log_params(trained.record["settings"])
                mlflow.log_metrics({f"rmse/{error.sigma:g}": error.denoised for error in trained.errors})
                info = Model.log(
                    None,
                    sys.modules[__name__],
                    name="denoiser",
                    flavor_name=FLAVOR,
                    registered_model_name=name,
                    folder=trained.folder,
                )
        except Exception as error:  # the client, the database and the artifact store have errors of their own
            reason = shown(str(error).partition("\n")[0]) or type(error).__name__
            raise RegistryError(
                f"The denoiser is in {trained.folder}, but MLflow did not take it: {reason}",
                "Check --tracking-uri; the same command registers it without training it again.",
            ) from error
        finally:
            mlflow.set_tracking_uri(before)
    return f"models:/{name}/{info.registered_model_version}"


def save_model(path: str, mlflow_model: Any, folder: Path) -> None:
    """Write a pipeline folder as an MLflow model; MLflow calls this.

    Args:
        path: where to.
        mlflow_model: what MLflow writes into the MLmodel file.
        folder: the pipeline folder.
    """
    shutil.copytree(folder, path)
    mlflow_model.add_flavor(FLAVOR, pipeline="DDPMPipeline", smoothscan_version=__version__)
    mlflow_model.save(str(Path(path, "MLmodel")))
