"""Events: published again for subscribers who have lost theirs."""

import sys
from typing import Any

import click

from ops.terminal import FAILED, Rate, as_json, duration, named, opened, progress, run, settings_or_exit, show, who, why


@click.group()
def events() -> None:
    """What subscribers hear."""


@events.command("replay")
@click.option("--since", "since_seconds", callback=duration, required=True, help="How far back: 30m, 2h, 7d.")
@click.option("--website", help="Only this website's, by ID or SUBDOMAIN.")
@click.option("--rate", type=Rate(0.1, 100_000), metavar="N/s", help="So many a second at most.")
@click.option("--dry-run", is_flag=True, help="Publish nothing; say how many there are.")
@why
@who
@as_json
def replay_events(*, website: str | None, as_json: bool, **options: Any) -> None:
    """Publish events again out of the log, for a subscriber that has lost its queue: same ids, same bodies.

    All subscribers get them; each knows by the message id what it has had. Exit code 1: a full queue refused some.

    Example: provisioner events replay --since 2h
    """
    settings = settings_or_exit()

    async def work() -> dict[str, Any]:
        from consumer.app import make_broker
        from ops.replaying import replay

        async with opened(settings) as store:
            ids = await named(store, [website]) if website else [None]
            with progress() as tell:
                return await replay(
                    store, make_broker(settings), settings.namespace, website_id=ids[0], progress=tell, **options
                )

    from ops import operating_tables

    told = run(work())
    show(told, as_json=as_json, table=operating_tables.replayed)
    if told["refused"]:
        sys.exit(FAILED)
