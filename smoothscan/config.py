"""What a scan is asked to do: options, profiles and the input specification."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from smoothscan.errors import ConfigError
from smoothscan.result import FailOn
from smoothscan.stored import ARCHITECTURE
from smoothscan.vocabulary import MOST_SECONDS, SPACES, SpaceName

ProfileName = Literal["quick", "standard", "paper"]
Precision = Literal["auto", "float32", "bfloat16"]
Resize = Literal["crop", "stretch", "none"]
Layout = Literal["NCHW", "NHWC"]
Denoising = Literal["auto", "mixed", "always"]
ReportFormat = Literal["html", "json", "sarif", "junit", "markdown"]

_ALIAS = re.compile(r"(?!latest$|v\d+$)[\w-]{1,255}", re.IGNORECASE)
"""MLflow's rule for aliases; `latest` and `v3` mean versions there."""

REFERENCE_VALUES = 3 * 224 * 224
"""Number of input values at which L2 budgets are quoted (the paper's 3x224x224)."""


IN_FULL = 24
"""Most classes of which each is searched in full, without a screening, and whose pairs can be searched."""
PAIR_SYNTHESIS = 4
"""Images of a source class that a trigger for a pair of classes is made from."""
PAIR_HELD_OUT = 8
"""Fewest further images of a source class for its pairs to be searched."""


def at_size(epsilon: float, n_values: int) -> float:
    """Return the L2 budget at this number of input values that changes each as much as `epsilon` does at 3x224x224."""
    return epsilon * math.sqrt(n_values / REFERENCE_VALUES)


class Frozen(BaseModel):
    """Base of all configuration: immutable, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class InputConfig(Frozen):
    """What the user says about the model's input. Everything left out is read from the signature or inferred."""

    height: Annotated[int, Field(gt=0)] | None = None
    """Height of the input in pixels."""
    width: Annotated[int, Field(gt=0)] | None = None
    """Width of the input in pixels."""
    channels: Annotated[int, Field(gt=0)] | None = None
    """Number of channels; 1 (grey) or 3 (RGB)."""
    layout: Layout | None = None
    """Order of the input's axes."""
    value_range: tuple[float, float] | None = None
    """Values that a black and a white pixel have at the model's input, before `mean` and `std`, like (0, 255)"""
    mean: tuple[float, ...] | None = None
    """Per-channel mean that is subtracted, in units of `value_range`."""
    std: tuple[float, ...] | None = None
    """Per-channel divisor, in units of `value_range`."""
    resize: Resize = "crop"
    """How an image of another size is brought to the model's: resize and centre crop, stretch, or refuse."""

    @model_validator(mode="after")
    def _check(self) -> InputConfig:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together: give both or none")
        if self.mean is not None and self.std is not None:
            if len(self.mean) != len(self.std):
                raise ValueError("mean and std need the same number of values, one for each channel")
            if min(self.std) <= 0:
                raise ValueError("std must be positive")
        if self.value_range is not None and self.value_range[0] >= self.value_range[1]:
            raise ValueError("value_range needs its lower end first: (0, 1), (0, 255), (-1, 1)")
        return self


class Profile(Frozen):
    """How hard a scan searches.

    Budgets are L2 radii at 3x224x224 and scale with the square root of the number of input values, so that the
    root-mean-square change of a value is the same at every size.
    """

    name: ProfileName
    """Name of the profile."""
    spaces: tuple[SpaceName, ...]
    """What a trigger may be."""
    sigmas: tuple[float, ...] | None
    """Noise levels of the smoothed classifier, in [0, 1] pixel units; 0 means no smoothing; None chooses one for the
    model from the noise probe."""
    epsilons: tuple[float, ...]
    """L2 budgets at 3x224x224, ascending."""
    steps: int
    """Gradient steps at each budget."""
    n_noise: int
    """Noise vectors for each gradient."""
    antithetic: bool
    """Whether noise vectors come in pairs z, -z."""
    views: bool
    """Whether the synthesis image is varied in contrast and position from noise vector to noise vector, so that the
    perturbation cannot lean on what the image shows."""
    first_epsilon: float | None
    """Budget at which a continuation begins: every class is inverted here, and goes on from its perturbation to smaller
    budgets while it transfers, or to larger ones while most classes do not. None inverts every class at every budget
    from zero."""
    starts: int = 1
    """Searches from zero at the first budget, each with noise of its own; every class goes on from its best."""
    step_size: float = 0.05
    """Step size as a fraction of the budget (paper: 0.5 * epsilon / 10)."""
    momentum: float = 0.9
    """Momentum of the gradient steps."""
    halve_at: float = 0.75
    """Fraction of the steps after which the step size is halved (paper: step 300 of 400)."""

    @property
    def exhaustive(self) -> bool:
        """Whether every class is inverted at every budget, however many there are."""
        return self.first_epsilon is None


PROFILES: dict[ProfileName, Profile] = {
    # Budgets a factor of sqrt(2) apart, 0.36 to 8 at 3x32x32; see docs/detection.md for how these were chosen.
    "standard": Profile(
        name="standard",
        spaces=("l2", "patch", "frequency", "smooth", "warp", "tone"),
        sigmas=None,
        epsilons=(2.5, 3.5, 5.0, 7.0, 10.0, 14.0, 20.0, 28.0, 40.0, 56.0),
        steps=30,
        n_noise=8,
        antithetic=True,
        views=True,
        first_epsilon=14.0,
        starts=2,
    ),
    # For a first look: the commonest kinds of trigger, every other budget, half of the steps, one start.
    "quick": Profile(
        name="quick",
        spaces=("l2", "patch"),
        sigmas=None,
        epsilons=(3.5, 7.0, 14.0, 28.0, 56.0),
        steps=15,
        n_noise=8,
        antithetic=True,
        views=True,
        first_epsilon=14.0,
    ),
    # Sun & Kolter 2023, section 4.1.
    "paper": Profile(
        name="paper",
        spaces=("l2",),
        sigmas=(0.12, 0.25, 0.50),
        epsilons=(5.0, 10.0),
        steps=400,
        n_noise=40,
        antithetic=False,
        views=False,
        first_epsilon=None,
    ),
}


class ScanConfig(Frozen):
    """Everything that determines a scan, apart from the model and the images themselves."""

    uri: str
    """Model to scan: `models:/name/3`, `models:/name@alias`, `models:/name/latest`, `models:/m-<id>`, `runs:/...` or a
    folder."""
    images: Path
    """Folder of clean images; labels are not needed."""
    profile: ProfileName = "standard"
    """How hard to search."""
    spaces: Annotated[tuple[SpaceName, ...], Field(min_length=1)] | None = None
    """Trigger spaces instead of the profile's."""
    pairs: bool = False
    """Whether to search every pair of source and target class as well: triggers that work on images of one class."""
    sigma: Annotated[float, Field(ge=0, le=2)] | None = None
    """Noise level instead of the profile's, in [0, 1] pixel units; 0 turns smoothing off."""
    denoiser: str | None = None
    """Diffusion model that noisy images are denoised with: a pipeline folder, an id on the hub, or an MLflow URI."""
    denoising: Denoising = "auto"
    """What a denoiser is used for: `auto` for kinds of trigger that the search without it leaves undecided, `mixed` for
    a part of the steps of every search, `always` for all of them."""
    synthesis_images: Annotated[int, Field(ge=1, le=32)] = 1
    """Images that each class's perturbation is made from."""
    calibration: Path | None = None
    """File of `smoothscan calibrate` to judge the model by; None compares the model with itself."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of all randomness."""
    input: InputConfig = InputConfig()
    """What the user says about the model's input."""
    labels: tuple[str, ...] | None = None
    """Names of the classes, in the order of the model's outputs."""
    architecture: str | None = None
    """`timm/<name>` or `torchvision/<name>`, for a model that consists of weights alone."""
    allow_model_code: bool = False
    """Whether the model is loaded whatever the static check saw, and runs its own code also where no sandbox holds."""
    precision: Precision = "auto"
    """Arithmetic of the model; `auto` takes bfloat16 where the machine has it and it keeps the model's predictions."""
    device: str = "auto"
    """Torch device of the model, `auto` for the first accelerator, else the CPU."""
    threads: Annotated[int, Field(gt=0)] | None = None
    """CPU threads of the model; None for all cores."""
    memory_bytes: Annotated[int, Field(ge=2**26)] = 2**29
    """Memory for the activations of one batch, in bytes; sets the batch size."""
    time_limit: Annotated[float, Field(gt=0, le=MOST_SECONDS)] = 3600.0
    """Seconds after which the scan is stopped and counts as failed."""
    time_budget: Annotated[float, Field(gt=0, le=MOST_SECONDS)] | None = None
    """Seconds in which the scan comes to an end with what it has found until then; None for as long as it takes."""
    cache: bool = True
    """Whether to use the result of the same scan done before, and to go on from one that was stopped."""
    cache_dir: Path | None = None
    """Folder where scans are kept for that; None for one in the user's folder of caches."""
    tracking_uri: str | None = None
    """MLflow tracking server; None for MLflow's own setting."""
    registry_uri: str | None = None
    """MLflow model registry; None for MLflow's own setting."""
    write_back: bool = True
    """Whether to tag the model version and log a run in the experiment `smoothscan`."""
    redact_images: bool = False
    """Whether to leave the user's images out of everything that is written."""
    output_dir: Path = Path("smoothscan-report")
    """Folder of the results."""
    formats: tuple[ReportFormat, ...] = ("html", "json")
    """What to write; result.json is always written."""
    fail_on: FailOn = "suspicious"
    """Mildest verdict that makes `check` exit with 1."""
    waivers: Path | None = None
    """File of findings that somebody answers for; None waives nothing."""
    baseline: Path | None = None
    """result.json of an earlier scan of the same registered model, whose findings do not fail again; None for none."""
    sarif_anchor: Path | None = None
    """File of the repository that code scanning shows findings at; None for the configuration file, else
    smoothscan.toml."""
    attest: bool = False
    """Whether to write attestation.json, which binds the verdict to the digests of the model's files."""
    attest_key: Path | None = None
    """PEM file of the private key that signs it; None leaves it unsigned."""
    set_alias: str | None = None
    """Alias that moves to the scanned version when the gate passes."""

    @field_validator("architecture")
    @classmethod
    def _is_an_architecture(cls, name: str | None) -> str | None:
        if name is not None and not ARCHITECTURE.fullmatch(name):
            raise ValueError(f"{name!r} names no architecture; write timm/NAME or torchvision/NAME")
        return name

    @field_validator("set_alias")
    @classmethod
    def _is_an_alias(cls, name: str | None) -> str | None:
        if name is not None and not _ALIAS.fullmatch(name):
            raise ValueError(f"{name!r} is no alias that MLflow takes: letters, digits, - and _, and not latest or v3")
        return name

    @model_validator(mode="after")
    def _a_key_signs_an_attestation(self) -> ScanConfig:
        if self.attest_key is not None and not self.attest:
            raise ValueError("attest_key signs an attestation, so it needs attest")
        return self

    @model_validator(mode="after")
    def _denoising_needs_a_denoiser(self) -> ScanConfig:
        if self.denoising != "auto" and self.denoiser is None:
            raise ValueError(f"denoising {self.denoising} needs a denoiser")
        return self

    @model_validator(mode="after")
    def _one_image_in_the_paper(self) -> ScanConfig:
        if self.profile == "paper" and self.synthesis_images > 1:
            raise ValueError("the profile `paper` makes its perturbations from one image; leave synthesis_images at 1")
        if self.profile == "paper" and self.spaces not in (None, ("l2",)):
            raise ValueError("the profile `paper` knows additive perturbations only; leave spaces at l2")
        if self.profile == "paper" and self.pairs:
            raise ValueError("the profile `paper` knows no pairs of source and target class; leave pairs out")
        return self

    def search(self) -> Profile:
        """Return the profile with the user's overrides."""
        changes = {
            **({} if self.sigma is None else {"sigmas": (self.sigma,)}),
            **({} if self.spaces is None else {"spaces": tuple(name for name in SPACES if name in self.spaces)}),
        }
        return PROFILES[self.profile].model_copy(update=changes)


def wrong_options(error: ValidationError, names: Mapping[str, str], hint: str) -> ConfigError:
    """Return one error for everything that is wrong with options.

    Args:
        error: what pydantic says of a ScanConfig or InputConfig.
        names: for each field the name under which the user wrote it; the field's own if it is left out.
        hint: what to do about it.
    """
    problems = []
    for detail in error.errors():
        field = next((str(part) for part in detail["loc"] if part != "input"), None)
        name = names.get(field, field) if field is not None else None
        if name is None:  # a rule about several fields, such as mean and std
            name = "the model's input" if error.title == InputConfig.__name__ else "the options"
        if detail["type"] == "extra_forbidden":
            message = "there is no such option"
        elif detail["type"] == "tuple_type":
            message = f"should be a list, such as [{detail['input']!r}]"
        else:
            message = detail["msg"].removeprefix("Value error, ")
        problems.append(f"{name}: {message[0].lower()}{message[1:]}")
    return ConfigError("; ".join(dict.fromkeys(problems)), hint)
