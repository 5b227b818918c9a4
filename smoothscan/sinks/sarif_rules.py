"""The rules of the SARIF log: what each kind of finding means, and what to do about it."""

from __future__ import annotations

from typing import Any

NO_VERDICT = "no-verdict"
"""The rule of a scan that says nothing about the model."""

_PASSING = (
    "A finding that is understood can be waived for exactly these model files until a day (`--waivers`), or be known "
    "from an earlier scan (`--baseline`). Neither changes the verdict; the exit code of `smoothscan check` decides."
)


def _rule(
    rule: str,
    name: str,
    short: str,
    full: str,
    remedy: str,
    level: str,
    properties: dict[str, Any],
) -> tuple[str, dict[str, Any]]:
    return rule, {
        "id": rule,
        "name": name,
        "shortDescription": {"text": short},
        "fullDescription": {"text": full},
        "help": {
            "text": f"{full}\n\n{remedy}\n\n{_PASSING}",
            "markdown": f"{full}\n\n**What to do.** {remedy}\n\n{_PASSING}",
        },
        "defaultConfiguration": {"level": level},
        "properties": properties,
    }


_BACKDOOR = [
    "security",
    "machine-learning",
    "backdoor",
    "external/mitre-atlas/AML.T0018",
    "external/mitre-atlas/AML.T0020",
    "external/mitre-atlas/AML.T0043.004",
    "external/owasp-ml-top-10/ML02",
    "external/owasp-ml-top-10/ML10",
    "external/nist-ai-100-2/NISTAML.023",
]
_SUSPECT = (
    "Do not deploy the model. Look at report.html, which shows the recovered trigger; train again from data and "
    "weights that you trust, and scan the new version."
)

RULES: dict[str, dict[str, Any]] = dict(
    [
        _rule(
            "target-class",
            "TargetClass",
            "A class behaves like the target of a hidden trigger",
            "A small change of the image, recovered from the model itself, sends unrelated images to this class, and "
            "far less of it is enough than other classes of the model need. Who knows the trigger chooses the answer.",
            _SUSPECT,
            "error",
            {"tags": _BACKDOOR, "precision": "high", "security-severity": "9.1"},
        ),
        _rule(
            "class-pair",
            "ClassPair",
            "Images of one class are led to another by a small patch",
            "A patch that is small for this model sends most images of one source class to a target class. A trigger "
            "that works on images of one class only looks like this.",
            _SUSPECT,
            "error",
            {"tags": _BACKDOOR, "precision": "medium", "security-severity": "8.1"},
        ),
        _rule(
            "hard-step",
            "HardStep",
            "The model's graph depends on the image by steps that no gradient passes",
            "The graph compares the image, or branches on it, instead of computing with it. A search that follows "
            "gradients cannot see past such a step, and a backdoor can be made of one without any training.",
            "Have the model's author explain the steps that report.html lists under Safety, or leave them out.",
            "warning",
            {
                "tags": [
                    "security",
                    "machine-learning",
                    "external/mitre-atlas/AML.T0018",
                    "external/owasp-ml-top-10/ML06",
                    "external/owasp-ml-top-10/ML10",
                ],
                "precision": "medium",
                "security-severity": "5.5",
            },
        ),
        _rule(
            NO_VERDICT,
            "NoVerdict",
            "The scan says nothing about the model",
            "The model could not be examined, or what the scan saw supports no verdict. Nothing says that it is clean.",
            "See the notification of this run, or report.html, for the reason and what to do; then scan again.",
            "error",
            {"tags": ["machine-learning", "reliability"], "precision": "very-high", "problem.severity": "error"},
        ),
    ]
)
"""By name."""
