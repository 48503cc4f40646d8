"""What all tables share: the console, cells, states in colour, and columns that fit the terminal. Knows no database.

Nothing is ever cut: a table that is wider than the terminal is printed as cards, a line for each of a row's cells.
"""

import sys
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumer.messages.foreign_text import printable

console = Console(width=None if sys.stdout.isatty() else 10_000)
"""The terminal; nothing is wrapped or cut for a program that reads standard output."""
WIDE_COLUMNS = 120
"""Columns from which on a remark has its place in the table; below, it gets a line of its own under it."""
REMARKS = ("error", "reason or error")
MIN_REMARK_COLUMNS = 30
COLUMN_GAP = 2
COLOURS = {"live": "green", "failed": "red", "rejected": "red", "suspended": "yellow", "terminated": "dim"}


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[Text | str]], empty: str | None = None) -> None:
    """Print a table whose last column is a remark; where that has a line of its own, it begins with the first cell.

    `empty` is printed instead of a table without rows.
    """
    if empty is not None and not rows:
        console.print(empty)
        return
    if console.width >= WIDE_COLUMNS:
        print_table(columns, rows)
        return
    if not _fits(columns[:-1], [row[:-1] for row in rows]):
        _print_cards(columns, rows)
        return
    print_table(columns[:-1], [row[:-1] for row in rows])
    for first, *_, remark in rows:
        if remark:
            console.print(Text.assemble("  ", columns[0], " ", first, ": ", remark))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Text | str]]) -> None:
    """Print a table, of which only remarks are wrapped; as cards where it does not fit the terminal."""
    if not _fits(columns, rows):
        _print_cards(columns, rows)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column not in REMARKS, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _fits(columns: Sequence[str], rows: Sequence[Sequence[Text | str]]) -> bool:
    """Say whether every cell has room beside the others; a remark, which is wrapped, needs only some."""
    widths = [cell_len(column) for column in columns]
    for row in rows:
        widths = [max(width, cell_len(str(each))) for width, each in zip(widths, row, strict=True)]
    needed = [
        min(width, MIN_REMARK_COLUMNS) if column in REMARKS else width
        for column, width in zip(columns, widths, strict=True)
    ]
    return sum(needed) + COLUMN_GAP * (len(columns) - 1) <= console.width


def _print_cards(columns: Sequence[str], rows: Sequence[Sequence[Text | str]]) -> None:
    """Print each row as a block, a line for each cell that is not empty, and a blank line between two."""
    width = max(map(cell_len, columns)) + 1
    for place, row in enumerate(rows):
        if place:
            console.print()
        for column, each in zip(columns, row, strict=True):
            if str(each):
                console.print(Text.assemble((f"{column:<{width}}", "bold"), each), soft_wrap=True)


def cell(value: Any) -> Text:
    """Return a value as plain text: nothing that came from outside is read as markup."""
    return Text("–" if value is None else printable(str(value)))


def time_cell(value: object) -> Text:
    """Return a time to the second."""
    return cell(value and str(value)[:19].replace("T", " "))


def state_text(state: str) -> Text:
    """Return a state in its colour."""
    return Text(state, style=COLOURS.get(state, "cyan"))
