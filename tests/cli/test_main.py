from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import click
import pytest
from click.testing import CliRunner

import smoothscan as package
from smoothscan.cli.check import check
from smoothscan.cli.display import Manner
from smoothscan.cli.main import LazyGroup
from smoothscan.cli.main import smoothscan as group
from smoothscan.config import Denoising, Layout, Precision, ProfileName, ReportFormat, Resize
from smoothscan.result import FailOn

from .program import ENVIRONMENT, Run

HEAVY = ("torch", "mlflow", "pydantic", "numpy", "rich", "jinja2", "sklearn", "scipy", "PIL", "starlette", "sqlalchemy")


def run_in_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["check", "--help"],
        ["report", "--help"],
        ["verify-attestation", "--help"],
        ["verify", "--help"],
        ["calibrate", "--help"],
        ["denoiser", "train", "--help"],
        ["sweep", "--help"],
        ["serve", "--help"],
        ["doctor", "--help"],
        ["completion", "--help"],
        ["completion", "bash"],
        ["demo", "--help"],
    ],
)
def test_help_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    done = run_in_python(
        "import json, sys\n"
        "from smoothscan.cli.main import main\n"
        f"sys.argv = ['smoothscan', *{arguments!r}]\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    print(json.dumps([end.code, sorted({name.partition('.')[0] for name in sys.modules})]))\n",
        tmp_path,
    )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert set(HEAVY) & set(modules) == set()


def test_version(smoothscan: Run) -> None:
    done = smoothscan("--version")
    assert (done.returncode, done.stdout) == (0, f"smoothscan {package.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chekc"], "No such command 'chekc'. Did you mean check?"),
        (["denoiser", "trian"], "Did you mean train?"),
        (["zzz"], "No such command 'zzz'.\n"),
        (["check"], "Missing argument"),
        (["check", "models:/x/1", "--imgs", "x"], "No such option"),
    ],
)
def test_usage_errors_go_to_standard_error(smoothscan: Run, arguments: list[str], message: str) -> None:
    done = smoothscan(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


def commands() -> dict[str, click.Command]:
    assert isinstance(group, LazyGroup)
    ctx = click.Context(group)
    found = {name: group.get_command(ctx, name) for name in group.list_commands(ctx)}
    return {name: one for name, one in found.items() if one is not None}


def test_the_list_of_commands_says_what_the_commands_say() -> None:
    help_text = " ".join(CliRunner().invoke(group, ["--help"]).output.split())
    names = {
        "check",
        "report",
        "sweep",
        "serve",
        "verify",
        "verify-attestation",
        "calibrate",
        "denoiser",
        "doctor",
        "demo",
        "completion",
    }
    assert set(commands()) == names
    for name, one in commands().items():
        assert f"{name} {one.get_short_help_str(200)}" in help_text


def test_every_option_says_what_it_does() -> None:
    for name, one in commands().items():
        output = CliRunner().invoke(group, [name, "--help"]).output
        for param in one.params:
            if isinstance(param, click.Option):
                assert param.help, f"{name} {param.opts}"
                assert all(option in output for option in param.opts)
    assert "Example" in CliRunner().invoke(group, ["check", "--help"]).output


def test_choices_are_those_of_the_configuration() -> None:
    kinds = {
        "profile": ProfileName,
        "denoising": Denoising,
        "layout": Layout,
        "resize": Resize,
        "fail_on": FailOn,
        "precision": Precision,
        "progress": Manner,
    }
    choices = {param.name: param.type.choices for param in check.params if isinstance(param.type, click.Choice)}
    assert {name: tuple(values) for name, values in choices.items()} == {n: get_args(k) for n, k in kinds.items()}
    from smoothscan.cli.values import FORMATS

    assert get_args(ReportFormat) == FORMATS


def test_a_bug_is_one_message_and_its_traceback_only_on_request(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    code = (
        "import sys, smoothscan.pipeline\n"
        "def broken(*args, **kwargs): raise ZeroDivisionError('\\x1b[31mboom')\n"
        "smoothscan.pipeline.scan = broken\n"
        "from smoothscan.cli.main import main\n"
        "sys.argv = ['smoothscan', 'check', 'models:/x/1', '--images', 'images', '--quiet', *{more}]\n"
        "main()\n"
    )
    plain = run_in_python(code.format(more=[]), tmp_path)
    assert plain.returncode == 3
    assert "bug in smoothscan: ZeroDivisionError: boom" in plain.stderr
    assert "Traceback" not in plain.stderr
    verbose = run_in_python(code.format(more=["--verbose"]), tmp_path)
    assert verbose.returncode == 3
    assert "Traceback" in verbose.stderr
    assert "\x1b" not in plain.stderr + verbose.stderr
    assert plain.stdout + verbose.stdout == ""


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_interruption_that_somebody_takes_for_an_error_is_no_bug(number: str, code: int, tmp_path: Path) -> None:
    program = f"""
import signal
import smoothscan.cli.demo as demo
from smoothscan.cli.main import main

def stopped(*_args, **_values):
    try:
        signal.raise_signal(signal.{number})
    except KeyboardInterrupt:
        raise TypeError("no shape can be told")  # as torch does

demo.demo.callback = stopped
import sys
sys.argv = ["smoothscan", "demo"]
main()
"""
    done = run_in_python(program, tmp_path)
    assert (done.returncode, "bug" in done.stderr, "stopped" in done.stderr) == (code, False, True), done.stderr
