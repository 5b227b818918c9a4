"""What static scanners catch: `python benchmarks/static_check.py --others DIR`.

Makes the files of `tests/safety/corpus.py`, hostile and ordinary, each as the only file of a model's folder, and runs
every scanner on it as its users do: our own check through `smoothscan.safety.static.check`, the others by their
command lines with telemetry switched off. DIR is a virtual environment with picklescan, fickling, modelscan and
modelaudit; what is not there is left out. Writes `benchmarks/results/static_check.json` and `docs/static-check.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from shared import ROOT, machine

sys.path.insert(0, str(ROOT))  # the files come from the tests

from smoothscan.safety.static import check
from tests.safety.corpus import CALLS, Fixture, hostile, ordinary

RESULTS = ROOT / "benchmarks" / "results" / "static_check.json"
PAGE = ROOT / "docs" / "static-check.md"
MARK = "<!-- written by benchmarks/static_check.py; what stands above is written by hand -->"
OTHERS = ("picklescan", "fickling", "modelscan", "modelaudit")
LIMIT = 60
QUIET = {"PROMPTFOO_DISABLE_TELEMETRY": "1", "NO_ANALYTICS": "1", "DO_NOT_TRACK": "1"}
CALL_NAMES = frozenset(f"{module}.{name}" for module, name in CALLS)
CALL_ROW = f"a pickle that calls one of {len(CALL_NAMES)} dangerous names"
Judge = Callable[[Path, Path], str]


def main() -> None:
    """Run all scanners on all files, write the results, print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--others", type=Path, help="virtual environment with the other scanners")
    parser.add_argument("--keep", action="store_true", help="ask others only about files that they have not judged yet")
    options = parser.parse_args()
    judges = judges_of(options.others)
    report: dict[str, Any] = {"machine": machine(), "versions": versions(options.others, judges), "files": []}
    before = json.loads(RESULTS.read_text())["files"] if options.keep else []
    known = {row["name"]: row["answers"] for row in before}
    for fixture in (*hostile(), *ordinary()):
        kept = {scanner: answer for scanner, answer in known.get(fixture.name, {}).items() if scanner in OTHERS}
        row = judged(fixture, {scanner: judge for scanner, judge in judges.items() if scanner not in kept})
        report["files"].append(row | {"answers": {**row["answers"], **kept}})
        RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    PAGE.write_text(with_tables(PAGE.read_text(), report))
    sys.stdout.write(PAGE.read_text())


def judges_of(others: Path | None) -> dict[str, Judge]:
    """Return how to ask each scanner that is there."""
    asked: dict[str, Judge] = {"smoothscan": lambda folder, _: ours(folder)}
    readers = dict(zip(OTHERS, (by_picklescan, by_fickling, by_modelscan, by_modelaudit), strict=True))
    for name, reader in readers.items():
        program = others / "bin" / name if others else None
        if program and program.exists():
            asked[name] = lambda folder, file, reader=reader, program=str(program): reader(program, folder, file)
    return asked


def versions(others: Path | None, judges: dict[str, Judge]) -> dict[str, str]:
    """Return the version of each scanner."""
    found = {}
    for name in OTHERS:
        if name in judges:
            text = f"import importlib.metadata as m; print(m.version({name!r}))"
            found[name] = subprocess.check_output([str(others / "bin" / "python"), "-c", text], text=True).strip()
    return found


def judged(fixture: Fixture, judges: dict[str, Judge]) -> dict[str, Any]:
    """Have every scanner judge one file: caught, missed, skipped or failed, and the seconds that it took."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name, fixture.file)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(fixture.make())
        row: dict[str, Any] = {"name": fixture.name, "file": fixture.file, "expected": fixture.expected, "answers": {}}
        for scanner, judge in judges.items():
            started = time.perf_counter()
            answer = judge(Path(name), file)
            row["answers"][scanner] = {"answer": answer, "seconds": round(time.perf_counter() - started, 2)}
    return row


def ours(folder: Path) -> str:
    """Ask our own check."""
    report = check(folder, {})
    if report.dangerous:
        return "found"
    if report.unexamined:
        return "unexamined"
    return "code" if report.needs_model_code else "silent"


def ran(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a scanner; a time-out counts as a failure."""
    try:
        environment = {"PATH": os.environ["PATH"], "HOME": tempfile.gettempdir(), **QUIET}
        return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, -1, "", "time-out")


def by_picklescan(program: str, folder: Path, _: Path) -> str:
    """Exit codes: 0 nothing found, 1 something found, 2 failed."""
    done = ran(program, "-p", str(folder))
    if done.returncode == 0 and "Scanned files: 0" in done.stdout:
        return "skipped"
    return {0: "silent", 1: "found"}.get(done.returncode, "failed")


def by_fickling(program: str, folder: Path, file: Path) -> str:
    """Severities from "likely overtly malicious" count as found, lesser ones, which every module has, as a warning."""
    answer = folder.parent / f"{folder.name}.json"
    done = ran(program, "--check-safety", "--json-output", str(answer), str(file))
    if not answer.exists():
        return "failed" if "Traceback" in done.stderr or done.returncode not in (0, 1) else "skipped"
    severities = set(re.findall(r'"severity": "(\w+)"', answer.read_text()))
    answer.unlink()
    if any(severity.endswith("OVERTLY_MALICIOUS") for severity in severities):
        return "found"
    return "silent" if severities == {"LIKELY_SAFE"} else "warned"


def by_modelscan(program: str, folder: Path, _: Path) -> str:
    """Exit codes: 0 nothing found, 1 something found, 2 failed, 3 no file that it supports."""
    done = ran(program, "-p", str(folder))
    return {0: "silent", 1: "found", 3: "skipped"}.get(done.returncode, "failed")


def by_modelaudit(program: str, folder: Path, _: Path) -> str:
    """Findings that are critical count as found, lesser ones as a warning."""
    done = ran(program, "scan", "--format", "json", "--no-cache", str(folder))
    try:
        issues = {issue["severity"] for issue in json.loads(done.stdout)["issues"]}
    except (ValueError, KeyError):
        return "failed"
    if "critical" in issues:
        return "found"
    return "warned" if "warning" in issues else "silent" if done.returncode != 2 else "failed"


def with_tables(page: str, report: dict[str, Any]) -> str:
    """Return the page with the tables of these results behind its mark; what stands above is written by hand."""
    files = report["files"]
    scanners = list(files[0]["answers"])
    head = page.partition(MARK)[0]
    lines = ["", f"Versions: {', '.join(f'{n} {v}' for n, v in report['versions'].items())}.", ""]
    lines += [*summary(files, scanners), "", "## File by file", ""]
    lines += [f"| file | {' | '.join(scanners)} |", f"|---|{'---|' * len(scanners)}"]
    calls = [row for row in files if row["name"] in CALL_NAMES]
    for row in files:
        if row["name"] not in CALL_NAMES:
            lines.append(f"| {row['name']} | {' | '.join(cell(row, scanner) for scanner in scanners)} |")
    counted = [Counter(cell(row, scanner) for row in calls) for scanner in scanners]
    cells = [", ".join(f"{n} {word}" for word, n in count.most_common()) for count in counted]
    lines.insert(lines.index("## File by file") + 4, f"| {CALL_ROW} | {' | '.join(cells)} |")
    return head + MARK + "\n" + "\n".join(lines) + "\n"


def cell(row: dict[str, Any], scanner: str) -> str:
    """Return one answer in words."""
    answer = row["answers"][scanner]["answer"]
    if row["expected"] in ("code", "clean"):
        return {"found": "**false alarm**", "warned": "warned", "silent": "silent", "code": "needs code"}.get(
            answer, answer
        )
    return {"found": "caught", "silent": "**missed**", "code": "**missed**"}.get(answer, answer)


def summary(files: list[dict[str, Any]], scanners: list[str]) -> list[str]:
    """Return the table of sums."""
    bad = [row for row in files if row["expected"] == "dangerous"]
    good = [row for row in files if row["expected"] in ("code", "clean")]
    lines = [
        f"| scanner | caught of {len(bad)} hostile | warned | missed | skipped | failed | "
        f"false alarms of {len(good)} ordinary | median seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for scanner in scanners:
        count = Counter(row["answers"][scanner]["answer"] for row in bad)
        alarms = sum(row["answers"][scanner]["answer"] == "found" for row in good)
        seconds = median(row["answers"][scanner]["seconds"] for row in files)
        missed = count["silent"] + count["code"]
        skipped = count["skipped"] + count["unexamined"]
        numbers = (count["found"], count["warned"], missed, skipped, count["failed"], alarms, f"{seconds:.2f}")
        lines.append(f"| {scanner} | {' | '.join(map(str, numbers))} |")
    return lines


if __name__ == "__main__":
    main()
