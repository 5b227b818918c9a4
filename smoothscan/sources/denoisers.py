"""From a folder, an id on the Hugging Face hub or an MLflow URI to the files of a diffusion model. Loads nothing."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from smoothscan.config import ScanConfig
from smoothscan.errors import ConfigError, DenoiserError, ScanFailedError
from smoothscan.events import Events
from smoothscan.sources import is_local
from smoothscan.sources.local_folder import local_path
from smoothscan.sources.model_folder import folder_digest
from smoothscan.stored import DiffusionFiles

INDEX, UNET, SCHEDULER = "model_index.json", "config.json", "scheduler_config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
_HUB_ID = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?")
_WANTED = (INDEX, UNET, SCHEDULER, WEIGHTS, "unet/*.json", f"unet/{WEIGHTS}", "scheduler/*.json")
_SCHEDULERS = ("DDPMScheduler", "DDIMScheduler")
_PREDICTIONS = ("epsilon", "sample", "v_prediction")
_LATENT = ("vae", "vqvae", "movq")
_WHAT = (
    "A denoiser is an unconditional diffusers pipeline on pixels: a UNet2DModel with a DDPM or DDIM scheduler. "
    "smoothscan denoiser train makes one from images of your own."
)


def require_diffusers() -> None:
    """Check that diffusers, which is an extra, is installed.

    Raises:
        DenoiserError: it is not.
    """
    if find_spec("diffusers") is None:
        raise DenoiserError(
            "Denoisers need the package diffusers, which is not installed.",
            "Install it into smoothscan's environment: pip install 'smoothscan[denoiser]'.",
        )


def fetch_denoiser(
    uri: str, into: Path, *, tracking_uri: str | None, registry_uri: str | None, events: Events
) -> DiffusionFiles:
    """Bring a diffusion model to this machine, and check that it is one that denoises images.

    Args:
        uri: a pipeline folder, `owner/name` or `owner/name@revision` on the hub, or an MLflow URI (`models:/...`,
            `runs:/...`, an artifact store's).
        into: empty folder that receives files of an MLflow model; those of the hub stay in its own cache.
        tracking_uri: MLflow tracking server; None for MLflow's own setting.
        registry_uri: MLflow model registry; None for MLflow's own setting.
        events: listens.

    Raises:
        DenoiserError: there is no such model, it cannot be fetched, or it is no unconditional diffusion model on pixels
            with weights in safetensors.
    """
    require_diffusers()
    events.stage("denoiser", uri)
    folder = local_path(uri) if is_local(uri) else _from_mlflow(uri, into, tracking_uri, registry_uri, events)
    if not folder.exists() and (hub := _HUB_ID.fullmatch(uri)):
        folder = _from_hub(uri, hub["id"], hub["revision"])
    if not folder.is_dir():
        raise DenoiserError(f"There is no denoiser {uri}: it is no folder, and no id on the hub (owner/name).", _WHAT)
    return read_pipeline(folder, uri)


def denoiser_of(config: ScanConfig, into: Path, events: Events) -> DiffusionFiles | None:
    """Bring the diffusion model that a configuration names; None if it names none. See `fetch_denoiser`."""
    if config.denoiser is None:
        return None
    stores = {"tracking_uri": config.tracking_uri, "registry_uri": config.registry_uri}
    return fetch_denoiser(config.denoiser, into, **stores, events=events)


def read_pipeline(folder: Path, uri: str) -> DiffusionFiles:
    """Read what a pipeline folder holds, as diffusers saves it, without its weights.

    Args:
        folder: the folder.
        uri: what the user calls it.

    Raises:
        DenoiserError: it is no unconditional diffusion model on pixels, or its weights are not in safetensors.
    """
    _check_parts(_json(folder / INDEX, uri), uri)
    # parts are in folders of their own, or, in the oldest pipelines, all in one
    unet, scheduler = (folder / part if (folder / part).is_dir() else folder for part in ("unet", "scheduler"))
    config, schedule = _json(unet / UNET, uri), _json(scheduler / SCHEDULER, uri)
    _check_unet(config, uri)
    if schedule.get("_class_name") not in _SCHEDULERS:
        raise _unfit(uri, f"has a {schedule.get('_class_name')}.")
    if schedule.get("prediction_type", "epsilon") not in _PREDICTIONS:
        raise _unfit(uri, f"predicts {schedule['prediction_type']!r}.")
    if not (unet / WEIGHTS).is_file():
        raise DenoiserError(
            f"The denoiser {uri} has no {WEIGHTS}; pickled weights are not loaded, since that would run their code.",
            "Save it once more with pipeline.save_pretrained(folder, safe_serialization=True).",
        )
    files = {path.name: _sha256(path) for path in (unet / UNET, unet / WEIGHTS, scheduler / SCHEDULER)}
    return DiffusionFiles(
        uri=uri,
        unet=str(unet),
        scheduler=str(scheduler),
        scheduler_class=schedule["_class_name"],
        digest=folder_digest(files),
    )


def _check_parts(index: dict[str, Any], uri: str) -> None:
    parts = {name: value for name, value in index.items() if isinstance(value, list)}
    if latent := [name for name in _LATENT if name in parts]:
        raise _unfit(uri, f"works on latents ({latent[0]}), where noise of the image has no known level.")
    others = sorted(set(parts) - {"unet", "scheduler"})
    if others or parts.get("unet", [None])[-1] == "UNet2DConditionModel":
        wanted = ", ".join(others) or "UNet2DConditionModel"
        raise _unfit(uri, f"is conditional ({wanted}).")
    if parts.get("unet") != ["diffusers", "UNet2DModel"]:
        raise _unfit(uri, "has no UNet2DModel of diffusers.")


def _check_unet(config: dict[str, Any], uri: str) -> None:
    if config.get("_class_name") != "UNet2DModel":
        raise _unfit(uri, f"has a {config.get('_class_name')}.")
    if config.get("num_class_embeds") is not None or config.get("class_embed_type") is not None:
        raise _unfit(uri, "is conditional: it wants a class for each image.")
    if config.get("time_embedding_type", "positional") != "positional":
        raise _unfit(uri, "is not made for the steps of a DDPM scheduler.")
    inputs, outputs = config.get("in_channels"), config.get("out_channels")
    if not isinstance(inputs, int) or outputs not in (inputs, 2 * inputs):
        raise _unfit(uri, f"makes {outputs} channels of {inputs}.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unfit(uri: str, why: str) -> DenoiserError:
    return DenoiserError(f"The denoiser {uri} {why}", _WHAT)


def _json(path: Path, uri: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = "does not exist" if not path.exists() else f"cannot be read ({type(error).__name__})"
        raise _unfit(uri, f"is no pipeline folder: {path.name} {reason}.") from error
    if not isinstance(found, dict):
        raise _unfit(uri, f"is no pipeline folder: {path.name} is no object.")
    return found


def _from_hub(uri: str, name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(_WANTED)))
    except Exception as error:  # of its own kind, of its transport's, of the operating system's
        raise DenoiserError(
            f"The denoiser {uri} is no folder here, and could not be fetched from the hub: "
            f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}",
            "Check the id, and the network; or download it where there is one, and give its folder.",
        ) from error


def _from_mlflow(uri: str, into: Path, tracking_uri: str | None, registry_uri: str | None, events: Events) -> Path:
    from smoothscan.sources.mlflow_registry import MlflowRegistry  # MLflow takes seconds to import

    try:
        MlflowRegistry(tracking_uri, registry_uri).bring(uri, into, events)
    except (ConfigError, ScanFailedError) as error:
        raise DenoiserError(f"The denoiser cannot be fetched. {error.message}", error.hint) from error
    return into
