"""What the commands for many models share: settings of each version, the ledger, and the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from smoothscan.cli.settings import Choices
from smoothscan.config import ScanConfig
from smoothscan.errors import UsageError
from smoothscan.events import Silent
from smoothscan.fleet.engines.interface import Engine
from smoothscan.fleet.folders import WORK, folder_of
from smoothscan.fleet.ledger import Ledger, default_ledger
from smoothscan.fleet.plan import Digests, Order
from smoothscan.gate import judge
from smoothscan.publish import Provenance, keep_apart
from smoothscan.result import ScanResult
from smoothscan.sources.denoisers import fetch_denoiser
from smoothscan.sources.inventory import Registered
from smoothscan.sources.waivers import read_waivers
from smoothscan.stored import DiffusionFiles


def orders(choices: Choices, folder: Path) -> Callable[[Registered], Order]:
    """Return what says how to scan each version.

    Args:
        choices: options and configuration file.
        folder: folder of the results of all versions.
    """
    common = choices.common()
    digests = Digests(lambda config: _denoiser(config, folder / WORK / "denoiser"))

    def order_of(version: Registered) -> Order:
        own = {"output_dir": folder / folder_of(version.name, version.version)}
        try:
            settings = choices.of(version.uri)
            digest = digests.of(settings.config)
        except UsageError as error:
            return Order(common.model_copy(update={"uri": version.uri, **own}), {}, Provenance(), "", error)
        keep_apart(folder, settings.config.images)
        if settings.config.waivers is not None:
            _waivers(settings.config.waivers)  # who is wrong there hears of it before anything is scanned
        config = settings.config.model_copy(update=own)
        return Order(config, settings.input_sources, settings.provenance, digest)

    return order_of


_waivers = cache(read_waivers)


def gate() -> Callable[[ScanResult, ScanConfig], ScanResult]:
    """Return what says whether models may pass. A baseline is about one model, and of no use for many."""

    def judged(result: ScanResult, config: ScanConfig) -> ScanResult:
        waivers = () if config.waivers is None else _waivers(config.waivers)
        return judge(result, config.fail_on, waivers, None, datetime.now(UTC).date())

    return judged


@contextmanager
def ledger_of(options: Mapping[str, Any]) -> Iterator[Ledger]:
    """Yield the ledger that the options name."""
    with Ledger(options.get("ledger") or str(default_ledger())) as ledger:
        yield ledger


def engine_of(options: Mapping[str, Any], config: ScanConfig, folder: Path) -> Engine:
    """Return the engine that the options name.

    Args:
        options: options of the group "Many models".
        config: the settings that models have where no table of the file says otherwise.
        folder: folder of the results of all versions.
    """
    if options.get("engine") == "ray":
        from smoothscan.fleet.engines.ray import RayEngine

        return RayEngine(options.get("ray_address"), options.get("workers"), threads=config.threads)
    from smoothscan.fleet.engines.local import LocalEngine
    from smoothscan.fleet.machine import own_accelerators, own_cores, shares

    parts = shares(
        options.get("workers"),
        threads=config.threads,
        device=config.device,
        memory_bytes=config.memory_bytes,
        cores=own_cores(),
        accelerators=() if config.device == "cpu" else own_accelerators(),
    )
    return LocalEngine(parts, folder / WORK)


def _denoiser(config: ScanConfig, into: Path) -> DiffusionFiles | None:
    if config.denoiser is None:
        return None
    stores = {"tracking_uri": config.tracking_uri, "registry_uri": config.registry_uri}
    return fetch_denoiser(config.denoiser, into, **stores, events=Silent())
