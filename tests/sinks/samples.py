"""Results and pictures as real scans give them, drawn here so that nothing has to be scanned."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from smoothscan.exhibits import ClassExhibit, Exhibits, HeldOutExample
from smoothscan.result import (
    ArchitectureFinding,
    CalibrationUse,
    ClassResult,
    Cost,
    Coverage,
    CurvePoint,
    ErrorInfo,
    InputSpec,
    ModelInfo,
    NoiseProbe,
    PairResult,
    PairsResult,
    SafetyReport,
    ScanResult,
    SpaceResult,
    WriteBack,
)
from smoothscan.verdict import decision
from smoothscan.verdict.obstacles import hidden
from smoothscan.vocabulary import SpaceName

ANIMALS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
REFERENCE = (2.5, 3.5, 5.0, 7.0, 10.0, 14.0, 20.0)


@dataclass(frozen=True)
class Sample:
    """One scan: what the sinks get."""

    result: ScanResult
    exhibits: Exhibits


def photograph(seed: int, channels: int = 3, side: int = 32) -> NDArray[np.float32]:
    """Draw something with a sky, a ground and a body, [C, H, W] in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    horizon = 0.45 + 0.3 * rng.random()
    sky, ground, body = rng.random((3, 3, 1, 1)) * 0.6 + 0.2
    image = np.where(y < horizon, sky + 0.25 * (1 - y), ground - 0.2 * y)
    cx, cy, rx, ry = 0.3 + 0.4 * rng.random(), horizon, 0.15 + 0.2 * rng.random(), 0.1 + 0.15 * rng.random()
    image = np.where(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1, body, image)
    image = image + rng.normal(0, 0.03, image.shape)
    image = image if channels == 3 else image.mean(axis=0, keepdims=True)
    return np.clip(image, 0, 1).astype(np.float32)


def trigger(epsilon: float, seed: int, patch: bool, channels: int = 3, side: int = 32) -> NDArray[np.float32]:
    """Draw a recovered perturbation of L2 norm epsilon: mostly a corner patch, or all over the image."""
    rng = np.random.default_rng(seed)
    delta = rng.normal(0, 0.15 if patch else 1, (channels, side, side))
    if patch:
        size = max(3, side // 10)
        delta[:, -size - 1 : -1, -size - 1 : -1] += 5 * rng.choice([-1, 1], (channels, size, size))
    return (epsilon * delta / np.linalg.norm(delta)).astype(np.float32)


def exhibit(index: int, epsilon: float, flagged: bool, channels: int = 3, side: int = 32, n: int = 6) -> ClassExhibit:
    """Make the pictures of one class."""
    delta = trigger(epsilon, index, flagged, channels, side)
    examples = []
    for i in range(n):
        image = photograph(1000 + 31 * index + i, channels, side)
        clean = (index + 1 + i) % 10
        moved = flagged and i != 4
        examples.append(
            HeldOutExample(
                name=f"test_{i:04d}.png",
                clean=image,
                perturbed=np.clip(image + delta, 0, 1),
                clean_prediction=clean,
                perturbed_prediction=index if moved else clean,
            )
        )
    return ClassExhibit(
        index=index,
        perturbation=delta,
        picture=None,
        description=f"added to the image, L2 norm {epsilon:.2f}",
        synthesis_image=photograph(7, channels, side),
        synthesis_name="test_0000.png",
        synthesis_prediction=(index + 3) % 10,
        perturbed_prediction=index,
        examples=tuple(examples),
    )


def exhibit_in(space: SpaceName, index: int, side: int = 32, n: int = 6) -> ClassExhibit:
    """Make the pictures of a class whose trigger lies in this space."""
    import torch

    from smoothscan.spaces import SPACES
    from smoothscan.spaces.interface import Trigger

    shape, of = (3, side, side), SPACES[space]
    noise = torch.Generator().manual_seed(index)
    parameters = of.nothing(shape, 25.0 if space == "patch" else 1.0)
    if space == "patch":
        parameters[:3] = torch.randint(0, 2, (3, side, side), generator=noise).float()
        parameters = parameters.roll((side - 7, side - 8), (1, 2))
    elif space == "frequency":
        parameters[1], parameters[5:] = 6, 0.08
    else:
        parameters = of.retract(torch.randn((1, *parameters.shape), generator=noise), 1.0, shape)[0]
    trigger = Trigger(of, parameters)
    picture = of.picture(parameters, shape)

    def changed(image: NDArray[np.float32]) -> NDArray[np.float32]:
        return trigger.on(torch.from_numpy(image)[None])[0].numpy()

    plain = exhibit(index, 1.0, True, side=side, n=n)
    return replace(
        plain,
        perturbation=changed(plain.synthesis_image) - plain.synthesis_image,
        picture=None if picture is None else picture.numpy(),
        description=of.described(parameters, shape),
        parameters=parameters.numpy(),
        examples=tuple(replace(e, perturbed=changed(e.clean)) for e in plain.examples),
    )


def interval(hits: int, n: int) -> tuple[float, float]:
    """Return the 95 % Clopper-Pearson interval."""
    from scipy.stats import beta

    low = 0.0 if hits == 0 else float(beta.ppf(0.025, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(0.975, hits + 1, n - hits))
    return low, high


def score(e50: float, ordinary: float) -> float:
    """Return the score of a class that needs e50 where ordinary ones need `ordinary`."""
    return decision.score(math.log(ordinary / e50))


def one_class(
    index: int, label: str, e50: float, budgets: tuple[float, ...], flagged: bool = False, ordinary: float = 1.6
) -> ClassResult:
    """Make one class that moves half of the images at budget e50; ordinary ones of its model do so at `ordinary`."""
    n = 84 + index % 13
    hits = [round(n / (1 + (e50 / b) ** 4)) for b in budgets]
    curve = tuple(
        CurvePoint(sigma=0.12, epsilon=b, hits=h, n_images=n, transfer_rate=h / n)
        for b, h in zip(budgets, hits, strict=True)
    )
    at = len(budgets) // 2
    return ClassResult(
        index=index,
        label=label,
        score=score(e50, ordinary),
        transfer_rate=hits[at] / n,
        transfer_ci=interval(hits[at], n),
        n_images=n,
        epsilon=budgets[at],
        sigma=0.12,
        p_value=0.00042 if flagged else min(1.0, 0.02 + e50 / 2.5),
        flagged=flagged,
        e50=e50 if e50 < budgets[-1] else None,
        noise_sigma50=None,
        reference=ordinary,
        found_by="budget" if flagged else None,
        source_image="test_0000.png",
        control_rate=0.01 * (index % 7),
        control_epsilon=budgets[at],
        curve=curve,
    )


def base(status: str = "completed", n_classes: int = 10, channels: int = 3, side: int = 32) -> ScanResult:
    """Make everything of a result that does not depend on what was found."""
    return ScanResult(
        status=status,
        model=ModelInfo(
            uri="models:/cifar-resnet20@champion",
            resolved_uri="models:/cifar-resnet20/3",
            name="cifar-resnet20",
            version="3",
            model_id="m-5f1c0f3f3d5a4c5f9c0a8a7f2c6c1e6b",
            run_id="9b2a0d4f6d5e4a0f8c1b7e3a2d9f5c64",
            flavor="pytorch/pt2",
            digest="sha256:" + "9f86d081884c7d65" * 4,
            files={"MLmodel": "sha256:" + "60303ae22b998861" * 4, "data/model.pt2": "sha256:" + "fd61a03af4f77d87" * 4},
        ),
        coverage=Coverage(
            classes_total=n_classes,
            classes_examined=n_classes,
            classes_in_full=n_classes,
            images=102,
            held_out=100,
            images_skipped=("broken.png: not an image that Pillow can read",),
        ),
        cost=Cost(
            model_passes=148_213.3,
            seconds=19.4,
            peak_rss_bytes=1_181_116_006,
            device="cpu",
            host_seconds=14.9,
            exchange_seconds=0.8,
        ),
        config={
            "uri": "models:/cifar-resnet20@champion",
            "images": "clean-images",
            "profile": "standard",
            "seed": 0,
            "sigma": None,
            "input": {"resize": "crop", "mean": [0.4914, 0.4822, 0.4465], "std": [0.247, 0.2435, 0.2616]},
            "fail_on": "suspicious",
            "redact_images": False,
        },
        config_digest="sha256:" + "2c26b46b68ffc68f" * 4,
        input_spec=InputSpec(
            channels=channels,
            height=side,
            width=side,
            mean=(0.4914, 0.4822, 0.4465) if channels == 3 else None,
            std=(0.247, 0.2435, 0.2616) if channels == 3 else None,
            outputs="logits",
            sources={
                "height": "signature",
                "width": "signature",
                "channels": "signature",
                "layout": "signature",
                "value_range": "inferred from the input example: values between -1.99 and 2.13",
                "mean": "configuration file smoothscan.toml",
                "std": "configuration file smoothscan.toml",
            },
        ),
        safety=SafetyReport(
            findings=("data/model.pt2 holds no pickled code",),
            isolation=("separate process", "no credentials in its environment", "time limit of 3600 s"),
        ),
        environment={"python": "3.12.7", "torch": "2.13.0", "mlflow": "3.17.2", "machine": "x86_64, 2 cores"},
        write_back=WriteBack(status="done", run_id="0c4b1f7a9d2e4b6f8a1c3e5d7f9b1a2c", tagged=True),
        started_at="2026-11-22T21:40:03+00:00",
        finished_at="2026-11-22T21:40:23+00:00",
    )


def budgets_at(channels: int, side: int) -> tuple[float, ...]:
    """Return the standard profile's budgets at an input size."""
    scale = math.sqrt(channels * side * side / (3 * 224 * 224))
    return tuple(round(b * scale, 4) for b in REFERENCE)


def scanned(
    e50s: dict[int, float],
    flagged: tuple[int, ...] = (),
    labels: tuple[str, ...] = ANIMALS,
    channels: int = 3,
    side: int = 32,
) -> Sample:
    """Make a completed scan from the budgets of half transfer of its classes."""
    budgets = budgets_at(channels, side)
    ordinary = float(np.median(list(e50s.values())))
    classes = tuple(one_class(i, labels[i], e, budgets, i in flagged, ordinary) for i, e in e50s.items())
    best = min(e50s, key=lambda i: e50s[i])
    shown = flagged or (best,)
    names = ", ".join(f"“{labels[i]}”" for i in flagged)
    c = classes[best]
    if flagged:
        reasons = (
            f"One tiny perturbation moves {c.transfer_rate:.0%} of {c.n_images} unrelated images to {names}.",
            f"Half of the images move at an L2 budget of {c.e50:.2f}; the model's ordinary classes need 1.61.",
            "The chance of so small a budget among this model's ordinary classes is below 0.001.",
        )
    else:
        reasons = (
            f"None of {len(classes)} classes has a small perturbation that moves most images to it.",
            f"The easiest class is “{c.label}”: it needs {c.e50 or 0:.2f}, ordinary classes 1.61.",
        )
    result = base(n_classes=len(classes), channels=channels, side=side).model_copy(
        update={
            "verdict": "backdoored" if flagged else "clean",
            "score": score(e50s[best], ordinary),
            "anomaly": math.log(ordinary / e50s[best]),
            "p_value": 0.00042 if flagged else 0.31,
            "target_classes": flagged,
            "classes": classes,
            "reasons": reasons,
            "noise_probe": NoiseProbe(
                sigmas=(0.01, 0.02, 0.03, 0.06, 0.12, 0.25),
                kept=(0.99, 0.98, 0.94, 0.71, 0.33, 0.12),
                top_class=(3, 3, 6, 6, 6, 2),
                top_share=(0.0, 0.01, 0.03, 0.17, 0.41, 0.83),
            ),
        }
    )
    pictures = {i: exhibit(i, classes[i].epsilon, i in flagged, channels, side) for i in shown}
    return Sample(result, Exhibits(pictures))


def backdoored() -> Sample:
    """A small patch that sends everything to one of ten classes."""
    e50s = (0.42, 1.72, 1.31, 1.55, 1.61, 1.79, 1.38, 1.83, 1.66, 1.47)
    return scanned(dict(enumerate(e50s)), flagged=(0,))


def clean() -> Sample:
    """An ordinary model of ten classes."""
    return scanned(dict(enumerate((1.62, 1.72, 1.31, 1.55, 1.61, 1.79, 1.28, 3.3, 1.66, 1.47))))


def suspicious() -> Sample:
    """One class lies somewhat below the others."""
    sample = scanned(dict(enumerate((1.62, 1.72, 0.88, 1.55, 1.61, 1.79, 1.38, 1.83, 1.66, 1.47))), flagged=(2,))
    return replace(sample, result=sample.result.model_copy(update={"verdict": "suspicious"}))


ELSEWHERE: dict[SpaceName, tuple[tuple[float, ...], float]] = {
    "patch": ((4.0, 9.0, 16.0, 25.0, 36.0), 36.0),
    "frequency": ((0.5, 0.71, 1.0, 1.43, 2.0, 2.86), 2.4),
    "smooth": ((1.0, 1.43, 2.0, 2.86, 4.0, 5.7), 5.2),
    "warp": ((0.35, 0.5, 0.7, 1.0, 1.4, 2.0), 1.7),
    "tone": ((0.18, 0.25, 0.35, 0.5, 0.7, 1.0), 0.9),
}
"""Budgets of the spaces beside L2, and what ordinary classes need there."""


def elsewhere(space: SpaceName, e50: float, target: int = 4) -> Sample:
    """One of ten classes is a target in a space other than L2, and all spaces but the last were searched."""
    budgets, ordinary = ELSEWHERE[space]
    level = 1 / 3 if space == "warp" else 0.5
    e50s = [ordinary * (0.9 + 0.03 * ((3 * i) % 10)) for i in range(10)]
    e50s[target] = e50
    classes = tuple(one_class(i, ANIMALS[i], e, budgets, i == target, ordinary) for i, e in enumerate(e50s))
    others: dict[SpaceName, SpaceResult] = {
        "l2": SpaceResult(
            space="l2", sigma=0.12, anomaly=0.21, index=2, e50=1.31, reference=1.61, transfer_rate=0.88, level=0.5
        )
    }
    for name, (_, needed) in list(ELSEWHERE.items())[:-1]:
        others[name] = SpaceResult(
            space=name, sigma=0.06, anomaly=0.08, index=7, e50=None, reference=needed, transfer_rate=0.11,
            level=1 / 3 if name == "warp" else 0.5,
        )  # fmt: skip
    others[space] = others["l2"].model_copy(
        update={
            "space": space, "anomaly": math.log(ordinary / e50), "index": target, "e50": e50, "reference": ordinary,
            "level": level,
        }
    )  # fmt: skip
    sample = scanned(dict(enumerate((1.62, 1.72, 1.31, 1.55, 1.61, 1.79, 1.28, 3.3, 1.66, 1.47))))
    update = {
        "verdict": "backdoored",
        "score": score(e50, ordinary),
        "anomaly": math.log(ordinary / e50),
        "p_value": 0.00042,
        "target_classes": (target,),
        "space": space,
        "spaces": tuple(others.values()),
        "classes": classes,
        "reasons": (f"Class {target} ({ANIMALS[target]}) stands out.",),
        "config": {**sample.result.config, "spaces": None},
    }
    pictures = {target: exhibit_in(space, target)}
    return Sample(sample.result.model_copy(update=update), Exhibits(pictures))


def patch() -> Sample:
    """A five by five patch."""
    return elsewhere("patch", 14.2)


def warp() -> Sample:
    """A smooth warp."""
    return elsewhere("warp", 0.62)


def frequency() -> Sample:
    """A sinusoid."""
    return elsewhere("frequency", 0.83)


def pairs() -> Sample:
    """A patch turns trucks into deer, and hardly anything else; of cats there were too few images."""
    sample = clean()
    sources = tuple(a for a in range(10) if a != 3)
    hits = [[[-1, (5 * a + 3 * t) % 7] if a != t else [-1, -1] for t in range(10)] for a in sources]
    hits[sources.index(6)][2] = [12, 19]  # frog and bird, as similar as a clean model finds them
    hits[sources.index(9)][4] = [27, 27]
    pair = PairResult(
        source=9, target=4, epsilon=9.0, hits=27, n_images=27, transfer_rate=1.0, transfer_ci=interval(27, 27),
        anomaly=0.89,
    )  # fmt: skip
    found = PairsResult(
        sources=sources,
        n_images=(27,) * 9,
        synthesis_images=4,
        epsilons=(9.0, 16.0),
        sigma=0.03,
        hits=tuple(tuple(tuple(own) for own in row) for row in hits),
        flagged=(pair,),
    )
    classes = tuple(
        c.model_copy(update={"flagged": True, "found_by": "pairs", "score": 0.74}) if c.index == 4 else c
        for c in sample.result.classes
    )
    update = {
        "verdict": "backdoored",
        "score": 0.74,
        "anomaly": 0.89,
        "p_value": None,
        "target_classes": (4,),
        "classes": classes,
        "pairs": found,
        "reasons": (
            "Images of class 9 (truck) alone: 9 replaced pixels move 27 of 27 held-out images to class 4 (deer).",
        ),
    }
    exhibits = Exhibits(sample.exhibits.classes, {(9, 4): exhibit_in("patch", 4)})
    return Sample(sample.result.model_copy(update=update), exhibits)


def tone() -> Sample:
    """A change of colour, which is searched for on demand."""
    return elsewhere("tone", 0.31)


def many_classes() -> Sample:
    """A thousand classes, one of them a target, at 224x224."""
    rng = np.random.default_rng(5)
    e50s = {i: float(e) for i, e in enumerate(rng.normal(11.5, 1.6, 1000).clip(6.5, 30))}
    e50s[776] = 3.1
    labels = tuple(f"{ANIMALS[i % 10]} of kind {i}" for i in range(1000))
    return scanned(e50s, flagged=(776,), labels=labels, side=224)


def ten_targets_large() -> Sample:
    """Every one of ten classes flagged, at 224x224: the largest page that ten classes make."""
    return scanned(dict(enumerate((4.0,) * 10)), flagged=tuple(range(10)), side=224)


def grey() -> Sample:
    """A clean model of two classes with one channel."""
    return scanned({0: 0.71, 1: 0.66}, labels=("even", "odd"), channels=1, side=28)


def inconclusive() -> Sample:
    """The scan ran, but the model answers NaN."""
    result = base().model_copy(
        update={
            "verdict": "inconclusive",
            "input_spec": base().input_spec,
            "error": ErrorInfo(
                type="NonFiniteError",
                message="The model answers NaN for 3 of 102 images, first for test_0017.png.",
                hint="Check the value range and the normalisation of the input: pass --value-range, --mean and --std.",
            ),
        }
    )
    return Sample(result, Exhibits())


def undecided() -> Sample:
    """The scan ran in full, but the model's classes give no ground to judge one of them by."""
    sample = scanned({0: 0.71, 1: 0.66, 2: 0.9}, labels=("red", "green", "blue"))
    reason = "With 3 classes there are too few to tell an ordinary one from a target (at least 8)."
    classes = tuple(c.model_copy(update={"p_value": None}) for c in sample.result.classes)
    update = {
        "verdict": "inconclusive",
        "obstacles": ("no-null",),
        "reasons": (reason,),
        "p_value": None,
        "classes": classes,
    }
    return replace(sample, result=sample.result.model_copy(update=update))


def gated() -> Sample:
    """The scan ran in full and found no trigger, but the graph has steps that it cannot follow."""
    steps = (
        ArchitectureFinding(
            file="data/model.pt2",
            operation="cond",
            kind="branch",
            count=1,
            detail="chooses by values computed from the image (compares pixels of the image with the constant 0.9)",
        ),
        ArchitectureFinding(
            file="data/model.pt2",
            operation="aten.eq.Scalar",
            kind="gate",
            count=3,
            detail="compares pixels of the image with the constant 1",
        ),
    )
    sample = clean()
    safety = sample.result.safety.model_copy(update={"architecture": steps, "architecture_examined": True})
    update = {
        "verdict": "inconclusive",
        "obstacles": ("hard-step",),
        "reasons": (str(hidden(steps)),),
        "safety": safety,
    }
    return replace(sample, result=sample.result.model_copy(update=update))


def calibrated() -> Sample:
    """A model that is judged against clean ones."""
    sample = backdoored()
    use = CalibrationUse(p_value=1 / 21, smallest_p=1 / 21, n_models=20, highest_anomaly=0.43)
    reasons = (*sample.result.reasons, "Against 20 clean models the p-value is 0.048.")
    return replace(sample, result=sample.result.model_copy(update={"calibration": use, "reasons": reasons}))


def ended_early(status: str) -> Sample:
    """A scan without an answer."""
    errors = {
        "failed": ErrorInfo(
            type="ModelLoadError",
            message="The model models:/cifar-resnet20/3 does not load: No module named 'company_nets'.",
            hint="Log the model with code_paths, or as pt2 (which needs an input_example).",
        ),
        "refused": ErrorInfo(
            type="RefusedError",
            message="The model models:/cifar-resnet20/3 is a pickle: loading it would run code of its own.",
            hint="Log it as pt2, or pass --allow-model-code if you trust where it comes from.",
        ),
        "unsupported": ErrorInfo(
            type="UnsupportedModelError",
            message="The model models:/prices/1 has the flavor sklearn and takes tables, not images.",
            hint="smoothscan examines PyTorch image classifiers.",
        ),
        "timed_out": ErrorInfo(
            type="ScanTimeoutError",
            message="The scan of models:/cifar-resnet20/3 was stopped after 3600 seconds, at class 412 of 1000.",
            hint="Raise --time-limit, or scan on a machine with an accelerator.",
        ),
    }
    result = base(status).model_copy(
        update={
            "error": errors[status],
            "input_spec": None,
            "coverage": Coverage(),
            "cost": Cost(seconds=2.3),
            "safety": SafetyReport(),
            "write_back": WriteBack(status="failed", message="PERMISSION_DENIED: no permission to tag cifar-resnet20"),
        }
    )
    return Sample(result, Exhibits())


SAMPLES: dict[str, Callable[[], Sample]] = {
    "backdoored": backdoored,
    "suspicious": suspicious,
    "clean": clean,
    "patch": patch,
    "frequency": frequency,
    "warp": warp,
    "tone": tone,
    "pairs": pairs,
    "many_classes": many_classes,
    "ten_targets_large": ten_targets_large,
    "grey": grey,
    "inconclusive": inconclusive,
    "undecided": undecided,
    "calibrated": calibrated,
    "gated": gated,
    "failed": lambda: ended_early("failed"),
    "refused": lambda: ended_early("refused"),
    "unsupported": lambda: ended_early("unsupported"),
    "timed_out": lambda: ended_early("timed_out"),
}
