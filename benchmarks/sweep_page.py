"""The page of `benchmarks/sweep.py`."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

_RATIO, _SECONDS, _BYTES = 1.6, 60.0, 500e6
"""What a second worker should bring at least, and what planning may take."""


def page(results: dict[str, Any]) -> str:
    """Return docs/sweep-figures.md."""
    texts = {
        "registry": _registry,
        "kills": _kills,
        "workers": _workers,
        "planning": _planning,
        "engines": _engines,
    }
    parts = "\n\n".join(texts[part](results[part]) for part in texts if part in results)
    text = f"""# What sweeps do, in figures

Written by `python benchmarks/sweep.py`; raw figures in `benchmarks/results/sweep.json`. Models are ResNets and VGGs of
ten classes, clean and backdoored, saved as pt2. They are scanned in the profile quick, in the additive space alone, to
keep a scan short: these figures are about sweeps, and those on how well triggers are found are in
[zoo.md](zoo.md). Times are of the whole command, from its start to its end.

{parts}
"""
    return "\n\n".join(_wrapped(block) for block in text.strip().split("\n\n")) + "\n"


def _wrapped(block: str) -> str:
    """Return a paragraph in lines of equal length; headings, tables and quotations stay as they are."""
    if block.startswith(("#", "|", "<!--")):
        return block
    return textwrap.fill(" ".join(block.split()), 120, break_long_words=False, break_on_hyphens=False)


def _registry(found: dict[str, Any]) -> str:
    lines = [
        (name, s["looked_at"], s["scanned"], s["in_ledger"], s["runs"], s["exit_code"], _time(s["seconds"]))
        for name, s in found["steps"].items()
    ]
    steps, reader = found["steps"], found["steps"]["reader"]
    heads = ("sweep", "versions", "scanned", "scans in its ledger", "runs in MLflow", "exit code", "wall")
    action, verdict = steps["new version with the tags of a clean one"]["found"]
    return f"""## A registry behind a server

{found["versions"]} versions of {len(found["models"])} models behind `mlflow server` with basic authentication, on
loopback, with sqlite; engine: {found["engine"]}. Versions beyond the first of a model have the same files, and are
scanned all the same (`--no-cache`). {_machine(found)}

{_table(heads, lines)}

Scans are quick here, and writing them back is not: as MLflow sets it up, this server checks the password
at each request and takes {1000 * found["request_seconds"]:.0f} ms for one, on the cores that scan; a write-back makes
dozens.

After the first sweep and after the one of the new version, ledger, tags, runs and files were compared for every
version: {_told(found["problems"])}. Left behind in folders: {", ".join(found["left_behind"]) or "nothing"}.

The forged tag was `smoothscan.verdict=clean` on a backdoored version. Its verdict {_stayed(steps["forged tag"])}, and
the plan afterwards was "{steps["forged tag"]["planned"]}". The new version had the files of a backdoored one and was
registered with every tag of a clean one: it was {action}, and is {verdict}.

The reader may read, and write nothing. Of {reader["looked_at"]} versions {reader["same"]} have the verdict, targets and
exit code that they have with write-back; {reader["kept"]} have their files, {reader["in_ledger"]} are in the ledger,
and of {reader["reported"]} it is reported that nothing was written back: {_quoted(reader["message"])}"""


def _kills(found: dict[str, Any]) -> str:
    heads = (
        "killed after",
        "with its workers",
        "processes then",
        "recorded",
        "judged",
        "started",
        "last process gone after",
    )
    lines = [
        (
            _time(kill["seconds"]),
            "yes" if kill["workers_too"] else "no",
            kill["processes"],
            kill["states"].get("recorded", 0),
            kill["states"].get("judged", 0),
            kill["states"].get("started", 0),
            "(restarted at once)" if kill["gone_after"] is None else _time(kill["gone_after"]),
        )
        for kill in found["kills"]
    ]
    on_the_way = [problem for kill in found["kills"] for problem in kill["problems"]]
    return f"""## Killed and started again

A sweep over {found["versions"]} versions behind the same kind of server was killed with SIGKILL {len(found["kills"])}
times at random moments, its coordinator alone or its workers too, and started again. {_machine(found)}

{_table(heads, lines)}

The counts are scans in the ledger after the kill: finished and written everywhere (recorded), finished (judged), under
way (started). After each kill, nothing judged before was lost, changed or done again, no scan had two runs, and SQLite
found the ledger's file in order: {_told(on_the_way)}. The last start went on to the end in
{_time(found["last"]["seconds"])}, one more scanned {found["again"]["scanned"]} versions. Then every version had one
scan in the ledger, one run, the tags of that scan, and its files: {_told(found["problems"])}. Left behind in folders:
{", ".join(found["left_behind"]) or "nothing"}."""


def _workers(found: dict[str, Any]) -> str:
    names = list(found["seconds"])
    lines = [
        (
            way,
            _time(found["median_seconds"][way]),
            f"{60 * len(found['models']) / found['median_seconds'][way]:.1f}",
            f"{found['median_seconds'][names[0]] / found['median_seconds'][way]:.2f}",
            _time(found["median_span"][way]),
            f"{found['median_span'][names[0]] / found['median_span'][way]:.2f}",
        )
        for way in names
    ]
    heads = ("", "wall", "models a minute", "times one thread", "scanning alone", "times one thread")
    cpu, ceiling = found["lscpu"], found["ceiling"]
    two = names[-1]
    ratio = found["median_seconds"][names[0]] / found["median_seconds"][two]
    network, memory = ceiling["network"], ceiling["memory"]
    threads = found["median_seconds"][names[0]] / found["median_seconds"][names[1]]
    both = found["median_seconds"][names[1]] / found["median_seconds"][two]
    verdict = (
        f"Over one worker on one thread the bar of {_RATIO} is {'met' if ratio >= _RATIO else 'missed'}. Over one "
        f"worker with all cores, as `--workers 1` starts it, two do {both:.2f} times as much: its threads bring "
        f"{threads:.2f} already, and with twice the cores this machine does at most {network['ratio']:.2f} times as "
        f"much (below), so that {network['ratio'] / threads:.2f} is the most that could be left."
    )
    return f"""## What a second worker adds

{len(found["models"])} models in a sqlite registry, `--no-cache`, with write-back, fresh ledgers; medians of
{len(found["seconds"][two])}. {_machine(found)}

{_table(heads, lines)}

{verdict} *Scanning alone* leaves out the start of the program and the last write-back: from the beginning of the first
scan to the end of the last. What the machine itself gives two processes of one thread each over one of them, doing
nothing but forward and backward passes of one of the networks: {network["ratio"]:.2f} times the images a second;
copying memory: {memory["ratio"]:.2f} times ({memory["one"]:.1f} and {memory["two"]:.1f} GB/s). As lscpu has it:
{"; ".join(f"{name} {value}" for name, value in cpu.items())}."""


def _planning(found: dict[str, Any]) -> str:
    lines = [
        (
            case["registry"],
            case["through"],
            "a sweep" if case["what"] == "sweep" else "dry run",
            case["said"] if case["what"] == "dry run" else "nothing scanned",
            f"{case['seconds']:.1f} s",
            f"{case['peak_rss_bytes'] / 1e6:.0f} MB",
        )
        for case in found["cases"]
    ]
    runs = [case for case in found["cases"] if case["what"] == "dry run"]
    slowest, largest = max(case["seconds"] for case in runs), max(case["peak_rss_bytes"] for case in runs)
    met = slowest <= _SECONDS and largest <= _BYTES
    return f"""## What is due among {found["registered"]:,} versions

Metadata alone: the versions' files are nowhere. The server has basic authentication, and filters what a reader may see.
Memory is the peak of the resident set. {_machine(found)}

{_table(("registry", "through", "what", "outcome", "wall", "peak memory"), lines)}

The bars of {_SECONDS:.0f} s and {_BYTES / 1e6:.0f} MB are {"met" if met else "missed"}. The sweep at the end looks up
every scan in its ledger and writes `result.json` of each into its folder, which was new."""


def _engines(found: dict[str, Any]) -> str:
    local, ray = found["found"]["local"], found["found"]["ray"]
    lines = [(name, _answer(local[name]), _answer(ray[name])) for name in found["models"]]
    lines.append(("wall", *(_time(found["seconds"][engine]) for engine in ("local", "ray"))))
    return f"""## Ray and local processes

The same models; Ray is a cluster of two nodes with one core each, on this machine. Verdicts and targets agree for
{found["same"]} of {len(found["models"])} models. {_machine(found)}

{_table(("", f"{local['engine']}", f"{ray['engine']}"), lines)}"""


def _answer(found: dict[str, Any]) -> str:
    targets = ", ".join(map(str, found["target_classes"])) or "none"
    return f"{found['verdict']}, targets {targets}, score {found['score']:.4g}"


def _machine(found: dict[str, Any]) -> str:
    machine = found["machine"]
    return f"Machine: {machine['processor']}, {machine['cores']} cores."


def _told(problems: Sequence[str]) -> str:
    if not problems:
        return "**no exception**"
    kinds = Counter(problems)
    return "**" + "; ".join(f"{text} ({n} times)" if n > 1 else text for text, n in kinds.items()) + "**"


def _stayed(step: dict[str, Any]) -> str:
    return "stayed what it was" if step["verdict_stays"] else "**changed**"


def _quoted(text: str) -> str:
    if not text:
        return "nothing."
    lines = textwrap.fill(text, 116, break_long_words=False, break_on_hyphens=False)
    return f"\n\n<!-- shown: what this server answered -->\n```text\n{lines}\n```"


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _table(heads: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |" for row in rows)
