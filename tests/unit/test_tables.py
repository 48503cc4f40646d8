"""Tables on a terminal: whatever its width, no cell is cut."""

import io
from collections.abc import Sequence

import pytest
from rich.console import Console
from rich.text import Text

from ops.cli.tables import columns as columns_module
from ops.cli.tables import overview as overview_module
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


@pytest.mark.parametrize("width", [50, 80, 10_000])
def test_an_overview_fits_and_is_whole(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """No line is longer than the terminal, and each word stands there, however long a finding is."""
    finding = "2 failures; broker: topology: " + "queue provisioning.commands is missing, " * 5
    items = [
        {"name": name, "level": "fail", "label": label, "text": text, "next": "`provisioner init`"}
        for name, label, text in (("dead_letters", "dead letters", "1002003004005"), ("doctor", "doctor", finding))
    ]
    out = io.StringIO()
    monkeypatch.setattr(overview_module, "console", Console(width=width, file=out, color_system=None))
    overview_module.print_overview({"at": "2026-11-30T12:00:01+00:00", "items": items})
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert " ".join(text.split()).count("1002003004005 next: `provisioner init`") == 1
    assert text.split().count("provisioning.commands") == 5
    assert "2026-11-30 12:00:01 UTC" in text
    assert len(text.splitlines()) == 3 or width < 10_000
