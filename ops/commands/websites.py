"""Websites: look at them, move them."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from ops.terminal import FAILED, as_json, named, not_asking, opened, run, settings_or_exit, show, sure, who, why
from statemachine import State, Trigger


@click.command()
@click.argument("website")
@as_json
def status(*, website: str, as_json: bool) -> None:
    """Show one website, by ID or SUBDOMAIN: progress, checklist, missing items, history.

    Example: provisioner status sunny-meadow-42
    """
    settings = settings_or_exit()

    async def work() -> dict[str, Any]:
        from ops import reading

        async with opened(settings) as store:
            ids = await named(store, [website])
            (told,) = await reading.statuses(store, ids)
            return told | {"history": await reading.history(store, ids[0])}

    from ops import tables

    show(run(work()), as_json=as_json, table=tables.status)


@click.command("list")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@as_json
def list_websites(*, state: str | None, limit: int, as_json: bool) -> None:
    """List websites, the most recently changed first.

    Example: provisioner list --state failed
    """
    settings = settings_or_exit()

    async def work() -> dict[str, Any]:
        from ops import reading

        async with opened(settings) as store:
            found = await reading.listed(store, State(state) if state else None, limit)
            return {"websites": found, "states": await reading.states(store)}

    from ops import tables

    result = run(work())
    if as_json:
        show(result["websites"], as_json=True, table=tables.websites)
    else:
        tables.websites(result)


@click.command()
@click.argument("website")
@as_json
def explain(*, website: str, as_json: bool) -> None:
    """Say why a website is where it is, by ID or SUBDOMAIN: what it waits for, and what you may do.

    Example: provisioner explain sunny-meadow-42
    """
    settings = settings_or_exit()

    async def work() -> dict[str, Any]:
        from consumer.app import make_broker, make_packs
        from ops import explaining

        async with opened(settings) as store:
            (website_id,) = await named(store, [website])
            return await explaining.explain(
                store, make_broker(settings), settings.namespace, website_id, make_packs(settings)
            )

    from ops import tables

    show(run(work()), as_json=as_json, table=tables.explanation)


def _verb(trigger: Trigger, name: str, text: str, *, destroys: bool = False) -> click.Command:
    @click.command(name, help=f"{text}\n\nExample: provisioner {name} sunny-meadow-42 --reason 'asked by phone'")
    @click.argument("websites", nargs=-1, required=True)
    @why
    @who
    @as_json
    def verb(
        *, websites: tuple[str, ...], reason: str | None, actor: str, as_json: bool, yes: bool = not destroys
    ) -> None:
        sure(f"{name} {', '.join(websites)}: nothing brings them back", yes=yes)
        _send(name, trigger, websites, reason, actor, as_json=as_json)

    return not_asking(verb) if destroys else verb


suspend = _verb(Trigger.SUSPEND, "suspend", "Take ready or live websites offline.")
reactivate = _verb(Trigger.REACTIVATE, "reactivate", "Bring suspended websites back; their guards must hold.")
terminate = _verb(Trigger.TERMINATE, "terminate", "End suspended or failed websites for good.", destroys=True)
go_live = _verb(Trigger.GO_LIVE, "go-live", "Let websites that are held at ready go live.")


def _send(
    verb: str,
    trigger: Trigger,
    websites: Sequence[str],
    reason: str | None,
    actor: str,
    *,
    as_json: bool,
) -> None:
    settings = settings_or_exit()

    async def work() -> list[dict[str, Any]]:
        from consumer.app import make_broker
        from ops import moving

        async with opened(settings) as store:
            ids = await named(store, websites, "; nothing was sent")
            return await moving.send(
                store,
                make_broker(settings),
                settings.namespace,
                trigger,
                ids=ids,
                every=None,
                actor=actor,
                reason=reason,
            )

    from ops import tables

    results = run(work())
    show(results, as_json=as_json, table=lambda found: tables.sent(verb, found))
    if any(not result["sent"] for result in results):
        sys.exit(FAILED)
