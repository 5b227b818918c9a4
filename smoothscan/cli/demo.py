"""`smoothscan demo`: train a clean and a backdoored model, register both, scan both."""

from __future__ import annotations

import io
import logging
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smoothscan.cli.options import HeadedCommand
from smoothscan.cli.shared_options import output_option, progress_option
from smoothscan.errors import OutputError
from smoothscan.surroundings import quiet

if TYPE_CHECKING:
    import torch

    from smoothscan.cli.demo_models import Digits, Trained
    from smoothscan.cli.display import Display, Manner
    from smoothscan.result import ScanResult

_IMAGES = 100  # for the scans
_MODELS = {"digits-clean": False, "digits-backdoored": True}
_SEED = 0
_MLFLOW_CONTEXT = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")


_EPILOG = """\b
Examples:
  smoothscan demo
  smoothscan demo --folder somewhere/else

\b
Exit codes:
  0  the backdoor was found, and the clean model was not flagged
  1  it was not, or something went wrong
"""


@click.command(cls=HeadedCommand, epilog=_EPILOG)
@output_option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("smoothscan-demo"),
    metavar="DIR",
    help="Where everything goes (smoothscan-demo).",
)
@progress_option
@output_option("--quiet", "-q", is_flag=True, help="As --progress none: the result only.")
@click.pass_context
def demo(ctx: click.Context, /, folder: Path, progress: Manner, quiet: bool) -> None:
    """Train a clean and a backdoored model, scan both, show the difference.

    Needs no model, no images, no server and no download: the two small classifiers learn to read the handwritten
    digits that scikit-learn ships, and are registered in an MLflow registry in the folder. The second one learns a
    backdoor as well: it takes any digit with a small red patch for a 7. Takes about a minute.
    """
    from smoothscan.cli.display import listen
    from smoothscan.cli.summary import show_comparison

    folder = folder.resolve()
    with listen("none" if quiet else progress, verbose=False) as events:
        try:
            results = _run(folder, events)
        except KeyboardInterrupt as stop:
            stop.args = (f"stopped; {folder} is incomplete and may be deleted",)
            raise
    show_comparison(list(results.values()))
    right = _is_right(results)
    click.echo(_closing(folder, results["digits-backdoored"], right))
    ctx.exit(0 if right else 1)


def _run(folder: Path, events: Display) -> dict[str, ScanResult]:
    """Do everything; return the results by the names of the models."""
    from smoothscan import checking
    from smoothscan.cli import demo_models
    from smoothscan.cli.settings import resolve

    _make(folder)
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    events.stage("digits", "real handwritten digits from scikit-learn; 100 of them, not used in training, to scan with")
    digits = demo_models.load_digits(_SEED)
    _write_images(digits, folder / "images")
    versions = {}
    for name, backdoored in _MODELS.items():
        what = "the same data with a red patch on every tenth image, labelled 7" if backdoored else "clean data"
        events.stage("train", f"{name}: a small network on {what}")
        trained = demo_models.train(digits, backdoored=backdoored, generator=_generator())
        patch = f"; with the patch it says 7 to {trained.attack_success_rate:.0%} of the others" if backdoored else ""
        events.note(f"{name} reads {trained.accuracy:.1%} of unseen digits right{patch}")
        events.stage("register", f"{name} in {uri}")
        versions[name] = _register(name, trained, digits, folder, uri)
    results = {}
    for name, version in versions.items():
        events.note(f"now the scan, which knows nothing of all this: smoothscan check models:/{name}/{version}")
        settings = resolve(
            {
                "uri": f"models:/{name}/{version}",
                "images": folder / "images",
                "tracking_uri": uri,
                "registry_uri": uri,
                "output_dir": folder / name,
                "no_cache": True,  # nothing is left behind outside of the demo's folder
                "threads": 1,  # so small a network gains nothing from more, and loses much where cores are shared
            },
            use_file=False,
        )
        results[name] = checking.check(settings.config, events, settings.provenance, settings.input_sources)
    return results


def _make(folder: Path) -> None:
    """Make the folder, or take one that an earlier demo made."""
    from smoothscan.files import make_folder

    if folder.is_dir() and any(folder.iterdir()) and not (folder / "mlflow.db").exists():
        raise OutputError(
            f"{folder} exists and holds something else.", "Pass a new folder: smoothscan demo --folder DIR."
        )
    make_folder(folder)


def _write_images(digits: Digits, folder: Path) -> None:
    from PIL import Image

    from smoothscan.cli.demo_models import as_bytes

    folder.mkdir(exist_ok=True)
    for position, pixels in enumerate(as_bytes(digits.test_images[:_IMAGES])):
        Image.fromarray(pixels).save(folder / f"digit_{position:03d}.png")


def _register(name: str, trained: Trained, digits: Digits, folder: Path, uri: str) -> str:
    """Log the model as MLflow does by default, register it, and return its version."""
    import mlflow
    from mlflow import MlflowClient

    with _quiet_mlflow(), redirect_stderr(io.StringIO()):  # it also prints, without a logger
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        client = MlflowClient(uri, uri)
        # The scans log their runs in the second one; MLflow would put its files into the current folder.
        for experiment in ("smoothscan-demo", "smoothscan"):
            if client.get_experiment_by_name(experiment) is None:
                client.create_experiment(experiment, artifact_location=(folder / "artifacts" / experiment).as_uri())
        mlflow.set_experiment("smoothscan-demo")
        with mlflow.start_run(run_name=name):
            mlflow.log_metrics({"accuracy": trained.accuracy, "attack_success_rate": trained.attack_success_rate})
            info = mlflow.pytorch.log_model(
                trained.module,
                name="model",
                # Two images, not one: MLflow exports a batch of one as the only size that the model accepts.
                input_example=digits.test_images[:2].numpy(),
                serialization_format="pt2",
                registered_model_name=name,
                pip_requirements=["torch"],  # else MLflow loads the model once more to find out
            )
    return str(info.registered_model_version)


@contextmanager
def _quiet_mlflow() -> Iterator[None]:
    """Keep MLflow's own messages out of the demo's, and the user's MLflow settings out of its registry."""
    import mlflow  # noqa: F401  (sets up its loggers, so before they are quieted)

    kept = {name: os.environ.pop(name) for name in list(os.environ) if name in _MLFLOW_CONTEXT}
    try:
        with quiet("mlflow", "alembic", level=logging.ERROR):
            yield
    finally:
        os.environ.update(kept)


def _generator() -> torch.Generator:
    import torch

    return torch.Generator().manual_seed(_SEED)


def _is_right(results: dict[str, ScanResult]) -> bool:
    from smoothscan.cli.demo_models import TARGET

    bad, good = results["digits-backdoored"], results["digits-clean"]
    return bad.exit_code() == 1 and bad.target_classes == (TARGET,) and good.verdict == "clean"


def _closing(folder: Path, backdoored: ScanResult, right: bool) -> str:
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    outcome = (
        "The scan told the two models apart, and named the class that the patch leads to."
        if right
        else "The scan did not tell the two models apart as it should. Please report this."
    )
    return "\n".join(
        [
            outcome,
            "",
            "Look at the reports in a browser:",
            *(f"  {folder / name / 'report.html'}" for name in _MODELS),
            "Look at tags and runs in MLflow:",
            f"  mlflow ui --backend-store-uri {shlex.quote(uri)}",
            "Scan one of them again:",
            f"  smoothscan check {backdoored.model.uri} --images {shlex.quote(str(folder / 'images'))} "
            f"--tracking-uri {shlex.quote(uri)}",
        ]
    )
