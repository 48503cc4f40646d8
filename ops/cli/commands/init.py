"""Installs the service: its schema in the database, its queues at the broker."""

import sys
from typing import TYPE_CHECKING

import click

from ops.cli.options import json_option, yes_option
from ops.cli.output import confirm, fail, print_result, warn
from ops.cli.runtime import Audited, run_with_store, settings_or_exit
from ops.errors import EXIT_FAILED, EXIT_USAGE

if TYPE_CHECKING:
    from consumer.config import Settings
    from consumer.store.database import Store


REMOVED = (
    "schema removed, but for its tables, columns and rows; the broker's queues stay, too; "
    "`provisioner init` brings all back"
)

WHOSE = {"guest": "as a guest in the existing product's database", "own": "in a database of its own"}
BINDS = (
    "apply the rules to {count} websites that this service never provisioned: writes of other programs to them are "
    "refused where the rules do not know the state or the edge"
)


@click.command()
@click.option("--guest", "mode", flag_value="guest", help="The database is the existing product's, whatever is in it.")
@click.option("--own", "mode", flag_value="own", help="The database is this service's alone.")
@click.option("--finish", is_flag=True, help="Drop what only workers of version 0.1.0 use; none may run any more.")
@click.option("--remove", is_flag=True, help="Take away all that binds others; rows, columns and tables stay.")
@yes_option
@json_option
def init(*, mode: str | None, finish: bool, remove: bool, yes: bool, as_json: bool) -> None:
    """Make the schema and the queues, or bring them up to this version. Doing it again changes nothing.

    Safe while others use the database: it waits for locks in turns of two seconds, and says who is in the way. In the
    existing product's database it is a guest, whose rules leave the product's websites alone; which of the two it is
    is decided by what it finds at first, and kept. Exit code 1 where something could not be made.

    --own applies the rules to every website, also to the existing product's. Where there are such websites, it asks on
    a terminal, and needs --yes elsewhere.

    --remove is the way back: triggers, functions, checks, defaults and unique indexes of this service go, and the
    existing product's database binds nobody more than before the first init. The next init makes them again.

    Example: provisioner init
    """
    if remove and (mode or finish):
        fail("--remove goes alone: leave --guest, --own and --finish out", EXIT_USAGE)
    settings = _past_the_pooler(settings_or_exit())
    if remove:
        confirm("take away the triggers, functions, checks, defaults and unique indexes of this service", yes=yes)
        with Audited("init --remove", "schema", settings):
            run_with_store(settings, _remove, size=3)
        print_result({"schema": "removed"}, as_json=as_json, table=lambda _: click.echo(REMOVED))
        return
    from consumer.broker.topology import Topology
    from consumer.factories import make_broker

    if mode == "own":
        from consumer.store.schema_lifecycle import count_newly_bound

        if count := run_with_store(settings, count_newly_bound):
            confirm(BINDS.format(count=count), yes=yes)

    async def work(store: "Store") -> tuple[bool, str]:
        whole, whose = await _make_schema(store, mode, finish=finish)
        await make_broker(settings).declare(Topology(settings.namespace))
        return whole, whose

    with Audited("init --finish" if finish else "init", f"schema, queues of {settings.namespace}", settings):
        whole, whose = run_with_store(settings, work, size=3)
    done = {"schema": "up to date" if whole else "incomplete", "mode": whose, "topology": settings.namespace}
    text = f"schema {done['schema']} ({WHOSE[whose]}), queues of {settings.namespace} there"
    print_result(done, as_json=as_json, table=lambda _: click.echo(text))
    sys.exit(0 if whole else EXIT_FAILED)


def _past_the_pooler(settings: "Settings") -> "Settings":
    """Return the settings without a pooler in transaction mode where this command connects to PostgreSQL itself."""
    from consumer.addresses.database import Pooler

    async def is_direct(store: "Store") -> bool:
        async with store.connection() as connection:
            return bool(await connection.is_direct())

    if settings.pools_transactions and run_with_store(settings, is_direct):
        return settings.model_copy(update={"pooler": Pooler.NONE})
    return settings


async def _make_schema(store: "Store", mode: str | None, *, finish: bool) -> tuple[bool, str]:
    """Make the schema, and say what a person should know of it; return whether all of it is there, and whose database
    it is."""
    from consumer.store import schema_lifecycle
    from consumer.store.lock_retries import LockWaitError, WaitPolicy
    from consumer.store.migration_runner import MigrationError
    from consumer.store.rules_template import Mode
    from ops.doctor.incomplete_migrations import schema_remarks
    from ops.errors.reports import known_hint

    policy = WaitPolicy(report=warn)
    async with store.connection() as connection:
        encoding = await connection.fetchval("SELECT current_setting('server_encoding')")
    if encoding != "UTF8":
        fail(
            f"the encoding of this database is {encoding}, and texts of websites need UTF8: "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and name that one in PROVISIONER_DATABASE_URL"
        )
    try:
        difference = await schema_lifecycle.apply(store, policy=policy, mode=Mode(mode) if mode else None)
        if finish:
            await _no_workers(store, "--finish", of_this_version=True)
            await schema_lifecycle.finish(store, policy)
    except (LockWaitError, MigrationError) as error:
        hint = (known_hint(error.__cause__) if error.__cause__ else None) or "nothing is lost"
        fail(f"the schema is not whole: {error} ({hint}); run `provisioner init` again")
    async with store.connection() as connection:
        remarks = await schema_remarks(connection, difference)
    for remark in remarks:
        warn(remark.text)
    return not any(remark.undone for remark in remarks), difference.installation.mode.value


async def _remove(store: "Store") -> None:
    """Take away what binds others, and say what of version 0.1.0 is left."""
    from consumer.store import schema_lifecycle
    from consumer.store.lock_retries import LockWaitError, WaitPolicy
    from consumer.store.migration_runner import MigrationError
    from consumer.store.schema_diff import inspect_schema
    from ops.doctor.incomplete_migrations import removal_remarks

    if "provisioning_workers" not in await schema_lifecycle.lacking(store):
        await _no_workers(store, "--remove")
    try:
        await schema_lifecycle.remove(store, WaitPolicy(report=warn))
    except (LockWaitError, MigrationError) as error:
        fail(f"not all is removed: {error}; run `provisioner init --remove` again")
    async with store.connection() as connection:
        for remark in await removal_remarks(connection, await inspect_schema(connection)):
            warn(remark)


async def _no_workers(store: "Store", option: str, *, of_this_version: bool = False) -> None:
    """End where workers run, which may use what is to go; `of_this_version`: but for those of this version."""
    from importlib.metadata import version

    from ops.workers.queries import known_workers

    spared = version("website-provisioner") if of_this_version else None
    found = (await known_workers(store))["workers"]
    running = [worker for worker in found if not worker["stale"] and worker["version"] != spared]
    if running:
        named = ", ".join(f"{worker['name']} ({worker['version']})" for worker in running)
        which = "of another version " if of_this_version else ""
        fail(f"workers {which}are running: {named}; stop them, then run `provisioner init {option}` again")
