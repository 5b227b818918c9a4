"""What the files are called that a scan leaves in its folder."""

from __future__ import annotations

from smoothscan.config import ReportFormat

RESULT, REPORT, ATTESTATION, PERTURBATIONS = "result.json", "report.html", "attestation.json", "perturbations"

REPORTS: dict[ReportFormat, str] = {
    "html": REPORT,
    "json": RESULT,
    "sarif": "smoothscan.sarif",
    "junit": "junit.xml",
    "markdown": "summary.md",
}
"""The file of each format."""

PRODUCTS = (*REPORTS.values(), ATTESTATION, PERTURBATIONS)
"""All of them; an older scan's are removed, so that reports of two scans never stand together."""


def of_class(index: int) -> str:
    """Return what the files of a class's perturbation are called, without their endings."""
    return f"class_{index:04d}"


def of_pair(source: int, target: int) -> str:
    """Return what the files of the perturbation of a pair of classes are called, without their endings."""
    return f"pair_{source:04d}_{target:04d}"
