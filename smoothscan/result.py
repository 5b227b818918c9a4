"""What a scan found: the model behind `result.json`. Other programs rely on it; fields are added, never changed."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from smoothscan.errors import Status
from smoothscan.shown import ShownPicture, html_of
from smoothscan.vocabulary import SpaceName

SCHEMA_VERSION = "1.0"

VerdictName = Literal["clean", "suspicious", "backdoored", "inconclusive"]
FoundBy = Literal["budget", "noise", "pairs"]
FailOn = Literal["suspicious", "backdoored"]
RuleName = Literal["target-class", "class-pair", "hard-step"]
FindingState = Literal["open", "waived", "known"]
Level = Literal["suspicious", "backdoored"]
Obstacle = Literal["no-answer", "no-grip", "hard-step", "no-null", "unfinished"]


class Record(BaseModel):
    """Base of all parts of a result: immutable, and open to fields of later versions."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, use_attribute_docstrings=True)


class ModelInfo(Record):
    """Which model was examined, pinned to bytes."""

    uri: str
    """The URI as given."""
    resolved_uri: str | None = None
    """The URI after aliases and `latest` were replaced by a version."""
    name: str | None = None
    """Registered name."""
    version: str | None = None
    """Registered version."""
    model_id: str | None = None
    """Id of the logged model, if there is one."""
    run_id: str | None = None
    """Id of the run that logged the model, if there is one."""
    flavor: str | None = None
    """How the model is stored: `pytorch/pt2`, `pytorch/pickle`, `transformers`, `onnx`, ..."""
    architecture: str | None = None
    """`timm/<name>` or `torchvision/<name>`, where the model's files hold weights alone."""
    digest: str | None = None
    """SHA-256 over the sorted list of file names and file digests, as `sha256:<hex>`."""
    files: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of every file of the model, by path inside its folder."""


class CurvePoint(Record):
    """How a class transfers at one budget."""

    sigma: float
    """Noise level in [0, 1] pixel units."""
    epsilon: float
    """Budget at this model's input size; in L2 a norm in [0, 1] pixel units."""
    hits: int
    """Held-out images that the perturbation moves to the class."""
    n_images: int
    """Held-out images that are not in the class when clean."""
    transfer_rate: float
    """hits / n_images, in [0, 1]."""


class ClassResult(Record):
    """What was found for one class."""

    index: int
    """Position among the model's outputs."""
    label: str
    """Name of the class, or its index as text."""
    score: float
    """How far this class's budget lies below what ordinary classes need, in (0, 1): an increasing function of R =
    log(reference / e50), one half where suspicion begins."""
    transfer_rate: float
    """Share of held-out images, not in the class when clean, that the perturbation moves to the class, in [0, 1]."""
    transfer_ci: tuple[float, float]
    """95 % Clopper-Pearson interval of `transfer_rate`."""
    n_images: int
    """Held-out images behind `transfer_rate`."""
    epsilon: float
    """Budget behind `transfer_rate`, at this model's input size; in L2 a norm in [0, 1] pixel units."""
    sigma: float
    """Noise level behind `transfer_rate`, in [0, 1] pixel units."""
    p_value: float | None
    """Chance that the most suspect of as many ordinary classes is as anomalous; None where there are too few
    classes."""
    flagged: bool
    """Whether the class is held to be a backdoor's target."""
    e50: float | None = None
    """Budget at which half of the held-out images move to the class (in other spaces than L2 the `level` of
    `spaces`); None if it is above the largest one tried."""
    noise_sigma50: float | None = None
    """Noise level at which plain noise moves half of the images to the class; None if above the largest one tried."""
    reference: float | None = None
    """Budget that ordinary classes of this model need, which `e50` is compared with."""
    found_by: FoundBy | None = None
    """What a flagged class stands out by: its small budget, that plain noise leads to it, or that a small patch leads
    images of single source classes to it (`pairs`); None if not flagged."""
    source_image: str | None = None
    """Names of the images that the perturbation was synthesised from."""
    control_rate: float | None = None
    """Share of the same images that a shuffled copy of the class's trigger moves to it, in [0, 1]."""
    control_epsilon: float | None = None
    """Budget of that trigger, at this model's input size."""
    curve: tuple[CurvePoint, ...] = ()
    """Transfer at every budget that was tried, ascending."""


class Coverage(Record):
    """How much of the model and of the images the scan looked at."""

    classes_total: int = 0
    """Classes of the model."""
    classes_examined: int = 0
    """Classes that were searched for and tested, of a model with many in groups at least."""
    classes_in_full: int = 0
    """Classes that were searched in full in at least one trigger space; the others did worse than those in the
    screening."""
    passes_by_class: tuple[float, ...] = ()
    """Model passes that each class got, in the model's order; those of a group are divided equally."""
    images: int = 0
    """Usable images."""
    held_out: int = 0
    """Images on which transfer was counted."""
    images_left_out: int = 0
    """Further images that would have exceeded `memory_bytes`, or the most that a scan looks at."""
    images_skipped: tuple[str, ...] = ()
    """Files that could not be used, each with its reason."""
    unfinished: tuple[str, ...] = ()
    """Searches that the time budget cut off or left out: names of trigger spaces, and `pairs`."""


class DenoiserInfo(Record):
    """The diffusion model that took the noise off images."""

    uri: str
    """What the user named."""
    digest: str
    """`sha256:<hex>` over its configuration and weights."""


class Cost(Record):
    """What the scan took."""

    model_passes: float = 0.0
    """Images through forward and backward; a forward alone counts 1/3."""
    denoiser_passes: float = 0.0
    """The same for the denoiser."""
    seconds: float = 0.0
    """Wall time of the scan, start of the program excluded."""
    peak_rss_bytes: int = 0
    """Peak resident memory of scanner and model host, summed, in bytes."""
    device: str = "cpu"
    """Torch device of the model."""
    host_seconds: float = 0.0
    """Time that the model host spent computing."""
    exchange_seconds: float = 0.0
    """Time that the exchange with the model host added: copies, checks and waiting for the process."""


class InputSpec(Record):
    """How images are handed to the model, and where each part of that was taken from."""

    channels: int
    """Number of channels."""
    height: int
    """Height in pixels."""
    width: int
    """Width in pixels."""
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    """Order of the axes at the model's input."""
    dtype: str = "float32"
    """Data type at the model's input."""
    value_range: tuple[float, float] = (0.0, 1.0)
    """Values of a black and of a white pixel, before `mean` and `std`."""
    mean: tuple[float, ...] | None = None
    """Per-channel mean that is subtracted, in units of `value_range`."""
    std: tuple[float, ...] | None = None
    """Per-channel divisor, in units of `value_range`."""
    resize: str = "crop"
    """How images of another size are brought to this one."""
    outputs: Literal["logits", "probabilities", "log_probabilities"] | None = None
    """What the model answers; None if it was not asked."""
    sources: dict[str, str] = Field(default_factory=dict)
    """Where each part comes from: `option`, `configuration file`, `signature`, `inferred from the input example`."""


class ArchitectureFinding(Record):
    """A step in a model's graph that depends on the image and has no gradient, so that inversion cannot see past it."""

    file: str
    """Path of the model file."""
    operation: str
    """The operation, such as `aten.gt.Scalar` or `cond`."""
    kind: Literal["branch", "gate"]
    """`branch`: which operations run depends on the image. `gate`: a comparison of image-dependent values is computed
    with as if it were a number."""
    count: int
    """How often it stands in the graph."""
    detail: str
    """What it compares, in words."""
    technique: str = "AML.T0018"
    """MITRE ATLAS technique that a backdoor made so would be: Manipulate AI Model."""


class SafetyReport(Record):
    """What was seen in the model's files before anything was loaded, and what held the process that loaded it."""

    needs_model_code: bool = False
    """Whether loading runs code that the model brings along: pickles, TorchScript, Python files."""
    model_code_executed: bool = False
    """Whether such code was run."""
    findings: tuple[str, ...] = ()
    """What was seen, in words; the dangerous and the unexamined first."""
    dangerous: tuple[str, ...] = ()
    """Those of the findings that no ordinary model gives rise to, such as a pickle that calls `os.system`."""
    unexamined: tuple[str, ...] = ()
    """Files that no scanner understood, by path inside the model's folder."""
    scanners: dict[str, str] = Field(default_factory=dict)
    """Static scanners that looked at the files, with their versions."""
    architecture: tuple[ArchitectureFinding, ...] = ()
    """Hard steps in the graph that depend on the image."""
    architecture_examined: bool = False
    """Whether the graph could be read to look for such steps; a model that is Python code has none to read."""
    sandboxed: bool = False
    """Whether the sandbox around the model's process held in full: files, network, processes and limits."""
    held_by_caller: bool = False
    """Whether a Python program handed the model over, and held it in its own process: there were no files to look at,
    and nothing confined its code."""
    isolation: tuple[str, ...] = ()
    """Protections around the process that held the model, and those that this machine could not give."""


class WriteBack(Record):
    """What became of the tags and the MLflow run; apart from the verdict."""

    status: Literal["done", "off", "not_applicable", "failed"] = "off"
    """Whether the registry was written to."""
    run_id: str | None = None
    """MLflow run of this scan."""
    tagged: bool = False
    """Whether the model version carries the tags."""
    message: str = ""
    """Why it failed or does not apply."""


class Promotion(Record):
    """What became of the alias that was to move to the scanned version."""

    alias: str
    """The alias."""
    status: Literal["moved", "unchanged", "held", "failed"]
    """`held`: the gate did not pass. `unchanged`: it was on the version already. `failed`: the gate passed, but the
    alias could not be moved, somebody else moved it meanwhile, or the version's files are no longer those that were
    scanned."""
    before: str | None = None
    """Version that it was on; null if on none, or if the registry did not say."""
    message: str
    """What happened, in a sentence."""


class ErrorInfo(Record):
    """Why a scan did not complete."""

    type: str
    """Name of the error class."""
    message: str
    """What happened."""
    hint: str = ""
    """What to do next."""


class NoiseProbe(Record):
    """How the model's predictions move under plain noise; forward passes only."""

    sigmas: tuple[float, ...] = ()
    """Noise levels tried, in [0, 1] pixel units."""
    kept: tuple[float, ...] = ()
    """Share of images that keep their clean prediction, at each level."""
    top_class: tuple[int, ...] = ()
    """Class that most of the other images move to, at each level."""
    top_share: tuple[float, ...] = ()
    """Share of the images not of that class that move to it, at each level."""


class CalibrationUse(Record):
    """What a calibration on clean models says about this model."""

    p_value: float
    """Conformal p-value: chance that a further clean model is as anomalous, in (0, 1]."""
    smallest_p: float
    """Smallest p-value that so many clean models allow."""
    n_models: int
    """Clean models of the calibration."""
    highest_anomaly: float
    """Highest anomaly among them."""


class ScreeningRound(Record):
    """One round of choosing the classes that are searched in full; models with few classes need none."""

    title: str
    """What was done."""
    classes: int
    """Classes that took part."""
    kept: tuple[int, ...]
    """Classes that went on, best first."""


class SpaceResult(Record):
    """The most suspect class in one trigger space."""

    space: SpaceName
    """The space."""
    sigma: float
    """Noise level of the search, in [0, 1] pixel units."""
    anomaly: float
    """Anomaly of its most suspect class: log(reference / e50), times the scale of the space."""
    index: int
    """That class."""
    e50: float | None
    """Budget at which it transfers, in the unit of the space; None if above the largest one."""
    reference: float
    """Budget that ordinary classes need there."""
    transfer_rate: float
    """Largest transfer rate of the class at any budget, in [0, 1]."""
    level: float = 0.5
    """Share of the held-out images at which a class counts as transferring there."""
    denoised: bool = False
    """Whether the search in which it stands out most went through a denoiser."""
    screening: tuple[ScreeningRound, ...] = ()
    """How the classes that were searched in full there were chosen; empty if all were."""


class Suspicion(Record):
    """A class that would be suspect by itself, whatever else there is in the model."""

    index: int
    """The class."""
    label: str
    """Its name, or its index as text."""
    level: Level
    """What the model would be called for this class alone."""
    anomaly: float
    """R of the class where it stands out most."""
    space: SpaceName | None
    """The trigger space in which it does; null where plain noise leads to it."""


class PairResult(Record):
    """A pair of classes between which a small patch is enough."""

    source: int
    """Class of the images that the trigger works on, as the model predicts it."""
    target: int
    """Class that it leads them to."""
    epsilon: float
    """Replaced pixels."""
    hits: int
    """Held-out images of the source class that it moves to the target."""
    n_images: int
    """Held-out images of the source class."""
    transfer_rate: float
    """hits / n_images, in [0, 1]."""
    transfer_ci: tuple[float, float]
    """95 % Clopper-Pearson interval of `transfer_rate`."""
    anomaly: float
    """R = log(reference / budget) against the model's ordinary pairs."""


class PairsResult(Record):
    """The search over pairs of source and target class."""

    sources: tuple[int, ...]
    """Source classes that there were enough images of; A in number."""
    n_images: tuple[int, ...]
    """Held-out images of each."""
    synthesis_images: int
    """Images of the source class that each trigger was made from."""
    epsilons: tuple[float, ...]
    """Sizes of the patch in replaced pixels, ascending."""
    sigma: float
    """Noise level of the search, in [0, 1] pixel units."""
    hits: tuple[tuple[tuple[int, ...], ...], ...]
    """Held-out images of the source that moved to the target, by source, target and size; -1 where none was searched:
    from a class to itself, and with a smaller patch where the next larger one moved less than half."""
    flagged: tuple[PairResult, ...] = ()
    """Pairs that stand out, most anomalous first."""


class Waiver(Record):
    """A finding that somebody answers for until a day; bound to the model's bytes."""

    model_digest: str
    """Digest of the one model that it holds for, `sha256:<hex>`."""
    rule: RuleName
    """What kind of finding is waived."""
    index: int | None = None
    """The waived target class; null for findings that are about no class."""
    source: int | None = None
    """Source class of a pair; null for other findings."""
    reason: str
    """Why it is waived."""
    owner: str
    """Who answers for it."""
    expires: date
    """Last day on which it holds."""


class Finding(Record):
    """One ground for holding a model back, as programs follow it from scan to scan."""

    rule: RuleName
    """What kind of finding this is."""
    index: int | None = None
    """Target class; null where the finding is about no class."""
    label: str | None = None
    """Name of that class."""
    source: int | None = None
    """Source class of a pair; null for other findings."""
    source_label: str | None = None
    """Name of that class."""
    message: str
    """What was found, in a sentence or two."""
    fingerprint: str
    """SHA-256 in hex: the same for the same finding in every scan of every version of a registered model."""
    state: FindingState = "open"
    """`open` counts against the model; `waived` and `known` (the baseline has it, too) do not."""
    waiver: Waiver | None = None
    """The waiver that holds for it."""
    suspicion: Suspicion | None = None
    """What makes a class suspect by itself that is none of `target_classes`; null where the verdict is about it."""


class Gate(Record):
    """Whether the model may pass, and why."""

    passed: bool
    """Whether nothing holds the model back."""
    exit_code: int
    """Exit code of `check`."""
    fail_on: FailOn
    """Mildest verdict that holds a model back."""
    findings: tuple[Finding, ...] = ()
    """Everything that was found, waived or not."""
    baseline: str | None = None
    """The scan that findings were compared with: model and digest; null without one."""
    notes: tuple[str, ...] = ()
    """Which baseline was used, what it does not excuse, waivers that do not hold, and what else is open."""


class ScanResult(Record):
    """One scan of one model."""

    schema_version: str = SCHEMA_VERSION
    """Version of this format; the first number changes when a field changes its meaning."""
    status: Status
    """How far the scan came."""
    model: ModelInfo
    """The model."""
    verdict: VerdictName | None = None
    """The verdict; null unless `status` is `completed`."""
    score: float | None = None
    """How suspect the model is, in [0, 1], comparable between models; null without a verdict."""
    anomaly: float | None = None
    """R of the most suspect class, log(reference / e50); `score` is a function of it."""
    p_value: float | None = None
    """Chance of so anomalous a class among as many ordinary ones; null where the model gives no null, and where a pair
    of classes is more anomalous than any class."""
    calibration: CalibrationUse | None = None
    """What the calibration file said; null without one."""
    target_classes: tuple[int, ...] = ()
    """Classes held to be targets of a backdoor."""
    space: SpaceName = "l2"
    """Trigger space that `classes` is about: the one in which a class stands out most."""
    spaces: tuple[SpaceResult, ...] = ()
    """Every space that was searched."""
    suspicions: tuple[Suspicion, ...] | None = None
    """Every class that is suspect by itself in any space or under noise, most anomalous first, targets included:
    `target_classes` names those of the most anomalous space only, and the gate looks at the others where these are
    waived or known. Pairs are in `pairs`. Null without a verdict, and in results of older versions."""
    obstacles: tuple[Obstacle, ...] = ()
    """What keeps the scan from calling the model clean, whatever its verdict is: the model withholds its answer under
    noise or is fragile, the search had no grip on it, its graph has steps without a gradient, its classes give nothing
    to compare with, the time budget ended too early. Empty where nothing does, and where `error` says it."""
    classes: tuple[ClassResult, ...] = ()
    """One entry for each class that was examined; budgets are in the unit of `space`."""
    pairs: PairsResult | None = None
    """Pairs of source and target class; null if they were not searched."""
    denoiser: DenoiserInfo | None = None
    """The denoiser; null without one. `config.denoising` says what it was for, `spaces` what it took part in."""
    coverage: Coverage = Coverage()
    """How much was examined."""
    cost: Cost = Cost()
    """What the scan took."""
    config: dict[str, Any] = Field(default_factory=dict)
    """The configuration, without secrets."""
    config_digest: str | None = None
    """SHA-256 over configuration, images, profile and code version."""
    input_spec: InputSpec | None = None
    """How images were handed to the model."""
    safety: SafetyReport = SafetyReport()
    """What was seen in the files, and whether model code ran."""
    reasons: tuple[str, ...] = ()
    """The verdict in words, most important first."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Versions and machine."""
    noise_probe: NoiseProbe | None = None
    """How predictions move under plain noise."""
    error: ErrorInfo | None = None
    """Why the scan did not complete, or is inconclusive for a technical reason."""
    gate: Gate | None = None
    """Whether the model may pass; null where no gate was asked, as in a scan from Python."""
    write_back: WriteBack = WriteBack()
    """What became of tags and run."""
    promotion: Promotion | None = None
    """What became of the alias that `set_alias` names; null without one."""
    recalled: bool = False
    """Whether this is the result of the same scan done before: the same model, images, settings and program. Cost,
    environment and times are that scan's."""
    started_at: str | None = None
    """UTC, ISO 8601."""
    finished_at: str | None = None
    """UTC, ISO 8601."""
    _pictures: tuple[ShownPicture, ...] = PrivateAttr(default=())
    """What a notebook shows beside the numbers; no part of the format, and of no weight when results are compared."""

    @property
    def pictures(self) -> tuple[ShownPicture, ...]:
        """What a notebook shows beside the numbers; empty for a result that was read from a file."""
        return self._pictures

    def with_pictures(self, pictures: tuple[ShownPicture, ...]) -> ScanResult:
        """Return the same result with pictures for notebooks."""
        result = self.model_copy()
        result._pictures = pictures
        return result

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScanResult) and dict(self) == dict(other)

    __hash__ = None  # type: ignore[assignment]  # it holds dictionaries

    def __repr__(self) -> str:
        said: list[str] = [self.verdict or self.status]
        if self.target_classes:
            listed = ", ".join(map(str, self.target_classes[:5])) + (", ..." if len(self.target_classes) > 5 else "")
            said.append(f"target_classes=({listed})")
        if self.score is not None:
            said.append(f"score={self.score:.3f}")
        return f"<ScanResult {_short(self.model.resolved_uri or self.model.uri, 100)}: {' '.join(said)}>"

    def __str__(self) -> str:
        lines = [repr(self)]
        lines += [f"  {_short(line, 300)}" for line in self.reasons[:3]]
        lines += [f"  {_short(self.error.hint, 300)}"] if self.error and self.error.hint else []
        return "\n".join(lines)

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows; nothing is loaded, and every text is escaped."""
        return html_of(self)

    def exit_code(self, fail_on: FailOn = "suspicious") -> int:
        """Return what the verdict alone gives: 0 clean, 1 flagged, 3 failed, 4 inconclusive, 5 unsupported."""
        if self.status == "unsupported":
            return 5
        if self.status != "completed":
            return 3
        if self.verdict == "backdoored" or (self.verdict == "suspicious" and fail_on == "suspicious"):
            return 1
        return 0 if self.verdict in ("clean", "suspicious") else 4


def _short(text: str, most: int) -> str:
    """Return a text that may hold what a model's author wrote, on one line and without what a terminal would obey."""
    shown = "".join(c if c.isprintable() else " " for c in text[: most + 1])
    return shown if len(shown) <= most else shown[: most - 1] + "…"
