"""Completion of commands and options in the shell."""

import click
from click.shell_completion import get_completion_class

PROGRAM = "provisioner"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands and options; put it where the shell reads it.

    \b
    Examples:
      eval "$(provisioner completion bash)"       in ~/.bashrc
      eval "$(provisioner completion zsh)"        in ~/.zshrc
      provisioner completion fish > ~/.config/fish/completions/provisioner.fish
    """
    make = get_completion_class(shell)
    assert make is not None
    click.echo(make(context.find_root().command, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source())
