"""As much of GitHub Actions as the examples use: expressions, steps, composite actions and called workflows."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.examples.workbench import ROOT, Workbench

OURS = ("$/", "your-org/smoothscan/")
"""How examples name what lies in this repository."""

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
_TOKEN = re.compile(r"\s*(?:('[^']*')|(&&|\|\||==|!=|!|\(|\))|([A-Za-z_][\w.-]*))")
_OPERATORS = {"&&": " and ", "||": " or ", "!": " not "}
_SHELLS = {None: ("bash", "-e"), "bash": ("bash", "--noprofile", "--norc", "-eo", "pipefail")}


def load(path: Path) -> dict[str, Any]:
    """Read a workflow or an action; YAML 1.1 takes its key `on` for a boolean."""
    data = yaml.safe_load(path.read_text())
    assert isinstance(data, dict)
    return {"on" if key is True else key: value for key, value in data.items()}


def scripts(node: Any) -> list[str]:
    """Return every script of a workflow or an action."""
    if isinstance(node, list):
        return [script for item in node for script in scripts(item)]
    if not isinstance(node, dict):
        return []
    own = [node["run"]] if isinstance(node.get("run"), str) else []
    return own + [script for value in node.values() for script in scripts(value)]


def own_file(uses: str) -> Path | None:
    """Return the file in this repository that `uses` names, if it names one."""
    for prefix in OURS:
        if uses.startswith(prefix):
            path = ROOT / uses.removeprefix(prefix).partition("@")[0]
            return path if path.suffix == ".yml" else path / "action.yml"
    return None


@dataclass
class Run:
    """One job, or one composite action in it."""

    bench: Workbench
    inputs: dict[str, Any]
    contexts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """`secrets`, `vars`, `strategy`, ...: by name, then by key."""
    environment: dict[str, str] = field(default_factory=dict)
    """Of the step that a composite action runs in."""
    here: Path = ROOT
    """Folder of the action."""
    steps: dict[str, dict[str, str]] = field(default_factory=dict)
    """Outputs by the ids of steps."""
    used: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Foreign actions that were used, with their inputs."""
    code: int = 0
    """Exit code of the first step that failed."""
    broken: str = ""
    """A foreign action that fails."""

    def lookup(self, name: str) -> Any:
        """Return a value by its path; what nobody declared is a mistake."""
        if name in ("true", "false"):
            return name == "true"
        context, _, rest = name.partition(".")
        if context == "steps":
            step, _, output = rest.partition(".outputs.")
            return self.steps[step].get(output, "")
        return (self.inputs if context == "inputs" else self.contexts[context])[rest]

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression."""
        python, position = "", 0
        while position < len(expression.rstrip()):
            token = _TOKEN.match(expression, position)
            assert token is not None, expression
            text, operator, name = token.groups()
            position = token.end()
            if text is not None:
                python += repr(text[1:-1])
            elif operator is not None:
                python += _OPERATORS.get(operator, operator)
            else:
                called = expression[position:].lstrip().startswith("(")
                python += name if called else f"lookup({name!r})"
        functions = {"lookup": self.lookup, "cancelled": lambda: False, "fromJSON": json.loads}
        return eval(python.strip(), {"__builtins__": {}}, functions)

    def fill(self, text: Any) -> str:
        """Return a text with its expressions replaced."""
        if isinstance(text, bool):
            return str(text).lower()

        def value(found: re.Match[str]) -> str:
            return self.fill(self.evaluate(found[1]))

        return _EXPRESSION.sub(value, str(text)) if isinstance(text, str) else str(text)

    def wanted(self, step: dict[str, Any]) -> bool:
        """Whether a step is run."""
        condition = str(step.get("if", "")).strip().removeprefix("${{").removesuffix("}}")
        return (self.code == 0 or "cancelled()" in condition) and (not condition or bool(self.evaluate(condition)))

    def run(self, steps: list[dict[str, Any]]) -> int:
        """Run steps; return the exit code of the first that failed."""
        self.steps.update({step["id"]: {} for step in steps if "id" in step})
        for step in steps:
            if self.wanted(step):
                environment = self.environment | {key: self.fill(text) for key, text in step.get("env", {}).items()}
                act = self._script if "run" in step else self._use
                code, outputs = act(step, environment)
                self.code = self.code or code
                self.steps.setdefault(step.get("id", ""), {}).update(outputs)
        return self.code

    def _script(self, step: dict[str, Any], environment: dict[str, str]) -> tuple[int, dict[str, str]]:
        files = {name: self.bench.folder / name for name in ("GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.touch()
        files["GITHUB_OUTPUT"].write_text("")
        paths = [*reversed(files["GITHUB_PATH"].read_text().splitlines()), self.bench.environment["PATH"]]
        of_github = {"RUNNER_TEMP": str(self.bench.folder / "temp"), "GITHUB_ACTION_PATH": str(self.here)}
        of_github |= {name: str(file) for name, file in files.items()} | {"PATH": ":".join(paths)}
        code = self.bench.run(step["run"], *_SHELLS[step.get("shell")], **environment, **of_github)
        lines = files["GITHUB_OUTPUT"].read_text().splitlines()
        return code, dict(line.split("=", 1) for line in lines)

    def _use(self, step: dict[str, Any], environment: dict[str, str]) -> tuple[int, dict[str, str]]:
        given = {key: self.fill(text) for key, text in step.get("with", {}).items()}
        file = own_file(step["uses"])
        if file is None:
            self.used.append((step["uses"], given))
            outputs = {"python-path": str(self.bench.programs / "python3")} if "setup-python" in step["uses"] else {}
            return int(bool(self.broken) and step["uses"].startswith(self.broken)), outputs
        action = load(file)
        inputs = bind(action["inputs"], given)
        inner = Run(self.bench, inputs, {}, environment, file.parent, {}, self.used, broken=self.broken)
        code = inner.run(action["runs"]["steps"])
        return code, {name: inner.fill(output["value"]) for name, output in action.get("outputs", {}).items()}


def bind(declared: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs of an action or a called workflow; unknown and missing ones are mistakes."""
    assert given.keys() <= declared.keys(), given.keys() - declared.keys()
    missing = {name for name, about in declared.items() if about.get("required")} - given.keys()
    assert not missing, missing
    return {name: given.get(name, about.get("default", "")) for name, about in declared.items()}


def call(bench: Workbench, caller: Path, job: str, contexts: dict[str, dict[str, Any]], shard: int = 0) -> Run:
    """Run the job of the workflow that a job of `caller` calls.

    Args:
        bench: where to run it.
        caller: file of the calling workflow.
        job: name of the job in it.
        contexts: the caller's contexts.
        shard: which job of the matrix.
    """
    outer = Run(bench, contexts.pop("inputs", {}), contexts)
    calling = load(caller)["jobs"][job]
    file = own_file(calling["uses"])
    assert file is not None
    called = load(file)
    declared = called["on"]["workflow_call"]
    inputs = bind(declared["inputs"], {name: outer.fill(text) for name, text in calling["with"].items()})
    secrets = bind(declared["secrets"], {name: outer.fill(text) for name, text in calling["secrets"].items()})
    (inner_job,) = called["jobs"].values()
    needed = inner_job.get("permissions", called["permissions"])
    assert needed.items() <= calling["permissions"].items(), "the caller grants what the workflow needs"
    run = Run(bench, inputs, {"secrets": secrets, "github": contexts.get("github", {})})
    if "strategy" in inner_job:
        (jobs,) = (run.evaluate(text[3:-2]) for text in inner_job["strategy"]["matrix"].values())
        run.contexts["strategy"] = {"job-index": shard, "job-total": len(jobs)}
    run.fill(called["concurrency"]["group"])
    run.run(inner_job["steps"])
    return run
