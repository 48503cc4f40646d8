"""Tables of signups that were published, and of what they came to."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from ops.cli.tables.columns import cell, console, state_text

MAX_SHOWN = 20


def print_submitted(bodies: Sequence[Mapping[str, Any]]) -> None:
    """Print signups that were published."""
    for body in bodies[:MAX_SHOWN]:
        console.print(cell(f"published website.created for website {body['website_id']} {body.get('subdomain', '')}"))
    if len(bodies) > MAX_SHOWN:
        console.print(f"… and {len(bodies) - MAX_SHOWN} more")


def print_waited(results: Sequence[Mapping[str, Any]]) -> None:
    """Print what became of signups: the URL, or the errors and what is missing."""
    for result in results:
        line = Text(f"website {result['website_id']}: ").append_text(state_text(result["state"]))
        if result["state"] == "live":
            line.append_text(cell(f"  {result['url']}"))
        if result.get("error"):
            line.append_text(cell(f"  {result['error']}"))
        if result["state"] != "live" and result.get("missing"):
            line.append(f"  missing: {', '.join(result['missing'])}")
        console.print(line)
