"""Failed websites: see what they have in common, and send them round again."""

import sys
from typing import TYPE_CHECKING, Any

import click

from ops.terminal import (
    FAILED,
    USAGE,
    Rate,
    as_json,
    duration,
    fail,
    named,
    opened,
    progress,
    run,
    settings_or_exit,
    show,
    who,
    why,
)

if TYPE_CHECKING:
    from consumer.store import Store

SHOWN = 20


@click.group()
def failures() -> None:
    """Failed websites, in groups by what they have in common."""


@failures.command("list")
@as_json
def list_failures(*, as_json: bool) -> None:
    """List the groups, the largest first: numbers, ids and quoted values of an error make no difference.

    Example: provisioner failures list
    """
    settings = settings_or_exit()

    async def work() -> list[dict[str, Any]]:
        from ops.failures import groups

        async with opened(settings) as store:
            return await groups(store)

    from ops import tables

    show(run(work()), as_json=as_json, table=tables.failure_groups)


@failures.command("show")
@click.argument("group")
@as_json
def show_failures(*, group: str, as_json: bool) -> None:
    """Show one GROUP and the websites in it that failed first.

    Example: provisioner failures show 1f2e3d4c
    """
    settings = settings_or_exit()

    async def work() -> dict[str, Any]:
        from ops import reading
        from ops.failures import Chosen, chosen, one_group

        async with opened(settings) as store:
            try:
                told = await one_group(store, group)
                ids = await chosen(store, Chosen(group=group, limit=SHOWN))
            except reading.NotFound as error:
                fail(str(error))
            return told | {"first": await reading.statuses(store, ids)}

    from ops import tables

    show(run(work()), as_json=as_json, table=tables.failure_group)


@click.command()
@click.argument("websites", nargs=-1)
@click.option("--failed", is_flag=True, help="All failed websites, as far as what follows lets them.")
@click.option("--group", help="Only this group of `failures list`.")
@click.option("--error", help="Only where the error has this text.")
@click.option("--pack", help="Only those that this pack seeds.")
@click.option("--site-type", type=click.Choice(["residential", "commercial", "vacation_rental"]), help="Only these.")
@click.option("--since", "since_seconds", callback=duration, help="Only those that failed in the last 30m, 2h, 7d.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100_000, help="So many at most, the oldest first.")
@click.option("--advancing", is_flag=True, help="Only those of whom the preflight says that they will advance.")
@click.option("--dry-run", is_flag=True, help="Send nothing; say what would become of them.")
@click.option("--canary", is_flag=True, help="1, 2, 5, 20, …: more only once those before have advanced.")
@click.option(
    "--canary-seconds", type=click.FloatRange(1, 3600), default=60.0, show_default=True, help="How long each batch has."
)
@click.option("--rate", type=Rate(0.1, 10_000), metavar="N/s", help="So many a second at most.")
@why
@who
@as_json
def requeue(
    *,
    websites: tuple[str, ...],
    failed: bool,
    advancing: bool,
    dry_run: bool,
    canary: bool,
    canary_seconds: float,
    rate: float | None,
    reason: str | None,
    actor: str,
    as_json: bool,
    **filters: Any,
) -> None:
    """Send failed websites round again, by ID or SUBDOMAIN, or all with --failed.

    Each resumes at its proven state. Running it again does no harm: who has moved since is left alone. The preflight
    (--dry-run) walks the steps ahead on today's rows and today's packs, as far as this machine has them.

    \b
    Examples:
      provisioner requeue --failed --group 1f2e3d4c --dry-run
      provisioner requeue --failed --pack base --since 2h --canary --reason "pack mended"
    """
    _check(websites, filters, failed=failed)
    settings = settings_or_exit()
    stopped: list[str] = []

    async def work() -> Any:
        from consumer.app import make_broker, make_packs
        from ops import forecasting
        from ops.requeueing import Stopped
        from ops.requeueing import requeue as send

        async with opened(settings) as store:
            ids = await _meant(store, websites, filters)
            if dry_run or advancing:
                told = await forecasting.forecasts(store, make_packs(settings), ids)
                if advancing:
                    told = [item for item in told if item.prospect == forecasting.Prospect.ADVANCES]
                    ids = [item.website_id for item in told]
            if dry_run:
                return forecasting.preflight(told)
            try:
                with progress() as tell:
                    return await send(
                        store, make_broker(settings), settings.namespace, ids,
                        actor=actor, reason=reason, rate=rate,
                        canary_seconds=canary_seconds if canary else None, progress=tell,
                    )  # fmt: skip
            except Stopped as canaries:
                stopped.append(str(canaries))
                return canaries.results

    from ops import tables

    results = run(work())
    if dry_run:
        show(results, as_json=as_json, table=tables.forecast)
        return
    show(results, as_json=as_json, table=lambda found: tables.sent("requeue", found))
    if stopped:
        fail(f"stopped: {stopped[0]}")
    if any(not result["sent"] for result in results):
        sys.exit(FAILED)


def _check(websites: tuple[str, ...], filters: dict[str, Any], *, failed: bool) -> None:
    """End where it is not clear who is meant."""
    if websites and failed:
        fail("name websites or say --failed, not both", USAGE)
    if not websites and not failed:
        fail("name websites, or say --failed", USAGE)
    if websites and any(value is not None for name, value in filters.items() if name != "limit"):
        fail("--group, --error, --pack, --site-type and --since choose among --failed websites", USAGE)


async def _meant(store: "Store", websites: tuple[str, ...], filters: dict[str, Any]) -> list[int]:
    """Return the ids of those who are meant, or end saying which website or group is not there."""
    from ops import reading
    from ops.failures import Chosen, chosen

    if websites:
        return await named(store, websites, "; nothing was sent")
    try:
        return await chosen(store, Chosen(**filters))
    except reading.NotFound as error:
        fail(str(error))
