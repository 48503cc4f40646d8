"""The doctor on the command line."""

import os
import sys
from typing import Any

import click

from ops.terminal import AWAY, FAILED, as_json, opened, run, settings_or_exit, show


@click.command()
@click.option("--full", is_flag=True, help="Look at every website, not at the newest 10000; may take minutes.")
@as_json
def doctor(*, full: bool, as_json: bool) -> None:
    """Look at settings, database, broker, workers and websites: what is wrong, and what to do next. Changes nothing.

    Exit code 0 where nothing failed (warnings are told), 1 where something did, 3 where a server is away. What AMQP
    cannot tell is told as unknown. Example: provisioner doctor --json
    """
    settings = settings_or_exit()

    async def work() -> dict[str, Any]:
        from consumer.app import make_broker
        from ops.doctor.examining import examine

        async with opened(settings) as store:
            return await examine(settings, store, make_broker(settings), os.environ, full=full)

    from ops import operating_tables

    report = run(work())
    show(report, as_json=as_json, table=operating_tables.doctor)
    if report["away"]:
        sys.exit(AWAY)
    if report["counts"]["fail"]:
        sys.exit(FAILED)
