"""What people did that is no transition."""

from typing import Any

import click

from ops.terminal import as_json, named, opened, run, settings_or_exit, show


@click.group()
def actions() -> None:
    """What people did that is no transition: pause, redrive, edit, discard."""


@actions.command("list")
@click.option("--website", help="Only those about one website, by ID or SUBDOMAIN.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@as_json
def list_actions(*, website: str | None, limit: int, as_json: bool) -> None:
    """List actions, the latest first: who, what, why, and what came of it.

    Transitions are not here: `provisioner status` shows them. Example: provisioner actions list --limit 5
    """
    settings = settings_or_exit()

    async def work() -> list[dict[str, Any]]:
        from ops import recording

        async with opened(settings) as store:
            website_id = None if website is None else (await named(store, [website]))[0]
            return await recording.recent(store, website_id=website_id, limit=limit)

    from ops import operating_tables

    show(run(work()), as_json=as_json, table=operating_tables.actions)
