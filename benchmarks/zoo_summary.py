"""What a set of scans says about a detector: several scans of one model are one model, not many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALL_IN_L2 = ("pixel", "blend", "white2", "colour2", "checker3", "rand3", "two-targets")
"""Parts of the names of attacks that the L2 search is meant to find: pixels, blends, patches to 3x3, two targets."""
STRONG = 0.7
"""Attack success rate from which on a backdoor counts as planted; below it is a weak one."""
DRAWS = 2000


@dataclass(frozen=True)
class Model:
    """All scans of one model by one method."""

    name: str
    """Its name."""
    entry: dict[str, Any]
    """Its line of the manifest."""
    scans: tuple[dict[str, Any], ...]
    """Its scans."""

    @property
    def clean(self) -> bool:
        """Whether it has no backdoor."""
        return bool(self.entry["attack"] == "none")

    @property
    def strong(self) -> bool:
        """Whether it has a backdoor that sends most images of all classes to its targets."""
        if self.clean or self.entry["mode"] not in ("all2one", "two"):
            return False
        return bool(np.min(self.entry["asr"]) >= STRONG)

    @property
    def meant(self) -> bool:
        """Whether it has such a backdoor that is small in L2."""
        return self.strong and any(attack in self.entry["attack"] for attack in SMALL_IN_L2)

    @property
    def targets(self) -> set[int]:
        """Its true targets."""
        target = self.entry["target"]
        return set() if target is None else set(target) if isinstance(target, list) else {target}

    @property
    def score(self) -> float:
        """Mean score of its scans."""
        return float(np.mean([scan["score"] for scan in self.scans]))

    @property
    def split(self) -> str:
        """Half of the zoo: constants were chosen on `tune`, the other is for reporting."""
        return str(self.entry.get("split", "tune"))

    @property
    def exact(self) -> float:
        """Share of its scans that name exactly its targets."""
        return float(np.mean([set(scan["targets"]) == self.targets for scan in self.scans]))


def models_of(results: dict[str, Any], method: str = "smoothscan", synthesis: int = 1) -> list[Model]:
    """Return the models that a method has scanned."""
    found = []
    for name, entry in results["models"].items():
        start = f"{method}/{synthesis}/{name}/"
        scans = tuple(scan for key, scan in results["scans"].items() if key.startswith(start))
        if scans:
            found.append(Model(name, entry, scans))
    return found


def auroc(positive: list[float], negative: list[float]) -> float:
    """Return the chance that a backdoored model scores above a clean one; ties count half."""
    return float(_wins(positive, negative).mean())


def auroc_interval(positive: list[float], negative: list[float]) -> tuple[float, float]:
    """Return the 95 % percentile interval of the AUROC, bootstrapped over models."""
    rng = np.random.default_rng(0)
    wins = _wins(positive, negative)
    drawn = [float(wins[np.ix_(*(rng.integers(0, n, n) for n in wins.shape))].mean()) for _ in range(DRAWS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _wins(positive: list[float], negative: list[float]) -> NDArray[np.float64]:
    ahead = np.subtract.outer(np.array(positive), np.array(negative))
    return (np.sign(ahead) + 1) / 2


def tpr_at(positive: list[float], negative: list[float], fpr: float) -> float:
    """Return the share of backdoored models above the lowest threshold that lets at most `fpr` of clean ones pass."""
    allowed = int(fpr * len(negative))
    threshold = sorted(negative, reverse=True)[allowed] if allowed < len(negative) else -np.inf
    return float(np.mean([score > threshold for score in positive]))


def summary(models: list[Model], *, wide: bool = False) -> dict[str, Any]:
    """Return the figures of one set of models.

    Args:
        models: the models, scanned by one method.
        wide: count every strong all-to-one backdoor as positive, not only those that are small in L2.
    """
    positive, negative = [m for m in models if (m.strong if wide else m.meant)], [m for m in models if m.clean]
    hits, misses = [m.score for m in positive], [m.score for m in negative]
    both = bool(hits and misses)
    clean_scans = [scan for m in negative for scan in m.scans]
    return {
        "backdoored": len(positive),
        "clean": len(negative),
        "auroc": auroc(hits, misses) if both else None,
        "interval": auroc_interval(hits, misses) if both else None,
        "tpr_at_0": tpr_at(hits, misses, 0.0) if both else None,
        "tpr_at_5": tpr_at(hits, misses, 0.05) if both else None,
        "exact": float(np.mean([m.exact for m in positive])) if positive else None,
        "false_alarms": _share(clean_scans, ("suspicious", "backdoored")),
        "inconclusive": _share(clean_scans, ("inconclusive",)),
        "clean_scans": len(clean_scans),
        "passes": float(np.mean([scan["passes"] for m in models for scan in m.scans])),
        "seconds": float(np.mean([scan["seconds"] for m in models for scan in m.scans])),
    }


def clean_p_values(models: list[Model]) -> NDArray[np.float64]:
    """Return the p-values of all scans of clean models, ascending."""
    found = [scan["p_value"] for m in models if m.clean for scan in m.scans if scan["p_value"] is not None]
    return np.sort(np.array(found, dtype=float))


def _share(scans: list[dict[str, Any]], verdicts: tuple[str, ...]) -> float | None:
    return float(np.mean([scan["verdict"] in verdicts for scan in scans])) if scans else None
