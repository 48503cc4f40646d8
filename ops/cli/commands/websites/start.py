"""Starts websites that nothing is under way for: named ones, or all that are asleep."""

import sys
from typing import TYPE_CHECKING, Any

import click

from ops.cli.options import actor_option, json_option
from ops.cli.output import fail, print_result, progress_line
from ops.cli.runtime import run_with_store, settings_or_exit, website_ids_or_exit
from ops.errors import EXIT_FAILED, EXIT_USAGE

if TYPE_CHECKING:
    from consumer.store.database import Store


@click.command()
@click.argument("websites", nargs=-1)
@click.option("--asleep", is_flag=True, help="All that have a step before them which nothing sends.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100_000, help="So many of --asleep at most, by id.")
@click.option("--dry-run", is_flag=True, help="Send nothing; print what a start would do to each.")
@click.option("--reason", help="Why; is recorded among the actions (`actions list`).")
@actor_option
@json_option
def start(
    *, websites: tuple[str, ...], asleep: bool, limit: int, dry_run: bool, reason: str | None, actor: str, as_json: bool
) -> None:
    """Start websites that nothing is under way for, by ID or SUBDOMAIN, or all with --asleep.

    For those that the existing product has moved by itself, or that were on their way before the first `init`. Each
    takes the step that it has before it, once the guards of the states before are proven: one that lacks what its state
    says fails, as --dry-run says. Running it again does no harm: what is under way is left alone.

    \b
    Examples:
      provisioner start sunny-meadow-42 --dry-run
      provisioner start --asleep --limit 20 --reason "the first twenty"
    """
    if bool(websites) == asleep:
        fail("name websites or say --asleep" + (", not both" if asleep else ""), EXIT_USAGE)
    settings = settings_or_exit()
    from consumer.factories import make_broker, make_packs
    from ops.audit.identity_proof import local_proof
    from ops.cli.tables.websites import print_sent, print_start_plan
    from ops.websites.start_asleep import asleep_website_ids, plan_start, start_websites

    async def work(store: "Store") -> list[dict[str, Any]]:
        named = await website_ids_or_exit(store, websites, "; nothing was sent")
        ids = await asleep_website_ids(store, limit) if asleep else named
        if dry_run:
            return await plan_start(store, make_packs(settings), ids)
        with progress_line() as progress:
            broker = make_broker(settings)
            return await start_websites(
                store, broker, settings.namespace, ids,
                actor=actor, reason=reason, proof=local_proof(settings), progress=progress,
            )  # fmt: skip

    results = run_with_store(settings, work)
    if dry_run:
        print_result(results, as_json=as_json, table=print_start_plan)
        return
    print_result(results, as_json=as_json, table=lambda found: print_sent("start", found, "no website is asleep"))
    if any(not result["sent"] for result in results):
        sys.exit(EXIT_FAILED)
