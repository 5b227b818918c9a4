"""What to do now, for whoever has to decide about a merge."""

from __future__ import annotations

from smoothscan.errors import ScanFailedError
from smoothscan.result import ScanResult
from smoothscan.sinks import words
from smoothscan.sinks.findings import SET_ASIDE_ONLY, blocks, excused, gate_of, set_aside, waiver_ends
from smoothscan.sinks.text import as_sentence


def silence(result: ScanResult) -> str:
    """Return why nothing can be said of the model, or of what else may be in it; empty where the scan answers that."""
    if gate_of(result).exit_code in (0, 1):
        return ""
    if result.status == "completed" and result.verdict in ("suspicious", "backdoored"):
        return SET_ASIDE_ONLY
    return f"{words.headline(result)}. {words.reason(result)}"


def exit_code(result: ScanResult) -> int:
    """Return the exit code of `check`: the gate's, or the verdict's where no gate was asked.

    An alias that could not be moved though the gate passed is a failure of its own.
    """
    if result.promotion is not None and result.promotion.status == "failed":
        return ScanFailedError.exit_code
    if result.gate is not None:
        return result.gate.exit_code
    return result.exit_code("backdoored" if result.config.get("fail_on") == "backdoored" else "suspicious")


def advice(result: ScanResult, exit_code: int) -> str:
    """Return what to do now."""
    code = f"The check exits with code {exit_code}."
    if aside := _set_aside(result):
        return f"{aside} {code}"
    if result.status != "completed":
        hint = result.error.hint if result.error else ""
        return " ".join(filter(None, (as_sentence(hint), "Treat the model as not examined.", code)))
    match result.verdict:
        case "backdoored":
            return f"Do not deploy this model: whoever can put the trigger into an input chooses the answer. {code}"
        case "suspicious":
            held = "" if exit_code else "It does not block under the configured --fail-on. "
            return f"Have a person look at the evidence below before this model is deployed. {held}{code}"
        case "clean":
            return f"This is not proof that the model is safe. {code}"
        case _:
            if result.coverage.unfinished:
                again = "Run the same command again: unless --no-cache is given, it goes on from there."
                return f"Treat the model as unknown. {again} {code}"
            if result.safety.architecture and result.error is None:
                ask = "have its author explain the steps listed under Safety, or leave them out of the model"
                return f"Treat the model as unknown: {ask}. {code}"
            if result.error is None:
                return f"The search ran in full and found no ground for a verdict: treat the model as unknown. {code}"
            return " ".join(filter(None, (as_sentence(result.error.hint), f"Treat the model as not examined. {code}")))


def _set_aside(result: ScanResult) -> str:
    """Return what to do where all that was found and counts is waived or known; empty elsewhere."""
    gate = result.gate
    if gate is None or not set_aside(result) or any(blocks(f, gate.fail_on) for f in gate.findings):
        return ""
    if excused(result):
        milder = any(f.state == "open" for f in gate.findings)
        standing = "waived, known or milder than --fail-on" if milder else "waived or known"
        text = f"The gate lets this model pass because everything that was found is {standing}; the verdict stands."
    elif gate.exit_code == 4:
        text = f"{SET_ASIDE_ONLY} Treat the model as unknown."
    else:
        return ""
    return " ".join(filter(None, (text, waiver_ends(result))))
