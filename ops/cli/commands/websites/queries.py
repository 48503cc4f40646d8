"""Websites: status, lists, explanations."""

from typing import TYPE_CHECKING, Any

import click

from consumer.domain.existing_product_states import LockedState, locked_state, our_state
from ops.cli.options import json_option
from ops.cli.output import print_result
from ops.cli.runtime import run_with_store, settings_or_exit, website_ids_or_exit
from statemachine import State

if TYPE_CHECKING:
    from consumer.store.database import Store


@click.command()
@click.argument("website")
@json_option
def status(*, website: str, as_json: bool) -> None:
    """Show one website, by ID or SUBDOMAIN: progress, checklist, missing items, history.

    Example: provisioner status sunny-meadow-42
    """
    settings = settings_or_exit()
    from ops.cli.tables.websites import print_status
    from ops.websites import queries

    async def work(store: "Store") -> dict[str, Any]:
        (website_id,) = await website_ids_or_exit(store, [website])
        details = await queries.website_details(store, website_id)
        return {name: value for name, value in details.items() if name != "owners"}

    print_result(run_with_store(settings, work), as_json=as_json, table=print_status)


@click.command("list")
@click.option("--state", type=click.Choice([state.value for state in (*State, *LockedState)]), help="Only these.")
@click.option("--on-defaults", is_flag=True, help="Only those that got defaults, or less than their seed pack has.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@json_option
def list_websites(*, state: str | None, on_defaults: bool, limit: int, as_json: bool) -> None:
    """List websites, the most recently changed first.

    \b
    Examples:
      provisioner list --state failed
      provisioner list --state live --on-defaults
    """
    settings = settings_or_exit()
    from ops.cli.tables.websites import print_websites
    from ops.websites import queries

    async def work(store: "Store") -> dict[str, Any]:
        known = (our_state(state) or locked_state(state)) if state else None
        found = await queries.list_statuses(store, known, limit, on_defaults=on_defaults)
        return {"websites": found, "states": await queries.state_counts(store)}

    result = run_with_store(settings, work)
    print_result(result["websites"] if as_json else result, as_json=as_json, table=print_websites)


@click.command()
@click.argument("website")
@json_option
def explain(*, website: str, as_json: bool) -> None:
    """Explain a website's state, by ID or SUBDOMAIN: what it waits for, and what you may do.

    Example: provisioner explain sunny-meadow-42
    """
    settings = settings_or_exit()
    from consumer.factories import make_broker, make_packs
    from ops.cli.tables.websites import print_explanation
    from ops.websites.explain import explain_website

    async def work(store: "Store") -> dict[str, Any]:
        (website_id,) = await website_ids_or_exit(store, [website])
        broker, packs = make_broker(settings), make_packs(settings)
        return await explain_website(store, broker, settings.namespace, website_id, packs)

    print_result(run_with_store(settings, work), as_json=as_json, table=print_explanation)
