"""Everything that can go wrong, by what the user has to do about it.

SmoothscanError
├── UsageError                 exit 2, nothing was scanned: fix the command
│   ├── ConfigError            an option or a configuration file is wrong
│   ├── ImagesError            the image folder cannot be used
│   ├── DenoiserError          the denoiser cannot be fetched, or is none that a scan can use
│   └── OutputError            the results cannot be written
├── ScanFailedError            exit 3, the model could not be examined
│   ├── ModelNotFoundError     no such model, version, alias or run
│   ├── RegistryError          the registry or the artifact store did not answer
│   ├── LedgerError            the ledger of scans cannot be read or written
│   ├── EngineError            who should scan cannot be reached, such as a cluster
│   ├── ModelLoadError         the files are there, the model does not load
│   ├── ModelHostError         the model's process died or broke the protocol
│   ├── ScanTimeoutError       the time limit passed
│   └── RefusedError           loading would run the model's own code
├── AttestationError           exit 3, an attestation cannot be read
├── TrainingError              exit 3, a denoiser's training came to no end
├── InconclusiveError          exit 4, the scan ran but cannot say
│   ├── InputSpecError         size, range or normalisation of the input are unknown
│   ├── NonFiniteError         the model answers NaN or infinity
│   ├── UnstableModelError     the model answers differently to the same images
│   ├── ReplayError            saved triggers are missing, or this model cannot have them
│   ├── TooFewImagesError      not enough usable images for a statistic
│   └── TimeBudgetError        the time budget ended before anything was searched to its end
└── UnsupportedModelError      exit 5, no PyTorch image classifier
"""

from __future__ import annotations

from typing import ClassVar, Literal

Status = Literal["completed", "failed", "refused", "unsupported", "timed_out"]


class SmoothscanError(Exception):
    """Base of all errors that the program raises on purpose.

    Args:
        message: what happened, and to which model, file or option.
        hint: what to do next; may be empty.
    """

    exit_code: ClassVar[int] = 3
    status: ClassVar[Status] = "failed"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(SmoothscanError):
    """The command or its input files are wrong; nothing was scanned."""

    exit_code = 2


class ConfigError(UsageError):
    """An option or a configuration file is wrong."""


class ImagesError(UsageError):
    """The image folder cannot be used."""


class DenoiserError(UsageError):
    """The denoiser cannot be fetched, or is no diffusion model that the scan can use."""


class OutputError(UsageError):
    """The results cannot be written."""


class ScanFailedError(SmoothscanError):
    """The model could not be examined."""


class ModelNotFoundError(ScanFailedError):
    """No such model, version, alias or run."""


class RegistryError(ScanFailedError):
    """The registry or the artifact store did not answer, or refused."""


class LedgerError(ScanFailedError):
    """The ledger of scans cannot be read or written."""


class EngineError(ScanFailedError):
    """Who should scan cannot be reached."""


class ModelLoadError(ScanFailedError):
    """The files are there, but the model does not load."""


class ModelHostError(ScanFailedError):
    """The process that holds the model died or broke the protocol."""


class ScanTimeoutError(ScanFailedError):
    """The time limit passed before the scan was complete."""

    status = "timed_out"


class RefusedError(ScanFailedError):
    """Loading the model would run code that it brings along."""

    status = "refused"


class AttestationError(SmoothscanError):
    """An attestation cannot be read, or is none."""


class TrainingError(SmoothscanError):
    """A denoiser's training came to no end."""


class InconclusiveError(SmoothscanError):
    """The scan ran, but what it saw does not support a verdict."""

    exit_code = 4
    status = "completed"


class InputSpecError(InconclusiveError):
    """Size, value range or normalisation of the model's input cannot be told."""


class NonFiniteError(InconclusiveError):
    """The model answers NaN or infinity."""


class UnstableModelError(InconclusiveError):
    """The model answers differently to the same images."""


class TooFewImagesError(InconclusiveError):
    """Too few usable images for a statistic."""


class ReplayError(InconclusiveError):
    """Triggers of an earlier scan were not saved, or cannot be put on images of this model."""


class TimeBudgetError(InconclusiveError):
    """The time budget ended before anything was searched to its end."""


class UnsupportedModelError(SmoothscanError):
    """The model is no PyTorch image classifier that the scanner understands."""

    exit_code = 5
    status = "unsupported"
