"""Sweeps as real ones end, drawn here so that nothing has to be scanned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from smoothscan.posture import Change, PastSweep, Posture, Standing
from smoothscan.result import WriteBack
from smoothscan.verdict.discoveries import discoveries, with_q_values

ENDED = datetime(2026, 11, 22, 21, 40, 23, tzinfo=UTC)
NAMES = ("traffic-signs", "defect-detector", "x-ray-triage", "plant-disease", "parking-spots", "retail-shelf")
WORST = ("backdoored", "suspicious", "failed", "timed_out", "refused", "inconclusive", "unsupported", None, "clean")
HOSTILE = (
    "<script>alert(1)</script>",
    '"onmouseover="alert(1)" x="',
    "</style></script><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "../../../etc/passwd",
    "//evil.example/x",
    "\x1b[2J\x1b]0;x\x07\u202egnp.exe",
    "名前\U0001f600é\u0301" * 20,
    "n" * 300,
    "{{ 7 * 7 }}{% raw %}",
    "'; DROP TABLE models; --",
    "lone \ud800 surrogate",
)


def ago(**span: float) -> str:
    """Return a time before the end of the sweep."""
    return (ENDED - timedelta(**span)).isoformat(timespec="seconds")


def standing(name: str, version: str, **changes: Any) -> Standing:
    """Make a version in which no trigger was found, scanned in this sweep."""
    values: dict[str, Any] = {
        "name": name,
        "version": version,
        "uri": f"models:/{name}/{version}",
        "action": "scanned",
        "due": "never scanned",
        "status": "completed",
        "verdict": "clean",
        "score": 0.31,
        "p_value": 0.42,
        "reason": "None of 10 classes has a small perturbation that moves most images to it.",
        "passed": True,
        "exit_code": 0,
        "model_digest": "sha256:" + "9f86d081884c7d65" * 4,
        "config_digest": "sha256:" + "2c26b46b68ffc68f" * 4,
        "scanned_at": ago(minutes=7),
        "expires_at": (ENDED + timedelta(days=90)).isoformat(timespec="seconds"),
        "seconds": 19.4,
        "attempts": 1,
        "folder": f"{name}/{version}",
        "report": f"{name}/{version}/report.html",
        "write_back": WriteBack(status="done", run_id="0c4b1f7a9d2e4b6f8a1c3e5d7f9b1a2c", tagged=True),
    }
    return Standing(**(values | changes))


def kept(name: str, version: str, **changes: Any) -> Standing:
    """Make a version whose scan of an earlier sweep still holds."""
    earlier = {"action": "kept", "due": "", "scanned_at": ago(days=12), "attempts": 0}
    return standing(name, version, **(earlier | changes))


def flagged(name: str, version: str, **changes: Any) -> Standing:
    """Make a version that is held to be backdoored."""
    found: dict[str, Any] = {
        "verdict": "backdoored",
        "score": 0.83,
        "p_value": 0.00042,
        "target_classes": (3,),
        "labels": ("no entry",),
        "reason": "Class 3 (no entry): 9 replaced pixels move 96 % of 87 held-out images to it; ordinary classes of "
        "this model need 31.",
        "passed": False,
        "exit_code": 1,
    }
    return standing(name, version, **(found | changes))


def without_verdict(name: str, version: str, status: str, reason: str, **changes: Any) -> Standing:
    """Make a version that could not be examined."""
    missing: dict[str, Any] = {
        "status": status,
        "verdict": None,
        "score": None,
        "p_value": None,
        "reason": reason,
        "passed": False,
        "exit_code": 5 if status == "unsupported" else 3,
        "attempts": 2,
    }
    return standing(name, version, **(missing | changes))


def unscanned(name: str, version: str, **changes: Any) -> Standing:
    """Make a version that is due and was not reached."""
    values: dict[str, Any] = {
        "name": name,
        "version": version,
        "uri": f"models:/{name}/{version}",
        "action": "pending",
        "due": "never scanned",
    }
    return Standing(**(values | changes))


def posture(models: Sequence[Standing], **changes: Any) -> Posture:
    """Make a sweep of some standings, sorted and summed up as the program does."""

    def badness(model: Standing) -> tuple[int, float]:
        return WORST.index(model.verdict if model.status == "completed" else model.status), -(model.score or 0)

    ordered = with_q_values(sorted(models, key=badness))
    codes = {model.exit_code for model in ordered}
    values: dict[str, Any] = {
        "started_at": ago(minutes=25),
        "finished_at": ENDED.isoformat(timespec="seconds"),
        "complete": not any(model.action == "pending" for model in ordered),
        "registry": "http://mlflow.example:5000",
        "selection": {"filter": "name LIKE '%'", "aliases": [], "stages": []},
        "engine": "local, 2 workers",
        "models": ordered,
        "counts": dict(Counter(model.verdict or model.status or "unscanned" for model in ordered)),
        "unscanned_promoted": tuple(
            model.uri for model in ordered if model.aliases and (model.status is None or model.action == "pending")
        ),
        "discoveries": discoveries(ordered),
        "exit_code": next((code for code in (1, 3, 4, 5) if code in codes), 0),
        "environment": {"python": "3.12.7", "smoothscan": "0.1.0", "machine": "x86_64, 2 cores"},
    }
    return Posture(**(values | changes))


def empty() -> Posture:
    """A registry without versions, or a filter that picks none."""
    return posture([])


def one_clean() -> Posture:
    """One version, nothing found."""
    return posture([standing("digits", "1", aliases=("champion",))])


def mixed() -> Posture:
    """Forty versions: something of everything."""
    rng = np.random.default_rng(8)
    models = [
        flagged(NAMES[0], "7", aliases=("champion", "production")),
        flagged(NAMES[1], "3", score=0.77, p_value=0.0011, target_classes=(0, 5), labels=("scratch", "dent"), waived=2,
                passed=True, exit_code=0),
        flagged(NAMES[2], "12", verdict="suspicious", score=0.61, p_value=0.0138, target_classes=(1,),
                labels=("effusion",), stage="Staging"),
        without_verdict(NAMES[3], "4", "failed", "The artifact store did not answer: 503 Service Unavailable."),
        without_verdict(NAMES[3], "5", "refused", "Loading data/model.pth would run the model's own code."),
        without_verdict(NAMES[4], "1", "timed_out", "The time limit of 30 min passed before the scan was complete.",
                        aliases=("challenger",)),
        without_verdict("churn-forecast", "9", "unsupported", "The model is a scikit-learn pipeline.", report=None),
        standing(NAMES[4], "2", verdict="inconclusive", score=0.2, p_value=None, passed=False, exit_code=4,
                 reason="The model has 2 classes: too few to tell an anomaly from what is ordinary."),
        unscanned(NAMES[5], "21", aliases=("champion",)),
        unscanned(NAMES[5], "22"),
        kept(NAMES[5], "20", aliases=("previous",), action="pending", due="expired", expires_at=ago(days=3),
             scanned_at=ago(days=93)),
        standing(NAMES[2], "11", write_back=WriteBack(status="failed", message="Permission denied (403)")),
    ]  # fmt: skip
    for i in range(28):
        make = kept if i % 3 else standing
        p = float(rng.uniform(0.06, 1))
        models.append(make(NAMES[i % 6], str(30 + i), score=round(0.5 - 0.4 * p, 4), p_value=p))
    return posture(models, run_id="7d3e5d7f9b1a2c0c4b1f7a9d2e4b6f8a")


def hostile() -> Posture:
    """Everything that a registry may hold is an attack."""
    models = []
    for number, text in enumerate((*HOSTILE, "w" * 10_000)):
        make = (flagged, standing, unscanned)[number % 3]
        told: dict[str, Any] = {"uri": f"models:/{text}/{text}", "aliases": (text, text[:40]), "stage": text}
        if make is not unscanned:
            told |= {
                "labels": (text, text),
                "target_classes": (3, 4),
                "reason": text,
                "report": (text, f"{text}/1/report.html")[number % 2],
                "folder": text,
                "scanned_at": text,
                "expires_at": text,
                "write_back": WriteBack(status="failed", message=text, run_id=text),
                "before": text,
                "change": "newly_flagged" if make is flagged else "no_longer_flagged",
            }
        models.append(make(text, text, **(told | {"due": text})))
    return posture(
        models, registry=HOSTILE[2], selection={HOSTILE[0]: HOSTILE[1]}, engine=HOSTILE[2], run_id=HOSTILE[1],
        environment={HOSTILE[0]: HOSTILE[2]}, gone=HOSTILE, history=(past_sweep(1, finished_at=HOSTILE[0]),),
    )  # fmt: skip


def past_sweep(nights: int, **changes: Any) -> PastSweep:
    """Make a sweep that ended this many nights before."""
    values: dict[str, Any] = {
        "started_at": ago(days=nights, minutes=25),
        "finished_at": ago(days=nights),
        "versions": 40,
        "counts": {"backdoored": 2, "clean": 33, "failed": 2, "suspicious": 1, "unscanned": 2},
        "flagged": 3,
        "waived": 1,
        "unscanned_promoted": 2,
        "exit_code": 1,
    }
    return PastSweep(**(values | changes))


def after_many(sweep: Posture, nights: int = 30) -> Posture:
    """Return a sweep after others, every night one, since the last of which something of every kind happened."""
    seen: Counter[str | None] = Counter()
    models = []
    for model in sweep.models:
        state = model.verdict or model.status
        seen[state] += 1
        before, change = _before(state, seen[state])
        models.append(model.model_copy(update={"before": before, "change": change}))
    gone = ("models:/old-signs/1", "models:/old-signs/2")
    last = Counter([*(model.before for model in models if model.before), *("clean" for _ in gone)])
    rng = np.random.default_rng(nights)
    history = []
    for night in range(nights, 0, -1):
        share = 1 - (night - 1) / 100
        counts = {state: round(n * share) for state, n in last.items()}
        if night > 1:
            counts["failed"] = round(counts.get("failed", 0) * rng.uniform(0.5, 2.5))
        flagged_then = counts.get("backdoored", 0) + counts.get("suspicious", 0)
        uncovered = round(len(sweep.unscanned_promoted) * rng.uniform(0.8, 1.6))
        history.append(
            past_sweep(
                night, versions=sum(counts.values()), counts=counts, flagged=flagged_then, waived=flagged_then // 4,
                unscanned_promoted=uncovered,
            )
        )  # fmt: skip
    return sweep.model_copy(update={"models": tuple(models), "history": tuple(history), "gone": gone})


def _before(state: str | None, nth: int) -> tuple[str | None, Change | None]:
    """Return what the nth version of a state was before; the first few of each have changed."""
    changed: dict[str | None, list[tuple[str | None, Change | None]]] = {
        "backdoored": [("clean", "newly_flagged"), (None, "newly_flagged")],
        "failed": [("clean", "not_judged_since")],
        "clean": [("suspicious", "no_longer_flagged"), ("failed", "judged_since"), (None, "new"), (None, "new")],
        None: [(None, "new")],
    }
    of_state = changed.get(state, [])
    return of_state[nth - 1] if nth <= len(of_state) else (state or "unscanned", None)


def interrupted() -> Posture:
    """Stopped after two of six versions."""
    done = [standing("digits", "1"), flagged("digits", "2")]
    return posture([*done, *(unscanned("digits", str(3 + i), aliases=("next",) if i == 0 else ()) for i in range(4))])


def registry_of(n: int) -> Posture:
    """Return the sweep of a registry of n versions, every tenth of them not in order."""
    rng = np.random.default_rng(n)
    models = []
    for i in range(n):
        name, version = f"{NAMES[i % 6]}-{i // 60:02d}", str(i % 60 + 1)
        aliases = ("champion",) if i % 60 < 6 else ()
        p = float(rng.uniform(0.001, 1))
        match i % 40:
            case 0:
                models.append(flagged(name, version, aliases=aliases, score=0.6 + 0.3 * p, p_value=p / 500))
            case 1:
                models.append(without_verdict(name, version, "failed", "The artifact store did not answer."))
            case 2 | 3:
                models.append(unscanned(name, version, aliases=aliases))
            case _:
                models.append(kept(name, version, aliases=aliases, score=0.5 - 0.4 * p, p_value=p))
    return posture(models)


POSTURES: dict[str, Callable[[], Posture]] = {
    "empty": empty,
    "one_clean": one_clean,
    "mixed": mixed,
    "hostile": hostile,
    "interrupted": interrupted,
    "after_many": lambda: after_many(mixed()),
}
"""Every kind of sweep, a large one apart."""
