"""Dead letters on a terminal. Their text comes from anywhere: nothing in it is printed raw."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from consumer.messages.foreign_text import printable
from ops.cli.tables.columns import cell, console, print_rows, time_cell
from ops.dead_letters.redrive_forecast import PROSPECT_TEXTS, RedriveProspect
from ops.dead_letters.table_refresh import Reading
from ops.text.printable import escaped, indented, json_text

MAX_BODY_CHARACTERS = 20_000
"""Characters of a body that are printed."""
MAX_FORECASTS = 50


def print_dead_letters(summaries: Sequence[Mapping[str, Any]], total: int, reading: Reading) -> None:
    """Print dead letters, out of `total`, and when they were read."""
    if not summaries:
        console.print(f"no dead letters ({_read_at(reading)})")
        return
    rows = [
        (
            cell(summary["message_id"] and summary["message_id"][:36]),
            cell(summary["failed_at"] and str(summary["failed_at"])[5:19].replace("T", " ")),
            _reason(summary),
            cell(summary["website_id"]),
            cell(_error_with_type(summary)),
        )
        for summary in summaries
    ]
    print_rows(("message id", "failed at", "reason", "website", "error"), rows)
    console.print(f"{len(summaries)} of {total} shown, {_read_at(reading)}")
    console.print("once the cause is fixed: provisioner dead-letters redrive MESSAGE_ID …, or --all")


def print_groups(groups: Sequence[Mapping[str, Any]], reading: Reading) -> None:
    """Print dead letters in groups, and when they were read."""
    if not groups:
        console.print(f"no dead letters ({_read_at(reading)})")
        return
    rows = [
        (
            group["group"],
            str(group["letters"]),
            _reason(group),
            cell(", ".join(str(kind or "no type")[:40] for kind in group["types"][:3])),
            time_cell(group["first_at"]),
            time_cell(group["last_at"]),
            cell(group["example"] and group["example"][:36]),
            cell(group["cause"]),
        )
        for group in groups
    ]
    print_rows(("group", "dead letters", "reason", "types", "first", "last", "example", "error"), rows)
    console.print(_read_at(reading))
    console.print("to see what a redrive would come to: provisioner dead-letters redrive --all --group GROUP --dry-run")


def print_dead_letter(record: Mapping[str, Any]) -> None:
    """Print one dead letter with its headers and body."""
    for name in ("message_id", "type", "website_id", "reason", "error", "source_queue", "failed_at", "bytes"):
        _print_line(name, record[name])
    _print_line("contract", record["contract"] or "fulfilled")
    _print_line("sent back", f"{PROSPECT_TEXTS[RedriveProspect(record['prospect'])]}: {record['about']}")
    console.print(Text("headers", style="bold"))
    for name, value in sorted(record["headers"].items()):
        text = value if isinstance(value, str) else json_text(value)
        console.print(Text(printable(f"  {name}: {text}")), soft_wrap=True)
    console.print(Text("body", style="bold"))
    text = f"not text, base64: {record['body_base64']}" if "body_base64" in record else indented(record["body"])
    console.print(Text(escaped(text[:MAX_BODY_CHARACTERS])), soft_wrap=True)
    if len(text) > MAX_BODY_CHARACTERS:
        console.print(f"… {len(text) - MAX_BODY_CHARACTERS} characters more: --json has them all")


def print_redrive_forecast(forecast: Mapping[str, Any]) -> None:
    """Print what redriven dead letters would come to."""
    rows = [
        (cell(each["message_id"]), cell(each["website_id"]), _reason(each),
         PROSPECT_TEXTS[RedriveProspect(each["prospect"])], cell(each["about"]))
        for each in forecast["letters"][:MAX_FORECASTS]
    ]  # fmt: skip
    if rows:
        print_rows(("message id", "website", "dead-lettered for", "would be", "error"), rows)
    if len(forecast["letters"]) > len(rows):
        console.print(f"{len(rows)} of {len(forecast['letters'])} shown")
    console.print(cell(forecast["summary"]))
    console.print("nothing was sent: this was a dry run")


def _read_at(reading: Reading) -> str:
    """Return when a list was read, and by whom."""
    return printable(f"read at {reading.began_at:%H:%M:%S} UTC by {reading.read_by}")


def _reason(summary: Mapping[str, Any]) -> Text:
    return Text(printable(str(summary["reason"])), style="red")


def _error_with_type(summary: Mapping[str, Any]) -> str:
    """Return a dead letter's error after its message type; the errors of contracts begin with the type themselves."""
    error, prefix = str(summary["error"]), f"{(summary['type'] or 'no type')[:40]}: "
    return error if error.startswith(prefix) else prefix + error


def _print_line(name: str, value: Any) -> None:
    text = "–" if value is None else printable(str(value))
    console.print(Text.assemble((f"{name:<13}", "bold"), text), soft_wrap=True)
