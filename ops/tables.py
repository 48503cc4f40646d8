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


def rows_shown(columns: Sequence[str], rows: Sequence[Sequence[Text | str]]) -> None:
    """Show a table whose last column is a remark; in the first is what a line about it begins with."""
    wide = console.width >= WIDE
    table = _table(*(columns if wide else columns[:-1]))
    for row in rows:
        table.add_row(*(row if wide else row[:-1]))
    console.print(table)
    for first, *_, remark in rows if not wide else ():
        if remark:
            console.print(Text.assemble("  ", columns[0], " ", first, ": ", remark))


def cell(value: Any) -> Text:
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
    console.print(cell(told["message"]))
    if told["error"]:
        console.print(Text("error: ", style="red").append_text(cell(told["error"])))
    if told["attempts"]:
        console.print(
            cell(
                f"attempt {told['attempts']} did not succeed ({told['attempt_error']}); next {told['next_attempt_at']}"
            )
        )
    console.print()
    table = _table("requirement", "complete", "have")
    for key, entry in told["checklist"].items():
        have = entry.get("value", entry.get("count", ""))
        mark = "yes" if entry["complete"] else "no" + ("" if entry["required"] else " (not needed)")
        table.add_row(key, mark, cell(have))
    console.print(table)
    if told["missing"]:
        console.print(cell(f"missing: {', '.join(told['missing'])}"))
    console.print()
    rows = []
    for row in told["history"]:
        fallback = row["fallback"]
        notes = [row["reason"], row["error"], fallback and f"pack {fallback['pack']}: {fallback['reason']}"]
        when = str(row["occurred_at"])[:19].replace("T", " ")
        remark = cell("; ".join(note for note in notes if note))
        rows.append((str(row["seq"]), when, row["trigger"], state_text(row["to_state"]), cell(row["actor"]), remark))
    if rows:
        rows_shown(("seq", "when", "trigger", "to", "actor", "reason or error"), rows)
    else:
        console.print("no transitions yet")


def websites(result: Mapping[str, Any]) -> None:
    """Show a list of websites, and how many are in each state."""
    rows = [
        (
            str(told["website_id"]),
            cell(told["subdomain"]),
            state_text(told["state"]),
            cell(told["progress"]),
            str(told["attempts"] or ""),
            cell(told["error"] or told["attempt_error"] or ""),
        )
        for told in result["websites"]
    ]
    rows_shown(("id", "subdomain", "state", "progress", "attempts", "error"), rows)
    console.print(counts(result["states"]))


def counts(states: Mapping[str, int]) -> Text:
    """Return the states that have websites, as one line."""
    line = Text()
    for state, count in states.items():
        if count:
            line.append_text(state_text(state)).append(f" {count}   ")
    return line or Text("no websites")


def sent(verb: str, results: Sequence[Mapping[str, Any]]) -> None:
    """Show which websites a command was sent to."""
    taken = [result for result in results if result["sent"]]
    for result in results:
        if not result["sent"]:
            console.print(cell(f"website {result['website_id']}: not sent, {result['why']}"))
    if not results:
        console.print("no failed website is meant; nothing was sent")
    elif len(taken) == 1:
        console.print(f"{verb} sent to website {taken[0]['website_id']}; see `provisioner status`")
    elif taken:
        console.print(f"{verb} sent to {len(taken)} websites; see `provisioner list`")


def explanation(told: Mapping[str, Any]) -> None:
    """Show why a website is where it is."""
    status = told["status"]
    head = Text(f"website {status['website_id']}  {status['subdomain'] or '(no subdomain)'}  ")
    console.print(head.append_text(state_text(status["state"])).append(f"  seq {status['seq']}"))
    if waits := told["waits_for"]:
        console.print(Text.assemble(("waits for  ", "bold"), waits["kind"], ": ", cell(waits["why"])))
        if "statement" in waits:
            console.print(Text.assemble("  its statement: ", cell(waits["statement"])))
    if error := told["last_error"]:
        tries = f"{error['attempts']} attempts, the last " if error["attempts"] else ""
        tries = f" ({tries}{str(error['at'])[:19].replace('T', ' ')})"
        console.print(Text.assemble(("last error  ", "bold"), cell(error["error"]), tries))
    if guard := told["guard"]:
        step = Text.assemble(("next step  ", "bold"), guard["trigger"], " from ", guard["from"], ", which needs ")
        console.print(step.append(", ".join(need["key"] for need in guard["needs"]) or "nothing but its turn"))
    for need in told["requirements"]:
        have = need.get("value", need.get("count", "yes" if need["met"] else "none"))
        least = f", need {need['minimum']}" if "minimum" in need else "" if need["required"] else ", not needed"
        mark = ("yes", "green") if need["met"] else ("no ", "red" if need["required"] else "dim")
        console.print(Text.assemble("  ", mark, f"  {need['key']}: have ", cell(have), least))
    for verb in told["may"]:
        line = Text.assemble("  ", (f"{verb['verb']:<11}", "bold" if verb["works"] else "dim"), "would ", verb["would"])
        console.print(line)
    if not told["may"]:
        console.print("there is nothing that an operator may do with it now")
    if told["dead_letters"] is None:
        console.print("RabbitMQ does not answer: its dead letters are not known", style="yellow")
    for letter in told["dead_letters"] or ():
        console.print(cell(f"dead letter {letter['message_id']}: {letter['reason']}: {letter['error']}"))


def failure_groups(groups: Sequence[Mapping[str, Any]]) -> None:
    """Show failed websites in groups."""
    if not groups:
        console.print("no website is failed")
        return
    rows = [
        (
            Text(group["group"], style="bold"),
            str(group["websites"]),
            cell(", ".join(f"{state} {count}" for state, count in group["failed_from"].items())),
            cell(str(group["first_at"])[:19].replace("T", " ")),
            cell(str(group["last_at"])[:19].replace("T", " ")),
            str(group["example"]),
            cell(group["cause"]),
        )
        for group in groups
    ]
    rows_shown(("group", "websites", "failed from", "first", "last", "example", "error"), rows)
    console.print("what would become of them: provisioner requeue --failed --group GROUP --dry-run")


def failure_group(told: Mapping[str, Any]) -> None:
    """Show one group, and the websites in it that failed first."""
    failure_groups([told])
    console.print()
    rows = [
        (str(one["website_id"]), cell(one["subdomain"]), cell(one["failed_at"]), cell(one["error"]))
        for one in told["first"]
    ]
    rows_shown(("id", "subdomain", "failed at", "error"), rows)


def forecast(told: Mapping[str, Any]) -> None:
    """Show what a requeue would come to."""
    console.print(cell(told["summary"]))
    for remark in told["remarks"]:
        console.print(Text("  ").append_text(cell(remark)))
    console.print("nothing was sent: this was a dry run")
