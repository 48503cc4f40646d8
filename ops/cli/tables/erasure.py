"""What an erasure removed, or would remove, on a terminal."""

from collections.abc import Mapping
from typing import Any

from ops.cli.tables.columns import cell, console

PRODUCTS = "users, memberships and agencies are the product's, and stay: erase them there"


def erasure_summary(result: Mapping[str, Any]) -> str:
    """Return in one line what is erased."""
    websites = result["websites"]
    parts = (
        f"{sum(each['request'] or each['owner_email'] for each in websites)} of {len(websites)} websites' owners",
        f"{sum(each['log_rows'] for each in websites)} rows of history",
        f"{result['actions'] + sum(each['actions'] for each in websites)} actions",
        f"{len(result['dead_letters'])} dead letters",
    )
    return f"what is kept in {', '.join(parts)}"


def print_erasure(result: Mapping[str, Any]) -> None:
    """Print what an erasure removed or would remove, website by website, and what stays."""
    for each in result["websites"]:
        console.print(
            cell(
                f"website {each['website_id']} ({each['state'] or 'not there any more'}): "
                f"request {_yes(each['request'])}, owner_email {_yes(each['owner_email'])}, "
                f"rows of history: {each['log_rows']}, actions: {each['actions']}"
            )
        )
        if each["owner_email_stays"]:
            console.print("  its owner_email stays: the product wrote it")
    if not result["websites"]:
        console.print("no website has this owner")
    console.print(f"actions with an address: {result['actions']}; dead letters: {len(result['dead_letters'])}")
    console.print(PRODUCTS)
    console.print("nothing was erased: this was a dry run" if result["dry_run"] else "erased")


def _yes(removed: object) -> str:
    return "yes" if removed else "nothing to erase"
