"""Which versions are due, why, and in which order. Nothing is downloaded for it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from smoothscan.config import Frozen, ScanConfig
from smoothscan.draft import config_digest
from smoothscan.errors import UsageError
from smoothscan.fleet.ledger import Entry
from smoothscan.posture import is_promoted
from smoothscan.publish import Provenance
from smoothscan.sources.calibration_file import calibration_for
from smoothscan.sources.images import images_digest, list_images
from smoothscan.sources.inventory import Registered
from smoothscan.stored import DiffusionFiles


class Shard(Frozen):
    """One of several parts of a registry, for machines that share the work without talking to each other."""

    index: int
    """Which part, from 0, as in a Kubernetes indexed job."""
    count: int
    """How many parts there are."""

    def has(self, version: Registered) -> bool:
        """Tell whether a version is in this part; each is in exactly one, whatever else the registry holds."""
        key = f"{version.name}\n{version.version}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.sha256(key).digest()[:8]) % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclass(frozen=True)
class Order:
    """How one version is to be scanned."""

    config: ScanConfig
    """The configuration, with the version's URI."""
    input_sources: Mapping[str, str]
    """Where each part of its input specification comes from."""
    provenance: Provenance
    """What reports say of where the scan came from."""
    digest: str
    """Digest of settings and images; empty if `problem` is set."""
    problem: UsageError | None = None
    """Why a version cannot be scanned with these settings."""


@dataclass(frozen=True)
class Planned:
    """One version of the registry, and whether it is due."""

    version: Registered
    """The version."""
    order: Order
    """How to scan it."""
    known: Entry | None
    """Its newest finished scan."""
    due: str
    """Why it is due; empty if its newest scan still holds."""


class Digests:
    """Digests of settings; versions that share theirs share the reading of images and files as well.

    Args:
        denoiser: fetches the denoiser that a configuration names.
    """

    def __init__(self, denoiser: Callable[[ScanConfig], DiffusionFiles | None]) -> None:
        self._denoiser = denoiser
        self._known: dict[ScanConfig, str | UsageError] = {}

    def of(self, config: ScanConfig) -> str:
        """Return the digest of a configuration.

        Raises:
            UsageError: what it names cannot be used.
        """
        settings = config.model_copy(update={"uri": ""})
        if settings not in self._known:
            try:
                images = images_digest(list_images(config.images))
                self._known[settings] = config_digest(config, images, calibration_for(config), self._denoiser(config))
            except UsageError as error:
                self._known[settings] = error
        digest = self._known[settings]
        if isinstance(digest, UsageError):
            raise digest
        return digest


def plan(
    versions: Sequence[Registered],
    known: Mapping[tuple[str, str], Entry],
    order_of: Callable[[Registered], Order],
    *,
    rescan: bool = False,
    now: float | None = None,
) -> tuple[Planned, ...]:
    """Decide which versions are due.

    Args:
        versions: what the registry holds.
        known: the newest finished scan of each, by name and number.
        order_of: how to scan a version.
        rescan: whether all of them are due, whatever is known.
        now: the time, in seconds since 1970.

    Returns:
        All of them: those that are due first, promoted ones before others, newer ones before older ones.
    """
    moment = time.time() if now is None else now
    planned = []
    for version in versions:
        order, entry = order_of(version), known.get((version.name, version.version))
        due = "asked for" if rescan else why_due(version, order, entry, moment)
        planned.append(Planned(version, order, entry, due))

    def place(each: Planned) -> tuple[bool, bool, float, str]:
        version = each.version
        return not each.due, not is_promoted(version.aliases, version.stage), -version.created, version.name

    return tuple(sorted(planned, key=place))


def why_due(version: Registered, order: Order, entry: Entry | None, now: float) -> str:
    """Return why a version has to be scanned; empty if its newest scan still holds."""
    if entry is None:
        return "never scanned"
    if entry.identity != version.identity:
        return "registered anew"
    if order.problem is not None:
        return "settings cannot be used"
    if entry.config_digest != order.digest:
        return "settings changed"
    if entry.expires_at is None or entry.expires_at <= now:
        return "expired"
    if entry.status in ("failed", "timed_out"):
        return "failed before"
    return "unfinished" if entry.unfinished else ""
