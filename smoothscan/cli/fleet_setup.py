"""What the commands for many models share: settings of each version, the ledger, and the engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

from smoothscan.cli.display import Display
from smoothscan.cli.plan_outcome import settled
from smoothscan.cli.settings import Choices
from smoothscan.config import ScanConfig
from smoothscan.errors import UsageError
from smoothscan.events import Ranked, Silent
from smoothscan.fleet.engines.interface import Engine
from smoothscan.fleet.folders import WORK, folder_of
from smoothscan.fleet.ledger import Ledger, default_ledger
from smoothscan.fleet.plan import Digests, Order
from smoothscan.fleet.sweep import Sweep, SweepOptions, Watcher
from smoothscan.gate import judge
from smoothscan.posture import Standing
from smoothscan.publish import Provenance, keep_apart, make_ready
from smoothscan.result import ScanResult
from smoothscan.sources.denoisers import denoiser_of
from smoothscan.sources.inventory import Registered, Selection
from smoothscan.sources.waivers import read_waivers


def orders(choices: Choices, common: ScanConfig) -> Callable[[Registered], Order]:
    """Return what says how to scan each version.

    Args:
        choices: options and configuration file.
        common: what holds for the command as a whole.
    """
    folder = common.output_dir
    digests = Digests(lambda config: denoiser_of(config, folder / WORK / "denoiser", Silent()))

    def order_of(version: Registered) -> Order:
        # A baseline and an alias are about one model.
        own = {"output_dir": folder / folder_of(version.name, version.version), "baseline": None, "set_alias": None}
        try:
            settings = choices.of(version.uri)
            digest = digests.of(settings.config)
        except UsageError as error:
            return Order(common.model_copy(update={"uri": version.uri, **own}), {}, Provenance(), "", error)
        config = settings.config.model_copy(update=own)
        keep_apart(folder, config.images)
        make_ready(config)  # who is wrong with the key or the waivers hears of it before anything is scanned
        if config.waivers is not None:
            _waivers(config.waivers)
        return Order(config, settings.input_sources, settings.provenance, digest)

    return order_of


LEDGER = "SMOOTHSCAN_LEDGER"
"""Environment variable of the ledger, for URLs with a password in them."""
_waivers = cache(read_waivers)


def judged(result: ScanResult, config: ScanConfig) -> ScanResult:
    """Return a result with what the gate says of it. A baseline is about one model, and of no use for many."""
    waivers = () if config.waivers is None else _waivers(config.waivers)
    return judge(result, config.fail_on, waivers, None, datetime.now(UTC).date())


@contextmanager
def ledger_of(options: Mapping[str, Any]) -> Iterator[Ledger]:
    """Yield the ledger that the options name."""
    with Ledger(options.get("ledger") or os.environ.get(LEDGER) or str(default_ledger())) as ledger:
        yield ledger


def engine_of(options: Mapping[str, Any], common: ScanConfig) -> Engine:
    """Return the engine that the options name.

    Args:
        options: options of the group "Many models".
        common: what holds for the command as a whole.
    """
    if options.get("engine") == "ray":
        from smoothscan.fleet.engines.ray import RayEngine

        return RayEngine(options.get("ray_address"), options.get("workers"), threads=common.threads)
    from smoothscan.fleet.engines.local import LocalEngine
    from smoothscan.fleet.machine import own_accelerators, own_cores, shares

    parts = shares(
        options.get("workers"),
        threads=common.threads,
        device=common.device,
        memory_bytes=common.memory_bytes,
        cores=own_cores(),
        accelerators=() if common.device == "cpu" else own_accelerators(),
    )
    return LocalEngine(parts, common.output_dir / WORK)


def scanner_of(
    choices: Choices, common: ScanConfig, ledger: Ledger, engine: Engine, watcher: Watcher
) -> Callable[[Sequence[tuple[str, str]]], dict[tuple[str, str], Standing]]:
    """Return what scans given versions, those that are due, and records them as a sweep does.

    Args:
        choices: options and configuration file.
        common: what holds for the command as a whole.
        ledger: what is known.
        engine: who scans.
        watcher: who is told.
    """

    def scan(versions: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Standing]:
        what = SweepOptions(
            selection=Selection(versions=tuple(versions)),
            output_dir=common.output_dir,
            tracking_uri=common.tracking_uri,
            registry_uri=common.registry_uri,
        )
        sweep = Sweep(what, orders(choices, common), judged, ledger, engine, watcher)
        sweep.run()
        found = {(standing.name, standing.version): standing for standing in sweep.standings.values()}
        return {each: found.get(each) or _gone(*each) for each in versions}

    return scan


def _gone(name: str, version: str) -> Standing:
    uri = f"models:/{name}/{version}"
    reason = "The registry has no such version."
    return Standing(name=name, version=version, uri=uri, action="scanned", status="failed", reason=reason)


class Told:
    """Tells the terminal of a sweep; single scans are told of in a line each."""

    def __init__(self, display: Display) -> None:
        self._display = display

    def stage(self, name: str, detail: str = "") -> None:
        """Pass on."""
        self._display.stage(name, detail)

    def progress(self, done: float, total: float) -> None:
        """Pass on."""
        self._display.progress(done, total)

    def ranking(self, classes: Sequence[Ranked]) -> None:
        """Ignore: no single scan is watched."""

    def info(self, message: str) -> None:
        """Pass on."""
        self._display.info(message)

    def warning(self, message: str) -> None:
        """Pass on."""
        self._display.warning(message)

    def settled(self, standing: Standing, done: int, total: int) -> None:
        """Say how a version stands."""
        self._display.note(f"{done}/{total}  {settled(standing)}")
        self._display.progress(done, total)
