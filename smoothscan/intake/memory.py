"""Modules that the caller's own process holds: nothing is fetched, nothing is confined, and nothing stays changed."""

from __future__ import annotations

import hashlib
import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from smoothscan.classifier.held import HeldClassifier, device_of
from smoothscan.config import InputConfig, ScanConfig
from smoothscan.devices import pick_device
from smoothscan.errors import ConfigError, ModelLoadError
from smoothscan.events import Events
from smoothscan.intake.interface import Known
from smoothscan.pixels import dtype_of_weights
from smoothscan.result import ArchitectureFinding, InputSpec, ModelInfo, SafetyReport
from smoothscan.safety.architecture import ARCHIVE, architecture
from smoothscan.sources import Artifact
from smoothscan.sources.input_spec import fitting_labels, input_spec
from smoothscan.stored import Stored

FLAVOR = "memory"
"""What stands in a result for how such a model is stored."""
NOT_LOOKED_AT = (
    "A Python program handed the model over and holds it in its own process: no file of it was looked at, and nothing "
    "confines its code."
)
_CANNOT_FOLLOW = "torch.export cannot follow the module ({}), so steps without a gradient were not looked for."

Shape = tuple[int, int, int]


class InMemory:
    """A module of this process.

    Args:
        module: the module, in evaluation mode.
        workspace: folder that is removed after the scan.
        shape: channels, height and width of the images, where all are alike; what the user says counts first.
    """

    def __init__(self, module: nn.Module, config: ScanConfig, workspace: Path, shape: Shape | None) -> None:
        self.threads = config.threads
        self._module, self._shape = module, shape
        self._workspace = workspace
        self._classifier: HeldClassifier | None = None
        # what MLflow writes beside a model's files is what a module has of itself
        about = {"metadata": {"id2label": getattr(getattr(module, "config", None), "id2label", None)}}
        stored = Stored(flavor="pytorch/pickle", path="")
        self._artifact = Artifact(workspace, ModelInfo(uri=config.uri), stored, about)

    def bring(self, known: Known, events: Events) -> InputSpec:
        """Pin it, look for steps without a gradient, and find out which images it takes; see `Intake.bring`."""
        config, module = known.config, self._module
        events.stage("load", config.uri)
        known.model = ModelInfo(uri=config.uri, flavor=FLAVOR, digest=digest(module))
        known.safety = SafetyReport(
            held_by_caller=True, needs_model_code=True, model_code_executed=True, findings=(NOT_LOOKED_AT,)
        )
        self._classifier, known.input_spec = self._tried(known)
        steps, failure = _architecture(module, known.input_spec, self._workspace / "graph")
        known.safety = known.safety.model_copy(
            update={
                "architecture": steps,
                "architecture_examined": failure is None,
                "findings": (NOT_LOOKED_AT, *([] if failure is None else [_CANNOT_FOLLOW.format(failure)])),
            }
        )
        return known.input_spec

    def load(self, known: Known, events: Events) -> HeldClassifier:
        """Return the classifier that the module was tried as; see `Intake.load`."""
        assert self._classifier is not None
        return self._classifier

    def labels(self, given: tuple[str, ...] | None, n_classes: int) -> tuple[str, ...] | None:
        """Return the names in the configuration of a module of transformers; see `Intake.labels`."""
        return fitting_labels(self._artifact, given, n_classes)

    def peak_rss(self) -> int:
        """Return 0: there is no other process."""
        return 0

    def _tried(self, known: Known) -> tuple[HeldClassifier, InputSpec]:
        """Return the module as a classifier of the first kind of images that it takes.

        Raises:
            ModelLoadError: it takes none.
        """
        config, first = known.config, None
        deadline = known.started + config.time_limit
        for wanted, sources in _candidates(config.input, self._shape):
            spec = input_spec(self._artifact, wanted, sources)
            try:
                classifier = HeldClassifier(self._module, spec, config.memory_bytes, deadline)
            except ModelLoadError as error:
                first = first or error
            else:
                dtype = {"dtype": classifier.dtype, "sources": {**spec.sources, "dtype": "data type of the weights"}}
                return classifier, spec.model_copy(update=dtype)
        assert first is not None
        raise first


def digest(module: nn.Module) -> str:
    """Return `sha256:<hex>` over names, data types, shapes and bytes of the module's state_dict, sorted by name.

    What its forward does is no part of it: two modules with equal weights have equal digests.
    """
    sha = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if not isinstance(value, Tensor):  # what a module keeps beside tensors
            continue
        sha.update(f"{name}\0{value.dtype}\0{list(value.shape)}\0".encode())
        plain = value.detach().cpu().contiguous()
        plain = plain.int_repr() if plain.is_quantized else plain
        sha.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return "sha256:" + sha.hexdigest()


def _candidates(config: InputConfig, shape: Shape | None) -> Iterator[tuple[InputConfig, Mapping[str, str]]]:
    """Yield the kinds of images that the module may take, likeliest first, with where each part is from.

    Raises:
        ConfigError: nobody says how large they are.
    """
    channels, *size = shape or (3, None, None)
    height, width = (given or own for given, own in zip((config.height, config.width), size, strict=True))
    if height is None or width is None:
        raise ConfigError(
            "Nothing says which size of images the module takes.",
            "Pass input_size=(H, W), or images of that size.",
        )
    sizes = {part: "size of the images" for part in ("height", "width") if getattr(config, part) is None}
    own = "channels of the images" if shape else "found by trying"
    kinds = [(channels, own), *((other, "found by trying") for other in (3, 1) if other != channels)]
    for layout in (config.layout,) if config.layout else ("NCHW", "NHWC"):
        for count, source in [(config.channels, "option")] if config.channels else kinds:
            wanted = {"height": height, "width": width, "channels": count, "layout": layout}
            sources = {**sizes, **({} if config.channels else {"channels": source})}
            sources |= {} if config.layout else {"layout": "found by trying"}
            yield config.model_copy(update=wanted), sources


def _architecture(
    module: nn.Module, spec: InputSpec, folder: Path
) -> tuple[tuple[ArchitectureFinding, ...], str | None]:
    """Look for steps without a gradient as in a model's files: in the graph that torch.export makes of the module.

    Returns:
        The steps, and why they could not be looked for; None if they could.
    """
    image = torch.full((2, spec.channels, spec.height, spec.width), 0.5, dtype=dtype_of_weights(module))
    image = (image if spec.layout == "NCHW" else image.permute(0, 2, 3, 1)).to(device_of(module))
    path = folder / ARCHIVE
    path.parent.mkdir(parents=True)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.export.save(torch.export.export(module, (image,), strict=False), path)
    except Exception as error:  # it raises all sorts of errors on modules that it cannot follow
        return (), type(error).__name__
    steps, examined = architecture(folder)
    here = tuple(step.model_copy(update={"file": "graph of the module"}) for step in steps)
    return here, None if examined else "its graph has operations of which nothing is known"


@contextmanager
def in_memory(module: nn.Module, config: ScanConfig, workspace: Path, shape: Shape | None) -> Iterator[InMemory]:
    """Yield the way of a module, which is in evaluation mode until the end and then as it was.

    Args:
        module: the module; where `config.device` names a device, a copy of it moves there.
        config: the settings.
        workspace: empty folder that is removed after the scan.
        shape: channels, height and width of the images, where all are alike.
    """
    if config.device != "auto":
        try:
            module = deepcopy(module).to(pick_device(config.device))
        except (RuntimeError, TypeError, NotImplementedError) as error:
            raise ConfigError(
                f"No copy of the module can be moved to {config.device!r}: {str(error)[:200]}.",
                "Move it yourself and leave device out: a module is scanned where it is.",
            ) from error
    with _as_it_was(module), torch.inference_mode(False), torch.enable_grad():
        yield InMemory(module, config, workspace, shape)


@contextmanager
def _as_it_was(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and everything about it and about random numbers back afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    tensors = (parameter for parameter in module.parameters() if parameter.requires_grad and parameter.is_leaf)
    trained = [parameter for parameter in tensors if not parameter.is_inference()]  # those can be changed nowhere else
    buffers = [
        (part, name, value, value.detach().clone())
        for part in module.modules()
        for name, value in part._buffers.items()
        if value is not None and not value.is_inference()
    ]
    with torch.random.fork_rng(_accelerators(module)):
        python, numpy = random.getstate(), np.random.get_state()
        try:
            if any(mode for _, mode in modes):
                with suppress(NotImplementedError):  # an exported graph has one mode only
                    module.eval()
            for parameter in trained:
                parameter.requires_grad_(False)
            yield
        finally:
            for part, mode in modes:
                if part.training != mode:
                    part.training = mode
            for parameter in trained:
                parameter.requires_grad_(True)
            with torch.no_grad():
                for part, name, value, before in buffers:
                    value.copy_(before)
                    if not isinstance(part, torch.jit.ScriptModule):
                        part._buffers[name] = value
            random.setstate(python)
            np.random.set_state(numpy)


def _accelerators(module: nn.Module) -> list[int]:
    """Return the numbers of the accelerators whose random numbers the module may use."""
    place = device_of(module)
    return [place.index or 0] if place.type == "cuda" else []
