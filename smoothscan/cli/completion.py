"""`smoothscan completion`: what a shell needs to complete smoothscan's command lines."""

from __future__ import annotations

import click

from smoothscan.cli.options import HeadedCommand

_EPILOG = """\b
Examples:
  smoothscan completion bash > ~/.smoothscan-completion
  smoothscan completion zsh > ~/.zfunc/_smoothscan
  smoothscan completion fish > ~/.config/fish/completions/smoothscan.fish

For bash, add to ~/.bashrc: source ~/.smoothscan-completion. For zsh, ~/.zfunc has to be in fpath before compinit is
called. Shells started afterwards complete commands, options, files, folders, and values from a fixed set.
"""


@click.command(cls=HeadedCommand, epilog=_EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, /, shell: str) -> None:
    """Print the script that lets a shell complete smoothscan's command lines.

    Models are not completed: asking a registry for their names takes longer than a key press may.
    """
    from click.shell_completion import get_completion_class

    of_shell = get_completion_class(shell)
    assert of_shell is not None
    root = ctx.find_root().command
    click.echo(of_shell(root, {}, "smoothscan", "_SMOOTHSCAN_COMPLETE").source())
