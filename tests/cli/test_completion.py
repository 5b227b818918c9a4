"""Completion of command lines, in a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from smoothscan.cli.check import check
from smoothscan.cli.values import Parsed

from .program import ENVIRONMENT, Run

BASH = shutil.which("bash")


def complete(folder: Path, line: str) -> list[str]:
    """What bash offers after a line, whose last word is incomplete."""
    program = folder / "bin" / "smoothscan"
    if not program.exists():
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m smoothscan "$@"\n')
        program.chmod(0o755)
    words = line.split(" ")
    script = (
        "source <(smoothscan completion bash) && complete -p smoothscan >/dev/null && "
        f"COMP_WORDS=({' '.join(word or repr('') for word in words)}) COMP_CWORD={len(words) - 1} && "
        'compopt() { echo "$2"; } && _smoothscan_completion smoothscan && printf "%s\\n" "${COMPREPLY[@]}"'
    )
    assert BASH is not None
    done = subprocess.run(
        [BASH, "--norc", "-c", script],
        cwd=folder,
        env={**ENVIRONMENT, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(BASH is None, reason="needs bash")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("smoothscan ver", ["verify", "verify-attestation"]),
        ("smoothscan denoiser tr", ["train"]),
        ("smoothscan check models:/x/1 --fail-on ", ["suspicious", "backdoored"]),
        ("smoothscan check models:/x/1 --spaces l2,w", ["l2,warp"]),
        ("smoothscan check models:/x/1 --format s", ["sarif"]),
        ("smoothscan check models:/x/1 --image", ["--images"]),
        ("smoothscan check models:/x/1 --cache-dir ", ["dirnames"]),
        ("smoothscan report ", ["default"]),
        ("smoothscan check models:/", []),
    ],
)
def test_bash_completes(line: str, offered: list[str], tmp_path: Path) -> None:
    assert complete(tmp_path, line) == offered


@pytest.mark.parametrize(("shell", "sign"), [("zsh", "#compdef smoothscan"), ("fish", "complete --no-files --command")])
def test_scripts_for_other_shells(shell: str, sign: str, smoothscan: Run) -> None:
    done = smoothscan("completion", shell)
    assert done.returncode == 0, done.stderr
    assert sign in done.stdout
    assert "_SMOOTHSCAN_COMPLETE" in done.stdout


def test_lists_are_completed_without_what_they_have_already() -> None:
    kind = next(param.type for param in check.params if param.name == "spaces")
    assert isinstance(kind, Parsed)
    ctx = click.Context(check)
    assert [item.value for item in kind.shell_complete(ctx, check.params[0], "patch,l2,s")] == ["patch,l2,smooth"]
    assert "l2,l2" not in [item.value for item in kind.shell_complete(ctx, check.params[0], "l2,")]
