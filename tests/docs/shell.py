"""A folder to run the documents' shell in, with what they name: images, keys, files; and stand-ins for what they start.

What a stand-in for smoothscan was given is read by the real command line, and by what makes settings of it.
"""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path

import click

from smoothscan.cli.main import smoothscan
from smoothscan.cli.settings import choices
from smoothscan.cli.shared_options import given
from tests.examples.workbench import Workbench
from tests.sinks import samples
from tests.stores import draw_images

STAND_INS = ("pip", "docker", "make", "mkdocs", "mlflow", "sqlite3")
"""Programs of others that the documents start: they would install, build or serve something, or take long."""
REAL = ("openssl", "cat")
"""Programs of others that are run as they are."""
IMAGES = ("clean-images", "factory-images")


def prepared(folder: Path) -> Workbench:
    """Return a folder with everything that the documents take for granted."""
    bench = Workbench(folder)
    bench.stand_in(*STAND_INS)
    for name in smoothscan.list_commands(click.Context(smoothscan)):
        (folder / "products" / name).mkdir(exist_ok=True)
    for place in (".zfunc", ".config/fish/completions"):
        (folder / place).mkdir(parents=True)
    for name in IMAGES:
        draw_images(bench.work / name, 2)
    (bench.work / "deploy.sh").write_text("#!/bin/sh\n")
    (bench.work / "deploy.sh").chmod(0o755)
    (bench.work / ".venv" / "bin").mkdir(parents=True)
    (bench.work / ".venv" / "bin" / "activate").touch()
    for name in ("attestation.json", "signs.txt", "waivers.toml", "result.json", "attest.pub", "attest.pem"):
        (bench.work / name).touch()
    for scan in ("scan-3", "smoothscan-report"):
        (bench.work / scan).mkdir()
        (bench.work / scan / "result.json").write_text(samples.backdoored().result.model_dump_json())
        (bench.work / scan / "summary.md").touch()
    bench.environment |= {"GITHUB_STEP_SUMMARY": str(folder / "summary"), "SCAN_RUN": "1"}
    return bench


def run(bench: Workbench, script: str) -> list[list[str]]:
    """Run a block as bash does when a user types it; return the calls of smoothscan, understood by the real one."""
    code = bench.run(script, "bash", "-eu")
    assert code == 0, bench.said
    calls = [call[1:] for call in bench.calls if call[0] == "smoothscan"]
    for arguments in calls:
        understand(bench, arguments)
    return calls


def understand(bench: Workbench, arguments: list[str]) -> None:
    """Let the real command line read arguments, with all settings that they lead to.

    Raises:
        click.UsageError: it does not know a command, an option or a value.
        smoothscan.ConfigError: the settings are wrong.
    """
    command: click.Command = smoothscan
    rest = list(arguments)
    while isinstance(command, click.Group) and rest:
        found = command.get_command(click.Context(command), rest[0])
        if found is None:
            raise click.UsageError(f"there is no command {rest[0]}")
        command, *rest = found, *rest[1:]
    with chdir(bench.work):
        context = command.make_context(str(command.name), rest)
        if any(each.name == "config_file" for each in command.params):
            read = choices(given(context))
            if command.name == "check":
                read.of(str(context.params["uri"]))
