"""Models in files: fetched, looked at without loading them, and loaded in a process of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from smoothscan.classifier.launcher import HostProcess, model_host
from smoothscan.config import ScanConfig
from smoothscan.events import Events
from smoothscan.intake.interface import Known
from smoothscan.result import InputSpec
from smoothscan.safety.admission import admit
from smoothscan.safety.static import check
from smoothscan.sources import Artifact, fetch
from smoothscan.sources.architectures import with_architecture
from smoothscan.sources.input_spec import fitting_labels, input_spec

if TYPE_CHECKING:
    from smoothscan.classifier.asked import AskedClassifier


class FromFiles:
    """A model that a URI names.

    Args:
        host: the process that will hold it.
        folder: where its files come to lie.
        input_sources: where each part of `config.input` that the user gave comes from.
    """

    threads: int | None = 1  # the scanner's part is light, and idle threads would slow the host down

    def __init__(self, host: HostProcess, folder: Path, input_sources: Mapping[str, str]) -> None:
        self._host, self._folder, self._input_sources = host, folder, input_sources
        self._artifact: Artifact | None = None

    @property
    def size(self) -> int:
        """Bytes of its files; after `bring`."""
        return self._brought.size

    @property
    def _brought(self) -> Artifact:
        assert self._artifact is not None
        return self._artifact

    def bring(self, known: Known, events: Events) -> InputSpec:
        """Fetch it, look at its files, and admit it or not; see `Intake.bring`."""
        config = known.config
        stores = {"tracking_uri": config.tracking_uri, "registry_uri": config.registry_uri}
        artifact = fetch(config.uri, self._folder, **stores, events=events)
        known.model = artifact.info
        self._artifact = artifact = with_architecture(artifact, config.architecture)
        known.model = artifact.info
        known.safety = check(artifact.path, artifact.mlmodel).model_copy(
            update={"isolation": self._host.isolation, "sandboxed": self._host.sandboxed}
        )
        admit(known.safety, allow_model_code=config.allow_model_code)
        known.input_spec = spec = input_spec(artifact, config.input, self._input_sources)
        return spec

    def load(self, known: Known, events: Events) -> AskedClassifier:
        """Load it in its process; see `Intake.load`."""
        from smoothscan.classifier.remote import RemoteClassifier

        config, artifact, spec = known.config, self._brought, known.input_spec
        assert spec is not None
        events.stage("load", artifact.info.resolved_uri or config.uri)
        known.safety = known.safety.model_copy(update={"model_code_executed": known.safety.needs_model_code})
        self._host.limit_memory(artifact.size, config.memory_bytes)
        allow_code = config.allow_model_code or known.safety.needs_model_code  # it was admitted
        deadline = known.started + config.time_limit
        return RemoteClassifier(
            self._host, artifact.path, artifact.stored, spec, config, deadline, allow_code=allow_code
        )

    def labels(self, given: tuple[str, ...] | None, n_classes: int) -> tuple[str, ...] | None:
        """Return the names that its files hold; see `Intake.labels`."""
        return fitting_labels(self._brought, given, n_classes)

    def peak_rss(self) -> int:
        """Return the peak memory of its process."""
        return self._host.peak_rss()


@contextmanager
def from_files(workspace: Path, config: ScanConfig, input_sources: Mapping[str, str]) -> Iterator[FromFiles]:
    """Yield the way of a model in files; its process is importing already, and can read the files once they are there.

    Args:
        workspace: empty folder that is removed after the scan.
        config: names the model.
        input_sources: where each part of `config.input` that the user gave comes from.

    Raises:
        ConfigError: this machine has no such device.
    """
    folder = workspace / "model"
    folder.mkdir()
    with model_host(workspace, folder, device=config.device, time_limit=config.time_limit) as host:
        if config.device != "auto":
            from smoothscan.devices import require_device  # torch is slow to import, and a recalled scan does without

            require_device(config.device)
        yield FromFiles(host, folder, input_sources)
