"""Tables on a terminal: whatever its width, no cell is cut."""

import io
from collections.abc import Sequence

import pytest
from rich.console import Console
from rich.text import Text

from ops.cli.tables import columns as columns_module
from ops.cli.tables.columns import print_rows, print_table

COLUMNS = ("group", "websites", "failed from", "first", "example", "error")
ROWS = [
    ("1f2e3d4c", "500", "owner_assigned 480, links_created 20", "2026-11-30 10:00:00", "7", "need at least 3, have 2"),
    ("5b6a7988", "5", "pending 5", "2026-11-30 10:00:01", "1002003004005", "the pack «villa» is not there " * 4),
]
IDS = [("b6f0a1de-6a0f-4b0e-9c4e-0a7d0f4f3c55", "日本語の宿", "3"), ("7", "", "12")]


def printed(monkeypatch: pytest.MonkeyPatch, width: int, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return what `print_rows` prints on a terminal of this width."""
    out = io.StringIO()
    monkeypatch.setattr(columns_module, "console", Console(width=width, file=out, color_system=None))
    print_rows(columns, [[Text(cell) for cell in row] for row in rows])
    return out.getvalue()


@pytest.mark.parametrize("width", [30, 50, 80, 100, 119, 120, 200, 10_000])
def test_no_cell_is_cut(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """At every width each word of each cell stands there as often as it is in the rows, and none is shortened."""
    text = printed(monkeypatch, width, COLUMNS, ROWS)
    assert "…" not in text
    for row in ROWS:
        for word in " ".join(row).split():
            assert word in text, f"{word} at {width} columns"
    assert text.split().count("500") == 1
    assert text.split().count("1002003004005") >= 1


@pytest.mark.parametrize(("width", "cards"), [(30, True), (50, True), (100, False), (200, False)])
def test_what_does_not_fit_becomes_cards(monkeypatch: pytest.MonkeyPatch, width: int, cards: bool) -> None:
    """A card has a line for each cell that is not empty, with its column's name before it."""
    columns = ("message id", "subdomain", "seq")
    out = io.StringIO()
    monkeypatch.setattr(columns_module, "console", Console(width=width, file=out, color_system=None))
    print_table(columns, IDS)
    lines = out.getvalue().splitlines()
    if cards:
        assert lines == [
            "message id b6f0a1de-6a0f-4b0e-9c4e-0a7d0f4f3c55",
            "subdomain  日本語の宿",
            "seq        3",
            "",
            "message id 7",
            "seq        12",
        ]
    else:
        assert lines[0].split() == ["message", "id", "subdomain", "seq"]
        assert len(lines) == 1 + len(IDS)
