"""Diffusion models, loaded by diffusers' own loaders, as denoisers."""

from __future__ import annotations

from smoothscan.errors import DenoiserError
from smoothscan.meter import Meter
from smoothscan.smoothing.denoiser import Denoiser
from smoothscan.stored import DiffusionFiles
from smoothscan.surroundings import quiet


def load_denoiser(
    files: DiffusionFiles,
    channels: int,
    *,
    memory_bytes: int = 2**29,
    threads: int = 1,
    device: str = "cpu",
    low_precision: bool = False,
    meter: Meter | None = None,
) -> Denoiser:
    """Return a diffusion model as a denoiser.

    Args:
        files: its files, as `smoothscan.sources.denoisers` has checked them.
        channels: number of channels of the images.
        memory_bytes: memory for the activations of one batch.
        threads: parts of a batch that are worked on side by side on a CPU.
        device: where it computes.
        low_precision: whether it computes in bfloat16.
        meter: told how many images went through.

    Raises:
        DenoiserError: the files do not fit together, or it denoises images of other channels.
    """
    import diffusers

    scheduler_class = {c.__name__: c for c in (diffusers.DDPMScheduler, diffusers.DDIMScheduler)}[files.scheduler_class]
    try:
        with quiet("diffusers"):
            scheduler = scheduler_class.from_pretrained(files.scheduler, local_files_only=True)  # type: ignore[no-untyped-call]
            unet = diffusers.UNet2DModel.from_pretrained(  # type: ignore[no-untyped-call]
                files.unet, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
            )
        expected, size = unet.config.in_channels, unet.config.sample_size
        if expected != channels:
            raise DenoiserError(
                f"The denoiser {files.uri} is for {expected}-channel images, the model's have {channels}.",
                "Train one on images of that kind: smoothscan denoiser train.",
            )
        denoiser = Denoiser(
            unet,
            scheduler.alphas_cumprod,
            scheduler.config.prediction_type,
            channels,
            size=(size, size) if isinstance(size, int) else size and tuple(size),
            multiple=2 ** (len(unet.config.block_out_channels) - 1),
            memory_bytes=memory_bytes,
            threads=threads,
            device=device,
            low_precision=low_precision,
            meter=meter,
        )
    except DenoiserError:
        raise
    except Exception as error:  # whatever torch, safetensors and diffusers say of files that do not fit together
        raise DenoiserError(
            f"The denoiser {files.uri} does not load: {type(error).__name__}: {str(error).partition(chr(10))[0][:200]}",
            "Save it once more with pipeline.save_pretrained(folder, safe_serialization=True).",
        ) from error
    return denoiser
