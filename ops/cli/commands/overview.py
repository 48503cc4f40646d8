"""The overview: how the service does in a few lines, once or again and again."""

import sys
from typing import TYPE_CHECKING, Any

import click

from ops.cli.options import json_option
from ops.cli.output import print_result
from ops.cli.runtime import run_with_store, settings_or_exit
from ops.errors import EXIT_AWAY
from ops.text.printable import json_text

if TYPE_CHECKING:
    from consumer.store.database import Store

WATCH_SECONDS = 2.0
DOCTOR_WAIT_SECONDS = 15.0
"""The doctor's checks take one second on most databases; where they take longer, the overview comes without them."""
SERVERS = ("database", "broker")


@click.command()
@click.option("--watch", is_flag=True, help="Print it anew every 2 seconds, until Ctrl-C.")
@json_option
def overview(*, watch: bool, as_json: bool) -> None:
    """Show how the service does: failed, dead letters, waiting, workers, on defaults, the doctor's worst finding.

    It begins here when something is wrong: each line says what to run next. With --watch and --json it prints one
    object a line. Exit code 0 where all could be read, 3 where a server is away; what could be read is printed.

    \b
    Examples:
      provisioner overview
      provisioner overview --watch
    """
    settings = settings_or_exit()
    import asyncio

    from consumer.broker.topology import Topology
    from consumer.factories import make_broker
    from ops.cli.tables.overview import OverviewScreen, print_overview
    from ops.doctor.overview import COST_FACTOR, OverviewReader
    from ops.doctor.run import SharedReport

    broker, latest = make_broker(settings), dict[str, Any]()

    async def work(store: "Store") -> None:
        reader = OverviewReader(store, broker, Topology(settings.namespace), SharedReport(settings, store, broker))
        try:
            if not watch:
                latest.update(await reader.read(doctor_seconds=DOCTOR_WAIT_SECONDS))
                print_result(latest, as_json=as_json, table=print_overview)
                return
            with OverviewScreen() as screen:
                while True:
                    latest.update(await reader.read())
                    if as_json:
                        click.echo(json_text(latest))
                    else:
                        screen.show(latest)
                    await asyncio.sleep(max(WATCH_SECONDS, COST_FACTOR * reader.cost_seconds))
        finally:
            await reader.close()

    try:
        run_with_store(settings, work)
    except KeyboardInterrupt:
        if not watch:
            raise
    if any(server in latest.get("away", {}) for server in SERVERS):
        sys.exit(EXIT_AWAY)
