"""Actions of people, on a terminal."""

from collections.abc import Mapping
from typing import Any

from ops.cli.tables.columns import cell, console, print_rows, time_cell


def print_actions(page: Mapping[str, Any]) -> None:
    """Print a page of actions, and the option that shows the next page."""
    rows = [
        (
            cell(action["id"]),
            time_cell(action["occurred_at"]),
            cell(action["actor"]),
            cell(action["verb"]),
            cell(about(action)),
            cell("; ".join(filter(None, (action["reason"], outcome_text(action))))),
        )
        for action in page["items"]
    ]  # fmt: skip
    print_rows(("id", "when", "actor", "verb", "about", "reason or error"), rows, "no actions")
    if page["next"]:
        console.print(cell(f"{len(rows)} of {page['total']}; next page: --before {page['next']}"))


def print_action(action: Mapping[str, Any]) -> None:
    """Print one action with its items."""
    proved = ", ".join(filter(None, (action["person"], action["proof"]))) or "not kept"
    for name, value in (
        ("action", f"{action['id']}, {action['verb']}"), ("about", about(action)), ("actor", action["actor"]),
        ("proved by", proved), ("reason", action["reason"]), ("outcome", outcome_text(action)),
        ("when", str(action["occurred_at"])[:19]),
        *((name, value) for name, value in sorted(action["detail"].items())),
    ):  # fmt: skip
        console.print(cell(f"{name + ':':<12}{'–' if value is None else value}"), soft_wrap=True)
    rows = [
        (cell(item["item"]), cell(item["website_id"]), cell(item["message_id"]), cell(item["outcome"] or "not known"))
        for item in action["results"]
    ]
    if rows:
        print_rows(("item", "website", "message", "reason or error"), rows)
    if action["next"]:
        console.print(cell(f"{action['items']} items; next page: --after {action['next']}"))


def about(action: Mapping[str, Any]) -> object:
    """Return what an action acted on; rows from before version 0.2.0 name a message or a website."""
    detail = action["detail"]
    named = action["target"] or action["message_id"] or action["website_id"]
    return named or detail.get("name") or detail.get("worker")


def outcome_text(action: Mapping[str, Any]) -> str:
    """Return the outcome of an action, in words."""
    return str(action["outcome"] or "outcome not known")
