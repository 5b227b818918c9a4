"""Samples as the gate hands them on to the sinks, and ones in which everything that a model names is hostile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import cache

from smoothscan.gate import findings, judge
from smoothscan.result import ErrorInfo, ModelInfo, ScanResult, Waiver

from .samples import SAMPLES

TODAY = date(2026, 11, 24)
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "a | b | c\n| --- |",
    "`code` **bold** _it_ ~~no~~ # head",
    "@everyone #1 GH-1 [here](http://evil.example) ![i](http://evil.example/x.png)",
    "www.evil.example http://evil.example <http://evil.example> ann@evil.example",
    "]]> <!-- --> &amp; &#124; </testsuite>",
    "{0} {{1}} [x](1) \\[y\\](2)",
    "\x1b[2J\x00\x08\u202e\ufffe\uffff\ud800",
    "- list\n1. one\n> quote\n    code\n---",
    "long " * 5000,
    "",
)
"""Names that mean something in HTML, XML, Markdown, SARIF or on a terminal."""


@cache
def plain(name: str) -> ScanResult:
    """A sample before the gate."""
    sample = SAMPLES[name]().result
    if name != "many_classes":
        return sample
    return sample.model_copy(update={"classes": sample.classes[700:800]})  # a tenth is enough to be many


@cache
def judged(name: str) -> ScanResult:
    return judge(plain(name))


def waivers(result: ScanResult) -> list[Waiver]:
    """A waiver for everything that was found."""
    return [
        Waiver(
            model_digest=result.model.digest,
            rule=f.rule,
            index=f.index,
            source=f.source,
            reason="looked at",
            owner="ann@example.org",
            expires=date(2027, 1, 31),
        )
        for f in findings(result)
    ]


@cache
def waived(name: str) -> ScanResult:
    result = plain(name)
    return judge(result, waivers=waivers(result), today=TODAY)


@cache
def known(name: str) -> ScanResult:
    result = plain(name)
    return judge(result, baseline=result)


def hostile(text: str) -> ScanResult:
    """A backdoored model that is waived, all of whose texts are this one."""
    sample = plain("backdoored")
    result = sample.model_copy(
        update={
            "model": ModelInfo(uri=text, resolved_uri=text, name=text, version=text, digest=sample.model.digest),
            "classes": tuple(c.model_copy(update={"label": text}) for c in sample.classes),
            "reasons": (text, text),
            "environment": {"smoothscan": text},
            "started_at": text,
            "finished_at": text,
        }
    )
    allowed = [w.model_copy(update={"owner": text or "x", "reason": text or "x"}) for w in waivers(result)]
    return judge(result, waivers=[*allowed, *(w.model_copy(update={"index": 5}) for w in allowed)], today=TODAY)


def hostile_failure(text: str) -> ScanResult:
    """A failed scan whose error is this text."""
    error = ErrorInfo(type=text, message=text, hint=text)
    return judge(plain("failed").model_copy(update={"error": error, "reasons": (text,)}))


def everything() -> Iterator[tuple[str, ScanResult]]:
    """Every kind of result that a sink can get, with a name."""
    for name in SAMPLES:
        yield name, judged(name)
        yield f"{name}, waived", waived(name)
        if plain(name).status == "completed":
            yield f"{name}, known", known(name)
    for position, text in enumerate(HOSTILE):
        yield f"hostile {position}", hostile(text)
        yield f"hostile failure {position}", hostile_failure(text)


EVERYTHING = dict(everything())
