"""What people see on a terminal. Knows no database and no broker."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

console = Console()

COLOURS = {"live": "green", "failed": "red", "rejected": "red", "suspended": "yellow", "terminated": "dim"}


def state_text(state: str) -> Text:
    """Return a state in its colour."""
    return Text(state, style=COLOURS.get(state, "cyan"))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


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
    log = _table("seq", "when", "trigger", "from", "to", "actor", "reason or error")
    for row in told["history"]:
        fallback = row["fallback"]
        notes = [row["reason"], row["error"], fallback and f"pack {fallback['pack']}: {fallback['reason']}"]
        log.add_row(
            str(row["seq"]),
            str(row["occurred_at"])[:19].replace("T", " "),
            row["trigger"],
            row["from_state"],
            state_text(row["to_state"]),
            _cell(row["actor"]),
            _cell("; ".join(note for note in notes if note)),
        )
    console.print(log if told["history"] else "no transitions yet")


def websites(result: Mapping[str, Any]) -> None:
    """Show a list of websites, and how many are in each state."""
    table = _table("id", "subdomain", "state", "progress", "attempts", "error")
    for told in result["websites"]:
        table.add_row(
            str(told["website_id"]),
            _cell(told["subdomain"]),
            state_text(told["state"]),
            _cell(told["progress"]),
            str(told["attempts"] or ""),
            _cell(told["error"] or told["attempt_error"] or ""),
        )
    console.print(table)
    console.print(counts(result["states"]))


def counts(states: Mapping[str, int]) -> Text:
    """Return the states that have websites, as one line."""
    line = Text()
    for state, count in states.items():
        if count:
            line.append_text(state_text(state)).append(f" {count}   ")
    return line or Text("no websites")


def sent(trigger: str, results: Sequence[Mapping[str, Any]]) -> None:
    """Show which websites a command was sent to."""
    taken = [result for result in results if result["sent"]]
    for result in results:
        if not result["sent"]:
            console.print(_cell(f"website {result['website_id']}: not sent, {result['why']}"))
    if not results:
        console.print("no website to send it to")
    elif len(taken) == 1:
        console.print(f"{trigger} sent to website {taken[0]['website_id']}; see `provisioner status`")
    elif taken:
        console.print(f"{trigger} sent to {len(taken)} websites; see `provisioner list`")


def dead_letters(letters: Sequence[Mapping[str, Any]]) -> None:
    """Show dead letters."""
    if not letters:
        console.print("no dead letters")
        return
    table = _table("failed at", "reason", "type", "website", "message id", "error")
    for letter in letters:
        table.add_row(
            _cell(letter["failed_at"] and str(letter["failed_at"])[:19].replace("T", " ")),
            Text(letter["reason"], style="red"),
            _cell(letter["type"] and letter["type"][:40]),
            _cell(letter["website_id"]),
            _cell(letter["message_id"] and letter["message_id"][:36]),
            _cell(letter["error"]),
        )
    console.print(table)
