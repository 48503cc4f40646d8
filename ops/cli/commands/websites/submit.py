"""Signups: published, and waited for."""

import math
import sys
from typing import TYPE_CHECKING, Any

import click

from ops.cli.options import default_actor, json_option, site_type_choice, website_id_type
from ops.cli.output import fail, print_result, progress_line, warn
from ops.cli.runtime import run_with_store, settings_or_exit
from ops.errors import EXIT_FAILED, EXIT_USAGE

if TYPE_CHECKING:
    from consumer.store.database import Store


def _not_nan(_context: click.Context, _parameter: click.Parameter, value: float) -> float:
    """Refuse nan, which is within every range."""
    if math.isnan(value):
        raise click.BadParameter("nan is no number of seconds")
    return value


@click.command()
@click.option("--website-id", type=website_id_type, help="Its id; without it, the next one is reserved.")
@click.option("--subdomain", help="3 to 40 lowercase letters, numbers, hyphens; made up where absent.")
@click.option("--site-type", type=site_type_choice)
@click.option("--seed-pack", help="A seed pack; by default that of the site type.")
@click.option(
    "--owner-email",
    help="Its owner; a user is made where there is none. Without --website-id made up where absent.",
)
@click.option("--owner-name", help="The name of the user who is made.")
@click.option("--owner-id", type=click.IntRange(1), help="Its owner, as a user that exists.")
@click.option("--skip-properties", is_flag=True, help="No sample properties.")
@click.option("--hold", is_flag=True, help="Rest at ready until `go-live`.")
@click.option("--count", type=click.IntRange(1, 100_000), default=1, show_default=True, help="How many websites.")
@click.option("--wait", is_flag=True, help="Wait until each is live (exit 0), failed or rejected (exit 1).")
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(min=0, max=86400),
    callback=_not_nan,
    default=300.0,
    show_default=True,
    help="With --wait, seconds.",
)
@json_option
def submit(*, as_json: bool, wait: bool, timeout_seconds: float, **options: Any) -> None:
    """Publish website.created, confirmed by the broker.

    \b
    Examples:
      provisioner submit --owner-email ana@example.com --site-type residential --wait
      provisioner submit --count 100
    """
    settings = settings_or_exit()
    if options["count"] > 1 and (options["website_id"] or options["subdomain"]):
        fail("--count makes websites of its own: leave --website-id and --subdomain out", EXIT_USAGE)
    from consumer.factories import make_broker
    from ops.audit.identity_proof import local_proof
    from ops.audit.trail import AuditTrail
    from ops.cli.tables.submitted import print_submitted, print_waited
    from ops.websites.signups.submission import publish_signups, signup_bodies, wait_for_signups
    from ops.workers.queries import known_workers, reason_for_no_work

    try:
        bodies = signup_bodies(options)
    except ValueError as wrong:
        fail(str(wrong), EXIT_USAGE)

    async def work(store: "Store") -> list[dict[str, Any]]:
        broker = make_broker(settings)
        async with AuditTrail(store, default_actor(), proof=local_proof(settings)).action("submit") as action:
            published = await publish_signups(store, broker, settings.namespace, bodies, action)
        if not wait:
            return published
        if idle := reason_for_no_work(await known_workers(store)):
            warn(f"{idle}; what was published waits at the broker, and this command goes on waiting")
        with progress_line() as progress:
            return await wait_for_signups(
                store, broker, settings.namespace, published, timeout_seconds, progress=progress
            )

    results = run_with_store(settings, work)
    print_result(results, as_json=as_json, table=print_waited if wait else print_submitted)
    if wait and any(result["state"] not in ("live", "ready") for result in results):
        sys.exit(EXIT_FAILED)
