"""The overview on a terminal: a line an item, renewed in place while it is watched."""

from collections.abc import Mapping
from typing import Any, Self

from rich.live import Live
from rich.table import Table

from ops.cli.tables.columns import cell, console

STYLES = {"ok": "green", "unknown": "cyan", "warn": "yellow", "fail": "bold red"}


def print_overview(overview: Mapping[str, Any]) -> None:
    """Print the overview."""
    console.print(_rows(overview))


class OverviewScreen:
    """Shows one overview after another: in place on a terminal, else as blocks with a blank line between two."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._live = (
            Live(console=console, auto_refresh=False, vertical_overflow="visible") if console.is_terminal else None
        )
        self._shown = False

    def __enter__(self) -> Self:
        """Take the terminal."""
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it is, with the last overview on it."""
        if self._live:
            self._live.stop()

    def show(self, overview: Mapping[str, Any]) -> None:
        """Show an overview in place of the last."""
        if self._live:
            self._live.update(_rows(overview), refresh=True)
            return
        if self._shown:
            console.print()
        self._shown = True
        console.print(_rows(overview))
        console.file.flush()


def _rows(overview: Mapping[str, Any]) -> Table:
    """Return a line for each item: label, text, and what to do next; nothing is cut, long texts are wrapped."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(no_wrap=True, style="bold")
    rows.add_column(overflow="fold")
    for item in overview["items"]:
        text = cell(item["text"])
        text.stylize(STYLES[item["level"]])
        if item["next"]:
            text.append("  next: ", style="dim").append_text(cell(item["next"]))
        rows.add_row(cell(item["label"]), text)
    rows.add_row("as of", cell(f"{overview['at'][:19].replace('T', ' ')} UTC"))
    return rows
