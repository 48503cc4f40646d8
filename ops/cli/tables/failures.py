"""Tables of failed websites: groups, one group, the forecast of a requeue."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from ops.cli.tables.columns import cell, console, print_rows, time_cell


def print_failure_groups(groups: Sequence[Mapping[str, Any]]) -> None:
    """Print failed websites in groups."""
    if not groups:
        console.print("no website is failed")
        return
    rows = [
        (
            Text(group["group"], style="bold"),
            str(group["websites"]),
            cell(", ".join(f"{state} {count}" for state, count in group["failed_from"].items())),
            time_cell(group["first_at"]),
            time_cell(group["last_at"]),
            str(group["example"]),
            cell(group["cause"]),
        )
        for group in groups
    ]
    print_rows(("group", "websites", "failed from", "first", "last", "example", "error"), rows)
    console.print("to see what a requeue would come to: provisioner requeue --failed --group GROUP --dry-run")


def print_failure_group(group: Mapping[str, Any]) -> None:
    """Print one group, and the websites in it that failed first."""
    print_failure_groups([group])
    console.print()
    rows = [
        (str(status["website_id"]), cell(status["subdomain"]), cell(status["failed_at"]), cell(status["error"]))
        for status in group["first"]
    ]
    print_rows(("id", "subdomain", "failed at", "error"), rows)


def print_requeue_forecast(forecast: Mapping[str, Any]) -> None:
    """Print what a requeue would come to."""
    console.print(cell(forecast["summary"]))
    for remark in forecast["remarks"]:
        console.print(Text("  ").append_text(cell(remark)))
    console.print("nothing was sent: this was a dry run")
