"""What every command has; found by walking through all of them, so that no new one is forgotten."""

from collections.abc import Iterator
from typing import Any

import click
import pytest

from ops.audit.trail import RESULTS
from ops.cli.commands import operator_actions
from ops.cli.main import main


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[Any]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield pytest.param(command, id=" ".join((*path, name)))


@pytest.mark.parametrize("command", list(commands()))
def test_a_command_has_examples_and_json(command: click.Command) -> None:
    """An example in its help that begins with the program's name, and --json; but completion, which prints a script."""
    assert command.help is not None
    assert "Example" in command.help
    assert "provisioner " in command.help.partition("Example")[2]
    assert command.name == "completion" or any("--json" in parameter.opts for parameter in command.params)


def test_the_outcomes_that_can_be_asked_for_are_those_of_the_audit() -> None:
    """The command has a list of its own, so that its help loads no audit."""
    assert operator_actions.RESULTS == RESULTS
