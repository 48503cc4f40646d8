"""What every verb of the command line has; found by walking through it, so that no new one is forgotten."""

from collections.abc import Iterator
from typing import Any

import click
import pytest

from ops.cli import main


def verbs(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[Any]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from verbs(command, (*path, name))
        else:
            yield pytest.param(command, id=" ".join((*path, name)))


@pytest.mark.parametrize("verb", list(verbs()))
def test_a_verb_has_examples_and_json(verb: click.Command) -> None:
    """An example in its help that begins with the program's name, and --json; but completion, which prints a script."""
    assert verb.help is not None
    assert "Example" in verb.help
    assert "provisioner " in verb.help.partition("Example")[2]
    assert verb.name == "completion" or any("--json" in parameter.opts for parameter in verb.params)
