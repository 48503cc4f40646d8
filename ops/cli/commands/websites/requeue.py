"""Requeue of failed websites: named ones, or all that filters select; its forecast; by canaries."""

import sys
from typing import TYPE_CHECKING, Any

import click

from ops.cli.options import Rate, actor_option, json_option, parse_duration, reason_option, site_type_choice
from ops.cli.output import fail, print_result, progress_line
from ops.cli.runtime import run_with_store, settings_or_exit, website_ids_or_exit
from ops.errors import EXIT_FAILED, EXIT_USAGE, NotFoundError

if TYPE_CHECKING:
    from consumer.store.database import Store


@click.command()
@click.argument("websites", nargs=-1)
@click.option("--failed", is_flag=True, help="All failed websites, or those that the filters below select.")
@click.option("--group", help="Only this group of `failures list`.")
@click.option("--error", help="Only where the error has this text.")
@click.option("--pack", help="Only those that this pack seeds.")
@click.option("--site-type", type=site_type_choice, help="Only these.")
@click.option(
    "--since", "since_seconds", callback=parse_duration, help="Only those that failed in the last 30m, 2h, 7d."
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=100_000, help="So many at most, the oldest first.")
@click.option("--advancing", is_flag=True, help="Only those that advance by the preflight, or may.")
@click.option("--dry-run", is_flag=True, help="Send nothing; print what a requeue would come to.")
@click.option("--canary", is_flag=True, help="Batches of 1, 2, 5, 20, …: each only once the one before has advanced.")
@click.option(
    "--canary-seconds", type=click.FloatRange(1, 3600), default=60.0, show_default=True, help="How long each batch has."
)
@click.option("--rate", type=Rate(0.1, 10_000), metavar="N/s", help="So many a second at most.")
@reason_option
@actor_option
@json_option
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

    Each resumes at its proven state. Running it again does no harm: a website that has moved since is left alone. The
    preflight (--dry-run) walks the steps ahead on today's rows and today's packs, as far as this machine has them.

    \b
    Examples:
      provisioner requeue --failed --group 1f2e3d4c --dry-run
      provisioner requeue --failed --pack base --since 2h --canary --reason "pack corrected"
    """
    _check_selection(websites, filters, failed=failed)
    settings = settings_or_exit()
    from consumer.factories import make_broker, make_packs
    from ops.audit.identity_proof import local_proof
    from ops.cli.tables.failures import print_requeue_forecast
    from ops.cli.tables.websites import print_sent
    from ops.websites.bulk_requeue import RequeueStoppedError, requeue_websites
    from ops.websites.requeue_forecast import NOTHING_KNOWN_AGAINST, forecast_requeue, preflight_report

    async def work(store: "Store") -> Any:
        ids = await _selected_ids(store, websites, filters)
        if dry_run or advancing:
            forecasts = await forecast_requeue(store, make_packs(settings), ids)
            forecasts = [each for each in forecasts if not advancing or each.prospect in NOTHING_KNOWN_AGAINST]
            ids = [each.website_id for each in forecasts]
            if dry_run:
                return preflight_report(forecasts)
        with progress_line() as progress:
            return await requeue_websites(
                store, make_broker(settings), settings.namespace, ids, actor=actor, reason=reason,
                rate=rate, canary_seconds=canary_seconds if canary else None, progress=progress,
                proof=local_proof(settings), selection=filters if failed else None,
            )  # fmt: skip

    stopped = ""
    try:
        results = run_with_store(settings, work)
    except RequeueStoppedError as error:
        results, stopped = error.results, str(error)
    if dry_run:
        print_result(results, as_json=as_json, table=print_requeue_forecast)
        return
    print_result(results, as_json=as_json, table=lambda found: print_sent("requeue", found))
    _exit_if_not_all(results, stopped)


def _exit_if_not_all(results: list[dict[str, Any]], stopped: str) -> None:
    """End where a canary has stopped it, or a website was left alone."""
    if stopped:
        fail(f"stopped: {stopped}")
    if any(not result["sent"] for result in results):
        sys.exit(EXIT_FAILED)


def _check_selection(websites: tuple[str, ...], filters: dict[str, Any], *, failed: bool) -> None:
    """End where neither websites nor --failed are given, or both, or filters without --failed."""
    if websites and failed:
        fail("name websites or say --failed, not both", EXIT_USAGE)
    if not websites and not failed:
        fail("name websites, or say --failed", EXIT_USAGE)
    if websites and any(value is not None for name, value in filters.items() if name != "limit"):
        fail("--group, --error, --pack, --site-type and --since choose among --failed websites", EXIT_USAGE)


async def _selected_ids(store: "Store", websites: tuple[str, ...], filters: dict[str, Any]) -> list[int]:
    """Return the ids of the selected websites, or end saying which website or group is not there."""
    from ops.websites.failures import FailureFilter, failed_website_ids

    if websites:
        return await website_ids_or_exit(store, websites, "; nothing was sent")
    try:
        return await failed_website_ids(store, FailureFilter(**filters))
    except NotFoundError as error:
        fail(str(error))
