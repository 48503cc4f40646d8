"""What all tables share: the console, cells, states in colour, and columns that fit the terminal. Knows no database."""

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumer.messages.foreign_text import printable

console = Console(width=None if sys.stdout.isatty() else 10_000)
"""The terminal; nothing is wrapped or cut for a program that reads standard output."""
WIDE_COLUMNS = 120
"""Columns from which on a remark has its place in the table; below, it gets a line of its own under it."""
REMARKS = ("error", "reason or error")
COLOURS = {"live": "green", "failed": "red", "rejected": "red", "suspended": "yellow", "terminated": "dim"}


def make_table(*columns: str) -> Table:
    """Return an empty table; only remarks are wrapped."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column not in REMARKS, overflow="fold")
    return table


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[Text | str]], empty: str | None = None) -> None:
    """Print a table whose last column is a remark; where that has a line of its own, it begins with the first cell.

    `empty` is printed instead of a table without rows.
    """
    if empty is not None and not rows:
        console.print(empty)
        return
    wide = console.width >= WIDE_COLUMNS
    table = make_table(*(columns if wide else columns[:-1]))
    for row in rows:
        table.add_row(*(row if wide else row[:-1]))
    console.print(table)
    for first, *_, remark in rows if not wide else ():
        if remark:
            console.print(Text.assemble("  ", columns[0], " ", first, ": ", remark))


def cell(value: Any) -> Text:
    """Return a value as plain text: nothing that came from outside is read as markup."""
    return Text("–" if value is None else printable(str(value)))


def time_cell(value: object) -> Text:
    """Return a time to the second."""
    return cell(value and str(value)[:19].replace("T", " "))


def state_text(state: str) -> Text:
    """Return a state in its colour."""
    return Text(state, style=COLOURS.get(state, "cyan"))
