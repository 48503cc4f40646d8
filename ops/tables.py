"""What people see on a terminal. Knows no database and no broker."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

console = Console(width=None if sys.stdout.isatty() else 10_000)
"""Nothing is wrapped or cut for a program that reads what people would."""
WIDE = 120
"""Columns from which on a remark has its place in the table; below, it gets a line of its own under it."""

REMARKS = ("error", "reason or error")
COLOURS = {"live": "green", "failed": "red", "rejected": "red", "suspended": "yellow", "terminated": "dim"}


def state_text(state: str) -> Text:
    """Return a state in its colour."""
    return Text(state, style=COLOURS.get(state, "cyan"))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column not in REMARKS, overflow="fold")
    return table


def _show(columns: Sequence[str], rows: Sequence[Sequence[Text | str]]) -> None:
    """Show a table whose last column is a remark; in the first is what a line about it begins with."""
    wide = console.width >= WIDE
    table = _table(*(columns if wide else columns[:-1]))
    for row in rows:
        table.add_row(*(row if wide else row[:-1]))
    console.print(table)
    for first, *_, remark in rows if not wide else ():
        if remark:
            console.print(Text.assemble("  ", columns[0], " ", first, ": ", remark))


def _cell(value: Any) -> Text:
    """Return a value as plain text: nothing that came from outside is read as markup."""
    return Text("–" if value is None else "".join(c if c.isprintable() else "?" for c in str(value)))


def submitted(bodies: Sequence[Mapping[str, Any]]) -> None:
    """Show signups that were published."""
    for body in bodies[:20]:
        console.print(
            f"published website.created for website {body['website_id']} {body.get('subdomain', '')}", markup=False
        )
    if len(bodies) > 20:  # noqa: PLR2004 - a screenful
        console.print(f"… and {len(bodies) - 20} more")


def waited(results: Sequence[Mapping[str, Any]]) -> None:
    """Show what became of signups: the URL, or the errors and what is missing."""
    for result in results:
        line = Text(f"website {result['website_id']}: ").append_text(state_text(result["state"]))
        if result["state"] == "live":
            line.append(f"  {result['url']}")
        if result.get("error"):
            line.append(f"  {result['error']}")
        if result["state"] != "live" and result.get("missing"):
            line.append(f"  missing: {', '.join(result['missing'])}")
        console.print(line)


def status(told: Mapping[str, Any]) -> None:
    """Show one website."""
    percent = "" if told["progress"] is None else f"  {told['progress']} %"
    head = Text(f"website {told['website_id']}  {told['subdomain'] or '(no subdomain)'}  ")
    console.print(head.append_text(state_text(told["state"])).append(percent))
    console.print(_cell(told["message"]))
    if told["error"]:
        console.print(Text("error: ", style="red").append_text(_cell(told["error"])))
    if told["attempts"]:
        console.print(
            _cell(
                f"attempt {told['attempts']} did not succeed ({told['attempt_error']}); next {told['next_attempt_at']}"
            )
        )
    console.print()
    table = _table("requirement", "complete", "have")
    for key, entry in told["checklist"].items():
        have = entry.get("value", entry.get("count", ""))
        mark = "yes" if entry["complete"] else "no" + ("" if entry["required"] else " (not needed)")
        table.add_row(key, mark, _cell(have))
    console.print(table)
    if told["missing"]:
        console.print(_cell(f"missing: {', '.join(told['missing'])}"))
    console.print()
    rows = []
    for row in told["history"]:
        fallback = row["fallback"]
        notes = [row["reason"], row["error"], fallback and f"pack {fallback['pack']}: {fallback['reason']}"]
        when = str(row["occurred_at"])[:19].replace("T", " ")
        remark = _cell("; ".join(note for note in notes if note))
        rows.append((str(row["seq"]), when, row["trigger"], state_text(row["to_state"]), _cell(row["actor"]), remark))
    if rows:
        _show(("seq", "when", "trigger", "to", "actor", "reason or error"), rows)
    else:
        console.print("no transitions yet")


def websites(result: Mapping[str, Any]) -> None:
    """Show a list of websites, and how many are in each state."""
    rows = [
        (
            str(told["website_id"]),
            _cell(told["subdomain"]),
            state_text(told["state"]),
            _cell(told["progress"]),
            str(told["attempts"] or ""),
            _cell(told["error"] or told["attempt_error"] or ""),
        )
        for told in result["websites"]
    ]
    _show(("id", "subdomain", "state", "progress", "attempts", "error"), rows)
    console.print(counts(result["states"]))


def counts(states: Mapping[str, int]) -> Text:
    """Return the states that have websites, as one line."""
    line = Text()
    for state, count in states.items():
        if count:
            line.append_text(state_text(state)).append(f" {count}   ")
    return line or Text("no websites")


def sent(verb: str, results: Sequence[Mapping[str, Any]], every: str | None) -> None:
    """Show which websites a command was sent to; `every`: all in that state were meant."""
    taken = [result for result in results if result["sent"]]
    for result in results:
        if not result["sent"]:
            console.print(_cell(f"website {result['website_id']}: not sent, {result['why']}"))
    if not results:
        console.print(f"no website is {every}; nothing was sent")
    elif len(taken) == 1:
        console.print(f"{verb} sent to website {taken[0]['website_id']}; see `provisioner status`")
    elif taken:
        console.print(f"{verb} sent to {len(taken)} websites; see `provisioner list`")


def dead_letters(letters: Sequence[Mapping[str, Any]], total: int) -> None:
    """Show dead letters, out of `total`."""
    if not letters:
        console.print("no dead letters")
        return
    rows = [
        (
            _cell(letter["message_id"] and letter["message_id"][:36]),
            _cell(letter["failed_at"] and str(letter["failed_at"])[5:19].replace("T", " ")),
            Text(letter["reason"], style="red"),
            _cell(letter["website_id"]),
            _cell(f"{(letter['type'] or 'no type')[:40]}: {letter['error']}"),
        )
        for letter in letters
    ]
    _show(("message id", "failed at", "reason", "website", "error"), rows)
    if len(letters) < total:
        console.print(f"{len(letters)} of {total} shown")
    console.print("once the cause is mended: provisioner dead-letters redrive MESSAGE_ID …, or --all")
