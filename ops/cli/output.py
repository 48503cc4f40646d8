"""Output of commands: results as JSON or a table, one-line errors with exit codes, questions, progress."""

import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

from consumer.messages.foreign_text import printable
from ops.errors import EXIT_FAILED, EXIT_USAGE
from ops.text.printable import json_text

if TYPE_CHECKING:
    from collections.abc import Iterator


LINES = "\n"
LOG_SECONDS = 10.0
"""How often progress is a line of a log."""


def confirm(question: str, *, yes: bool) -> None:
    """Ask for a confirmation, unless `yes`; end without it, or where there is no terminal to ask on."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail(f"{question}; say --yes if that is meant", EXIT_USAGE)
    if not click.confirm(f"{question}. Go on?", err=True):
        fail("nothing was done")


def fail(text: str, code: int = EXIT_FAILED) -> NoReturn:
    """End with one line on standard error."""
    warn(text)
    sys.exit(code)


def warn(text: str) -> None:
    """Print one line on standard error, and go on."""
    click.echo(f"provisioner: {printable(text, keep=LINES)}", err=True)


@contextmanager
def progress_line() -> "Iterator[Callable[[str], None]]":
    """Yield a function that prints progress on standard error: in place on a terminal, now and then in a log."""
    on_terminal, last, printed = sys.stderr.isatty(), time.monotonic(), False

    def print_progress(text: str) -> None:
        nonlocal last, printed
        if on_terminal:
            click.echo(f"\r{printable(text)}\x1b[K", err=True, nl=False)
            printed = True
        elif time.monotonic() - last >= LOG_SECONDS:
            click.echo(printable(text), err=True)
            last = time.monotonic()

    try:
        yield print_progress
    finally:
        if printed:
            click.echo(err=True)


def print_result(value: Any, *, as_json: bool, table: Callable[[Any], None]) -> None:
    """Print a value as JSON, or by `table`."""
    if as_json:
        click.echo(json_text(value, indent=2))
    else:
        table(value)
