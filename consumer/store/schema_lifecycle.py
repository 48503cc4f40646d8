"""Brings a database to the schema of this version: runs the migrations that are due, and none where nothing differs.

The files of migrations/ are run in the order of their names and recorded in provisioning_migrations. A change of the
schema is a new file with the next number, and the same change in schema.sql, which is what all files make; a test
compares. Each is idempotent: the numbered ones are run again where the catalogue lacks what they make. rules.sql is run
when its text or the machine has changed, or what it made has, and so is rules_own.sql or rules_guest.sql, by whose the
database is, and then update_rows_guest.sql; validation.sql as long as a check is NOT VALID.
"""

from collections.abc import Sequence
from typing import Any

from consumer.store.database import Store
from consumer.store.index_builder import REPLACED, UNIQUE_REFERENCE, drop_indexes, drop_unique_indexes
from consumer.store.lock_retries import WaitPolicy
from consumer.store.migration_runner import RULE_KINDS, MigrationRunner
from consumer.store.rules_template import PRODUCTS_OWN, Mode
from consumer.store.schema_diff import COPYING, RENAMED, SQL, Difference, inspect_schema
from seeders.sql_loader import read_statements
from statemachine.definition_digest import DEFINITION, Definition

COUNT = "SELECT count(*) FROM pwb_websites"
REMOVALS = read_statements("consumer.store.migrations.removals")


async def apply(
    store: Store, machine: Definition = DEFINITION, policy: WaitPolicy | None = None, mode: Mode | None = None
) -> Difference:
    """Run the migrations that are due; return what differs afterwards. Several may be at it at once.

    Args:
        store: lends three connections.
        machine: the states and edges that are to be legal.
        policy: how long to wait for locks, and where to say who has them.
        mode: whose the database is; by default what is recorded, at the first `init` what its tables tell.

    Raises:
        LockWaitError: a lock was not to be had; the migrations before it are done.
        MigrationError: the database refuses a migration; the same.
    """
    async with store.connection() as connection:
        runner = MigrationRunner(store, connection, machine, policy or WaitPolicy(), mode)
        await runner.run_due()
        difference = await runner.inspect()
        # Workers of version 0.1.0 need that index for their inserts: in an upgraded database `finish` drops it.
        if difference.installation.mode == Mode.GUEST and not difference.installation.upgraded:
            await _drop_present(store, connection, policy or WaitPolicy(), [UNIQUE_REFERENCE])
        return difference


async def finish(store: Store, policy: WaitPolicy | None = None) -> None:
    """Drop the columns and indexes that only workers of version 0.1.0 use; where they are gone already, nothing is
    locked. In the existing product's database the other indexes are that product's.

    Raises:
        LockWaitError: a lock was not to be had; it may be run again.
    """
    policy = policy or WaitPolicy()
    async with store.connection() as connection:
        if await connection.fetch(SQL["old_columns"], list(RENAMED)):
            await MigrationRunner(store, connection, DEFINITION, policy).run_text(REMOVALS["finish"])
        difference = await inspect_schema(connection)
        installation = difference.installation
        if installation.mode == Mode.GUEST:
            await _drop_present(store, connection, policy, [UNIQUE_REFERENCE])
        elif installation.upgraded and not difference.outdated:
            await _drop_present(store, connection, policy, REPLACED)


async def remove(store: Store, policy: WaitPolicy | None = None) -> None:
    """Take away all that binds others: triggers, functions, checks, defaults and the unique indexes that `init` built.
    Rows, columns and the tables of this service stay; the next `init` makes the rest again. The columns of version
    0.1.0 go too, unless their new ones may lack what is in them.

    Raises:
        LockWaitError: a lock was not to be had; it may be run again.
    """
    policy = policy or WaitPolicy()
    async with store.connection() as connection:
        in_step = COPYING not in (await inspect_schema(connection)).missing
    if in_step:
        await finish(store, policy)
    async with store.connection() as connection:
        await MigrationRunner(store, connection, DEFINITION, policy).run_text(REMOVALS["remove"])
        await drop_unique_indexes(store, connection, policy)


async def _drop_present(store: Store, connection: Any, policy: WaitPolicy, indexes: Sequence[str]) -> None:
    """Drop those of the indexes that are there; where none is, nothing is locked."""
    there = [name for name in indexes if await connection.fetchval("SELECT to_regclass($1)::text", name)]
    await drop_indexes(store, connection, policy, there)


async def count_newly_bound(store: Store) -> int:
    """Return how many of the existing product's websites the rules would bind if the database became the service's own;
    0 where it is that already."""
    async with store.connection() as connection:
        difference = await inspect_schema(connection)
        if difference.installation.mode == Mode.OWN:
            return 0
        columns = any(part.table == "pwb_websites" and part.kind == "column" for part in difference.missing)
        count: int = await connection.fetchval(COUNT if columns else f"{COUNT} WHERE {PRODUCTS_OWN}")
        return count


async def lacking(store: Store) -> list[str]:
    """Return which tables, columns and indexes of this version the database lacks; `provisioner init` makes them.

    Triggers, checks and functions are not asked for: a newer version's are no reason not to work.
    """
    async with store.connection() as connection:
        missing = (await inspect_schema(connection)).missing
    return [
        f"{part.table}.{part.name}" if part.kind == "column" else part.name
        for part in sorted(missing, key=lambda part: part.kind != "table")
        if part.kind not in RULE_KINDS
    ]
