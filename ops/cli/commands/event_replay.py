"""Events: replayed for subscribers who have lost theirs."""

import sys
from typing import TYPE_CHECKING, Any

import click

from ops.cli.options import Rate, actor_option, json_option, parse_duration, reason_option
from ops.cli.output import print_result, progress_line, warn
from ops.cli.runtime import run_with_store, settings_or_exit, website_ids_or_exit
from ops.errors import EXIT_FAILED

if TYPE_CHECKING:
    from consumer.store.database import Store


@click.group()
def events() -> None:
    """Events for subscribers: replayed out of the log."""


@events.command("replay")
@click.option("--since", "since_seconds", callback=parse_duration, required=True, help="How far back: 30m, 2h, 7d.")
@click.option("--website", help="Only this website's, by ID or SUBDOMAIN.")
@click.option("--rate", type=Rate(0.1, 100_000), metavar="N/s", help="So many a second at most.")
@click.option("--dry-run", is_flag=True, help="Publish nothing; print how many there are.")
@reason_option
@actor_option
@json_option
def replay_events(*, website: str | None, as_json: bool, **options: Any) -> None:
    """Publish events again out of the log, for a subscriber that has lost its queue: same ids, same bodies.

    All subscribers get them; each knows by the message id what it has had. Exit code 1: a full queue refused some.

    Example: provisioner events replay --since 2h
    """
    settings = settings_or_exit()
    from consumer.factories import make_broker
    from ops.audit.identity_proof import local_proof
    from ops.websites.event_replay import replay

    async def work(store: "Store") -> dict[str, Any]:
        website_id = (await website_ids_or_exit(store, [website]))[0] if website else None
        with progress_line() as progress:
            return await replay(
                store,
                make_broker(settings),
                settings.namespace,
                base_domain=settings.base_domain,
                website_id=website_id,
                proof=local_proof(settings),
                progress=progress,
                **options,
            )

    result = run_with_store(settings, work)
    print_result(result, as_json=as_json, table=_print_replayed)
    if result["refused"]:
        sys.exit(EXIT_FAILED)


def _print_replayed(result: dict[str, Any]) -> None:
    if result["pruned_websites"]:
        warn(f"of {result['pruned_websites']} websites older events were pruned: they cannot be published again")
    if result["dry_run"]:
        click.echo(f"{result['events']} events; nothing was published: this was a dry run")
    else:
        refused = f"; a full queue refused {result['refused']}" if result["refused"] else ""
        click.echo(f"{result['events']} events published again{refused}")
