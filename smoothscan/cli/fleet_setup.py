"""What the commands for many models share: settings of each version, the ledger, and the engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

from smoothscan.capacity import own_cores
from smoothscan.cli.display import Display
from smoothscan.cli.plan_outcome import settled
from smoothscan.cli.settings import Choices
from smoothscan.config import ScanConfig
from smoothscan.errors import ConfigError, UsageError
from smoothscan.events import Ranked, Silent
from smoothscan.fleet.engines.interface import Engine
from smoothscan.fleet.folders import WORK, folder_of
from smoothscan.fleet.ledger import Ledger, default_ledger
from smoothscan.fleet.plan import Digests, Order
from smoothscan.fleet.sweep import Sweep, SweepOptions, Watcher
from smoothscan.gate import judge
from smoothscan.posture import Standing
from smoothscan.publish import Provenance, keep_apart, make_ready
from smoothscan.result import ScanResult, Waiver
from smoothscan.sources.denoisers import denoiser_of
from smoothscan.sources.inventory import Registered, Selection
from smoothscan.sources.waivers import read_waivers


class Rules:
    """How a sweep scans and judges each version. Images, waivers and other files are read once, for all versions.

    Args:
        choices: options and configuration file.
        common: what holds for the command as a whole.
    """

    def __init__(self, choices: Choices, common: ScanConfig) -> None:
        folder = common.output_dir
        self._choices = choices
        self._common = common
        self._digests = Digests(lambda config: denoiser_of(config, folder / WORK / "denoiser", Silent()))
        self._waivers = cache(read_waivers)

    def order_of(self, version: Registered) -> Order:
        """Return how to scan a version.

        Raises:
            UsageError: no version can be scanned so: a key that signs or a file of waivers cannot be used.
        """
        folder = self._common.output_dir
        # A baseline and an alias are about one model.
        own = {"output_dir": folder / folder_of(version.name, version.version), "baseline": None, "set_alias": None}
        try:
            settings = self._choices.of(version.uri)
            digest = self._digests.of(settings.config)
        except UsageError as error:
            return Order(self._common.model_copy(update={"uri": version.uri, **own}), {}, Provenance(), "", error)
        config = settings.config.model_copy(update=own)
        keep_apart(folder, config.images)
        make_ready(config)  # who is wrong with the key or the waivers hears of it before anything is scanned
        self._waivers_of(config)
        return Order(config, settings.input_sources, settings.provenance, digest)

    def judge(self, result: ScanResult, config: ScanConfig) -> ScanResult:
        """Return a result with what the gate says of it. A baseline is about one model, and of no use for many."""
        return judge(result, config.fail_on, self._waivers_of(config), None, datetime.now(UTC).date())

    def _waivers_of(self, config: ScanConfig) -> tuple[Waiver, ...]:
        return () if config.waivers is None else self._waivers(config.waivers)


LEDGER = "SMOOTHSCAN_LEDGER"
"""Environment variable of the ledger, for URLs with a password in them."""


@contextmanager
def ledger_of(options: Mapping[str, Any]) -> Iterator[Ledger]:
    """Yield the ledger that the options name."""
    with Ledger(options.get("ledger") or os.environ.get(LEDGER) or str(default_ledger())) as ledger:
        yield ledger


def engine_of(options: Mapping[str, Any], common: ScanConfig) -> Callable[[], Engine]:
    """Return what makes the engine that the options name, as often as one is needed: a closed one is used up.

    Args:
        options: options of the group "Many models".
        common: what holds for the command as a whole.

    Raises:
        ConfigError: the options do not fit each other, or the engine is not installed.
    """
    if options.get("ray_address") and options.get("engine") is None:
        raise ConfigError("--ray-address is of no use to the local engine", "add --engine ray")
    if options.get("engine") == "ray":
        from smoothscan.fleet.engines.ray import RayEngine, require_ray

        require_ray()
        return partial(RayEngine, options.get("ray_address"), options.get("workers"), threads=common.threads)
    from smoothscan.fleet.engines.local import LocalEngine
    from smoothscan.fleet.machine import own_accelerators, shares

    parts = shares(
        options.get("workers"),
        threads=common.threads,
        device=common.device,
        memory_bytes=common.memory_bytes,
        cores=own_cores(),
        accelerators=() if common.device == "cpu" else own_accelerators(),
    )
    return partial(LocalEngine, parts, common.output_dir / WORK)


def scanner_of(
    choices: Choices,
    common: ScanConfig,
    ledger: Ledger,
    engine: Callable[[], Engine],
    watcher: Watcher,
    *,
    retries: int | None = None,
) -> Callable[[Sequence[tuple[str, str]]], dict[tuple[str, str], Standing]]:
    """Return what scans given versions, those that are due, and records them as a sweep does.

    Args:
        choices: options and configuration file.
        common: what holds for the command as a whole.
        ledger: what is known.
        engine: makes who scans; see `engine_of`.
        watcher: who is told.
        retries: further attempts after a crash or a lost server; None for as many as a sweep makes.
    """
    attempts = {} if retries is None else {"retries": retries}

    def scan(versions: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Standing]:
        what = SweepOptions(
            selection=Selection(versions=tuple(versions)),
            output_dir=common.output_dir,
            tracking_uri=common.tracking_uri,
            registry_uri=common.registry_uri,
            **attempts,
        )
        rules = Rules(choices, common)  # anew each time: images and waivers may have changed
        sweep = Sweep(what, rules.order_of, rules.judge, ledger, engine(), watcher)
        sweep.run()
        found = {(standing.name, standing.version): standing for standing in sweep.standings.values()}
        return {each: found.get(each) or _gone(*each) for each in versions}

    return scan


def _gone(name: str, version: str) -> Standing:
    uri = f"models:/{name}/{version}"
    reason = "The registry has no such version, or does not show it to this server."
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

    def under_way(self, uris: Sequence[str]) -> None:
        """Show what is scanned at the moment."""
        self._display.beneath(uris)

    def settled(self, standing: Standing, done: int, total: int) -> None:
        """Say how a version stands."""
        self._display.note(f"{done}/{total}  {settled(standing)}")
        self._display.progress(done, total)
