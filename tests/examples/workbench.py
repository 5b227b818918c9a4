"""A folder to run the examples' shell in, with stand-ins for smoothscan and for what would install something."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import click

from smoothscan.cli.main import smoothscan
from smoothscan.posture import Posture
from tests.sinks import samples

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"

ALL_FORMATS = "html,json,sarif,junit,markdown"
PRODUCTS = ("report.html", "smoothscan.sarif", "junit.xml", "summary.md")

_STAND_IN = """#!{python} -IS
import json, os, shutil, sys

name, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
bench = {bench!r}
with open(bench + "/calls", "a") as calls:
    calls.write(json.dumps([name, *arguments]) + "\\n")
if name == "smoothscan":
    with open(bench + "/ledgers", "a") as ledgers:
        ledgers.write(os.environ.get("SMOOTHSCAN_LEDGER", "") + "\\n")
    for before, word in zip([""] + arguments, arguments):
        folder = word if before == "--output-dir" else word.removeprefix("--output-dir=")
        if folder != word or before == "--output-dir":
            shutil.copytree(bench + "/products/" + arguments[0], bench + "/work/" + folder, dirs_exist_ok=True)
    print(os.environ.get("SAID_BY_THE_SCAN", ""), end="", flush=True)
    sys.exit(int(os.environ.get("CODE_OF_THE_SCAN", "0")))
if arguments[:2] == ["-m", "venv"]:
    os.makedirs(arguments[2] + "/bin")
    for version in ("python", "python3"):
        shutil.copy(sys.argv[0], arguments[2] + "/bin/" + version)
elif arguments[:3] == ["-m", "pip", "install"] and "/bin/" in sys.argv[0]:
    shutil.copy(sys.argv[0], os.path.dirname(sys.argv[0]) + "/smoothscan")
elif name.startswith("python") and arguments[:1] in (["-"], ["-c"]):
    os.execv({python!r}, ["python", *arguments])
"""


class Workbench:
    """Runs scripts, and tells which programs they started.

    Args:
        folder: an empty folder.
        installed: whether smoothscan is on the PATH from the beginning.
    """

    def __init__(self, folder: Path, *, installed: bool = True) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.programs = folder / "programs"
        for each in (self.work, self.programs, *(folder / "products" / name for name in ("check", "sweep"))):
            each.mkdir(parents=True)
        self.stand_in("python", "python3", *(["smoothscan"] if installed else []))
        self.environment = {"PATH": f"{self.programs}:/usr/bin:/bin", "HOME": str(folder)}
        self.found(samples.backdoored().result.model_dump_json())
        posture = Posture(
            started_at="", finished_at="", complete=False, registry="", engine="", counts={"clean": 3, "backdoored": 1}
        )
        (folder / "products" / "sweep" / "sweep.json").write_text(posture.model_dump_json())

    def stand_in(self, *names: str) -> None:
        """Put programs on the PATH that do nothing but say that they were called."""
        for name in names:
            program = self.programs / name
            program.write_text(_STAND_IN.format(python=sys.executable, bench=str(self.folder)))
            program.chmod(0o755)

    def found(self, result: str | None) -> None:
        """Set what the next scan writes: a result and everything that comes with it, or nothing."""
        folder = self.folder / "products" / "check"
        for name in ("result.json", *PRODUCTS):
            (folder / name).unlink(missing_ok=True)
        if result is not None:
            (folder / "result.json").write_text(result)
            for name in PRODUCTS:
                (folder / name).write_text(f"{name} of the scan\n")

    def ends_with(self, code: int) -> None:
        """Set the exit code of the next scan."""
        self.environment["CODE_OF_THE_SCAN"] = str(code)

    def run(self, script: str, *shell: str, **environment: str) -> int:
        """Run a script as `shell script.sh` in the folder `work`; return its exit code."""
        file = self.folder / "script.sh"
        file.write_text(script)
        done = subprocess.run(
            [*(shell or ("bash", "-eo", "pipefail")), str(file)],
            cwd=self.work,
            env=self.environment | environment,
            capture_output=True,
            text=True,
        )
        self.said = done.stdout + done.stderr
        return done.returncode

    @property
    def calls(self) -> list[list[str]]:
        """The programs that were started, with their arguments; what smoothscan got is understood by the real one."""
        file = self.folder / "calls"
        calls: list[list[str]] = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        for name, *arguments in calls:
            if name == "smoothscan":
                with chdir(self.work):
                    understand(arguments)
        return calls

    @property
    def scans(self) -> list[list[str]]:
        """Arguments of each call of smoothscan."""
        return [arguments for name, *arguments in self.calls if name == "smoothscan"]

    @property
    def ledgers(self) -> list[str]:
        """The ledger in the environment of each call of smoothscan; empty for none."""
        return (self.folder / "ledgers").read_text().splitlines()


def understand(arguments: list[str]) -> click.Context:
    """Let the real command line read arguments; return what it made of them.

    Raises:
        click.UsageError: it does not know a command, an option or a value.
    """
    name, *rest = arguments
    group = click.Context(smoothscan)
    command = smoothscan.get_command(group, name)
    if command is None:
        raise click.UsageError(f"there is no command {name}")
    return command.make_context(name, rest, parent=group)


def with_path(bench: Workbench) -> dict[str, str]:
    """Return this process's environment, with the workbench's programs first."""
    return {**os.environ, "PATH": f"{bench.programs}:{os.environ['PATH']}"}
