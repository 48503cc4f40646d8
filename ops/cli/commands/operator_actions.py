"""Actions of people: listed by filters, shown with their items."""

from typing import TYPE_CHECKING, Any

import click

from ops.cli.options import json_option, parse_duration
from ops.cli.output import print_result
from ops.cli.runtime import run_with_store, settings_or_exit, website_ids_or_exit

if TYPE_CHECKING:
    from consumer.store.database import Store

RESULTS = ("success", "partly", "failure", "open")
"""As in `ops.audit.trail`, which is imported only when the command runs: `--help` must not load it."""


@click.group()
def actions() -> None:
    """Actions of people: requeue, pause, redrive, suspend, … by command, API or page."""


@actions.command("list")
@click.option("--person", help="Only actions of this person: the actor, the name in it, or the proven name.")
@click.option("--action", help="Only actions of this kind, such as requeue or pause.")
@click.option("--target", help="Only actions on this: a part of the target, a message's id, a worker's id or name.")
@click.option("--website", help="Only actions on one website, by ID or SUBDOMAIN.")
@click.option(
    "--outcome", type=click.Choice(RESULTS), help="Only with this outcome; open: under way, or its process died."
)
@click.option("--since", "since_seconds", callback=parse_duration, help="Only of the last 30m, 2h, 7d, and so on.")
@click.option("--before", type=click.IntRange(1), help="Only actions with a smaller id, for the next page.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def list_actions(*, website: str | None, before: int | None, limit: int, as_json: bool, **filters: Any) -> None:
    """List actions, the latest first, one row each: who, what, why, and the outcome.

    With --json there is also the proof of who it was, and `next`, the --before of the next page. Denied attempts are in
    the audit log (PROVISIONER_AUDIT_LOG).

    \b
    Examples:
      provisioner actions list --limit 5
      provisioner actions list --person ana --action requeue --since 2h
    """
    settings = settings_or_exit()
    from ops.audit.queries import ActionFilter, find_actions
    from ops.cli.tables.operator_actions import print_actions

    async def work(store: "Store") -> dict[str, Any]:
        website_id = None if website is None else (await website_ids_or_exit(store, [website]))[0]
        return await find_actions(store, ActionFilter(website_id=website_id, **filters), before=before, limit=limit)

    print_result(run_with_store(settings, work), as_json=as_json, table=print_actions)


@actions.command("show")
@click.argument("action_id", type=click.IntRange(1))
@click.option("--after", type=click.IntRange(0), default=0, help="Only items after this number, for the next page.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="How many items at most.")
@json_option
def show_action(*, action_id: int, after: int, limit: int, as_json: bool) -> None:
    """Show one action with its items: each website, dead letter or worker, and its outcome.

    Example: provisioner actions show 42
    """
    settings = settings_or_exit()
    from ops.audit.queries import action_details
    from ops.cli.tables.operator_actions import print_action

    found = run_with_store(settings, lambda store: action_details(store, action_id, after=after, limit=limit))
    print_result(found, as_json=as_json, table=print_action)
