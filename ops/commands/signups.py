"""Signups from the command line."""

import math
import sys
from typing import Any

import click

from ops.terminal import FAILED, USAGE, as_json, fail, opened, run, settings_or_exit, show


def _a_number(_context: click.Context, _parameter: click.Parameter, value: float) -> float:
    """Refuse nan, which is within every range."""
    if math.isnan(value):
        raise click.BadParameter("nan is no number of seconds")
    return value


@click.command()
@click.option("--website-id", type=click.IntRange(1), help="Its id; without it, the next one is reserved.")
@click.option("--subdomain", help="3 to 40 lowercase letters, numbers, hyphens; made up where absent.")
@click.option("--site-type", type=click.Choice(["residential", "commercial", "vacation_rental"]))
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
    callback=_a_number,
    default=300.0,
    show_default=True,
    help="With --wait, seconds.",
)
@as_json
def submit(*, as_json: bool, wait: bool, timeout_seconds: float, **options: Any) -> None:
    """Publish website.created, confirmed by the broker.

    \b
    Examples:
      provisioner submit --owner-email ana@example.com --site-type residential --wait
      provisioner submit --count 100
    """
    settings = settings_or_exit()
    if options["count"] > 1 and (options["website_id"] or options["subdomain"]):
        fail("--count makes websites of its own: leave --website-id and --subdomain out", USAGE)
    from ops import submitting

    try:
        signups = submitting.check(options)
    except ValueError as wrong:
        fail(str(wrong), USAGE)

    async def work() -> list[dict[str, Any]]:
        from consumer.app import make_broker

        async with opened(settings) as store:
            broker = make_broker(settings)
            bodies = await submitting.publish(store, broker, settings.namespace, signups)
            if not wait:
                return bodies
            return await submitting.wait_for(store, broker, settings.namespace, bodies, timeout_seconds)

    results = run(work())
    from ops import tables

    show(results, as_json=as_json, table=tables.waited if wait else tables.submitted)
    if wait and any(result["state"] not in ("live", "ready") for result in results):
        sys.exit(FAILED)
