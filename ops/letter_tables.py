"""What people see of dead letters on a terminal. Bodies come from strangers: nothing in them is printed raw."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from ops.printable import escaped, indented, json_text
from ops.reconsidering import WORDS, Prospect
from ops.tables import cell, console, rows_shown

LONGEST_BODY = 20_000
"""Characters of a body that a terminal is shown."""


def _typed(letter: Mapping[str, Any]) -> str:
    """Say what is wrong with a letter of which type; the errors of contracts name the type themselves."""
    error, prefix = str(letter["error"]), f"{(letter['type'] or 'no type')[:40]}: "
    return error if error.startswith(prefix) else prefix + error


def letters(found: Sequence[Mapping[str, Any]], total: int) -> None:
    """Show dead letters, out of `total`."""
    if not found:
        console.print("no dead letters")
        return
    rows = [
        (
            cell(letter["message_id"] and letter["message_id"][:36]),
            cell(letter["failed_at"] and str(letter["failed_at"])[5:19].replace("T", " ")),
            Text(escaped(letter["reason"]), style="red"),
            cell(letter["website_id"]),
            cell(_typed(letter)),
        )
        for letter in found
    ]
    rows_shown(("message id", "failed at", "reason", "website", "error"), rows)
    if len(found) < total:
        console.print(f"{len(found)} of {total} shown")
    console.print("once the cause is mended: provisioner dead-letters redrive MESSAGE_ID …, or --all")


def groups(found: Sequence[Mapping[str, Any]]) -> None:
    """Show dead letters in groups."""
    if not found:
        console.print("no dead letters")
        return
    rows = [
        (
            group["group"],
            str(group["letters"]),
            Text(escaped(group["reason"]), style="red"),
            cell(", ".join(str(kind or "no type")[:40] for kind in group["types"][:3])),
            cell(group["first_at"] and str(group["first_at"])[:19].replace("T", " ")),
            cell(group["last_at"] and str(group["last_at"])[:19].replace("T", " ")),
            cell(group["example"] and group["example"][:36]),
            cell(group["cause"]),
        )
        for group in found
    ]
    rows_shown(("group", "letters", "reason", "types", "first", "last", "example", "error"), rows)
    console.print("what would become of them: provisioner dead-letters redrive --all --group GROUP --dry-run")


def letter(found: Mapping[str, Any]) -> None:
    """Show one dead letter whole."""
    for name in ("message_id", "type", "website_id", "reason", "error", "source_queue", "failed_at", "bytes"):
        _line(name, found[name])
    _line("contract", found["contract"] or "fulfilled")
    _line("sent back", f"{WORDS[Prospect(found['prospect'])]}: {found['about']}")
    console.print(Text("headers", style="bold"))
    for name, value in sorted(found["headers"].items()):
        shown = value if isinstance(value, str) else json_text(value)
        console.print(Text(escaped(f"  {name}: {shown}")), soft_wrap=True)
    console.print(Text("body", style="bold"))
    text = f"not text, base64: {found['body_base64']}" if "body_base64" in found else indented(found["body"])
    console.print(Text(escaped(text[:LONGEST_BODY])), soft_wrap=True)
    if len(text) > LONGEST_BODY:
        console.print(f"… {len(text) - LONGEST_BODY} characters more: --json has them all")


def _line(name: str, value: Any) -> None:
    shown = "–" if value is None else escaped(str(value))
    console.print(Text.assemble((f"{name:<13}", "bold"), shown), soft_wrap=True)


def forecast(told: Mapping[str, Any]) -> None:
    """Show what dead letters would come to if they were sent back."""
    rows = [
        (cell(letter["message_id"]), cell(letter["website_id"]), Text(escaped(letter["reason"]), style="red"),
         WORDS[Prospect(letter["prospect"])], cell(letter["about"]))
        for letter in told["letters"][:50]
    ]  # fmt: skip
    if rows:
        rows_shown(("message id", "website", "died of", "would be", "error"), rows)
    if len(told["letters"]) > len(rows):
        console.print(f"{len(rows)} of {len(told['letters'])} shown")
    console.print(cell(told["summary"]))
    console.print("nothing was sent: this was a dry run")
