"""Runs migrations beside others who use the database: one `init` at a time, each wait for a strong lock a short one.

A migration runs in a transaction of its own; one that begins with OUTSIDE has indexes, which are built one by one
beside readers and writers, while a transaction on another connection keeps the turn. One that begins with IN_BATCHES
changes rows: it is one statement that commits after each batch, so that no row is locked for long.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from consumer.error_classification import DATABASE_ERROR, Infrastructure, classify
from consumer.store.database import Store
from consumer.store.index_builder import IndexStatement, build_indexes, index_statements, timeouts_set
from consumer.store.lock_retries import REPEAT_SECONDS, WaitPolicy, in_turns
from consumer.store.rules_template import Mode, render
from consumer.store.schema_diff import COPYING, SQL, Difference, Part, inspect_schema
from seeders.sql_loader import read_statements
from statemachine.definition_digest import Definition

MIGRATIONS = dict(sorted(read_statements("consumer.store.migrations").items()))
RENAMING = "0003_renamed_columns"
VALIDATION = "validation"
RULES = ("rules", *(f"rules_{mode}" for mode in Mode))
RULE_KINDS = ("constraint", "function", "trigger")
"""What the rules make, and defaults; the numbered migrations make tables, columns and indexes."""
OUTSIDE = "-- Outside a transaction: "
IN_BATCHES = "-- In batches: "
LEDGER = Part("table", "provisioning_migrations", "provisioning_migrations")

MIGRATION_SECONDS = 3600.0
"""For asyncpg, whose own timeout would cut the validation of a large table."""

TAKE_TURN = "SELECT pg_try_advisory_xact_lock(hashtext('provisioner schema'))"
"""Several `init` may start together, as in a compose file. The key is that of 0.1.0. Asked again and again, since a
session that waits for it inside a statement would keep CREATE INDEX CONCURRENTLY of the other waiting for it."""
TURN_SECONDS = 0.2
MISSED_MOVES = "SELECT coalesce(current_setting('provisioner.missed_moves', true), '')"
"""How many of this service's own websites the product moved while the triggers were absent; empty for none."""
CONNECT_DIRECTLY = "for this command alone, lead PROVISIONER_DATABASE_URL to PostgreSQL itself"


class MigrationError(Exception):
    """The database refuses a migration; the sentence says which, and why."""


class MigrationRunner:
    """Runs what is due, on one connection of a store that lends three."""

    def __init__(
        self, store: Store, connection: Any, machine: Definition, policy: WaitPolicy, mode: Mode | None = None
    ) -> None:
        """Take what the schema is to be made for; `mode`: whose the database is, where that is asked for."""
        self._store = store
        self._connection = connection
        self._machine = machine
        self._policy = policy
        self._mode = mode

    async def run_due(self) -> None:
        """Run the migrations that are due, in order.

        Raises:
            LockWaitError: a lock was not to be had; the migrations before it are done.
            MigrationError: the database refuses a migration; the same.
        """
        for name, text in MIGRATIONS.items():
            if name in _due(await self.inspect(), await self._ledger()):
                self._need_session(f"migration {name} is due")
                kind = next((kind for kind in (OUTSIDE, IN_BATCHES) if text.startswith(kind)), None)
                with _named(name):
                    await (self._run_beside(name, kind) if kind else self._run(name))

    async def run_text(self, text: str) -> None:
        """Run in a transaction what is no migration.

        Raises:
            LockWaitError: a lock was not to be had, and nothing has changed.
            MigrationError: this connection cannot do it.
        """
        self._need_session("the schema is to be changed")

        async def attempt() -> None:
            async with self._turn(self._connection):
                await self._set_timeouts()
                await self._connection.execute(text, timeout=MIGRATION_SECONDS)

        await in_turns(self._store, self._connection, self._policy, attempt)

    async def inspect(self) -> Difference:
        """Compare the database with what it is to be."""
        return await inspect_schema(self._connection, self._machine, self._mode)

    def _need_session(self, what: str) -> None:
        """Raise MigrationError behind a pooler in transaction mode: indexes are built outside transactions, without a
        timeout, and who is in the way of a wait is asked by the id of one server process."""
        if not self._store.keeps_sessions:
            raise MigrationError(f"{what}, and a pooler in transaction mode cannot carry that: {CONNECT_DIRECTLY}")

    async def _run(self, name: str) -> None:
        async def attempt() -> None:
            async with self._turn(self._connection):
                # Another `init` may have run it meanwhile.
                difference = await self.inspect()
                if text := _due(difference, await self._ledger()).get(name):
                    await self._set_timeouts()
                    await self._connection.execute(text, timeout=MIGRATION_SECONDS)
                    # The rules of a mode are the last that ask what was recorded before.
                    if not difference.recorded and name != RULES[0]:
                        quoted = difference.installation.comment.replace("'", "''")
                        await self._connection.execute(f"COMMENT ON TABLE {LEDGER.name} IS '{quoted}'")
                    await self._connection.execute(SQL["record_migration"], name, digest_of(text))

        await in_turns(self._store, self._connection, self._policy, attempt)

    async def _run_beside(self, name: str, kind: str) -> None:
        """Run what cannot be in one transaction, while a transaction on another connection keeps the turn."""
        async with self._store.connection() as turn_holder, self._turn(turn_holder):
            await turn_holder.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            difference = await self.inspect()
            if text := _due(difference, await self._ledger()).get(name):
                if kind == OUTSIDE:
                    await build_indexes(self._store, self._connection, self._policy, _to_build(text, difference))
                else:
                    await self._change_rows(text)
                await self._connection.execute(SQL["record_migration"], name, digest_of(text))

    async def _change_rows(self, text: str) -> None:
        async def attempt() -> None:
            async with timeouts_set(self._connection, lock_seconds=self._policy.lock_seconds):
                await self._connection.execute(text, timeout=MIGRATION_SECONDS)

        await in_turns(self._store, self._connection, self._policy, attempt)
        if missed := await self._connection.fetchval(MISSED_MOVES):
            await self._connection.execute("SET provisioner.missed_moves = ''")
            moved = "1 website of this service was" if missed == "1" else f"{missed} websites of this service were"
            self._policy.report(
                f"{moved} moved by the product while the triggers were absent: each "
                "is logged as one transition of the actor product, from the last logged state, and its event is sent"
            )

    async def _ledger(self) -> set[tuple[str, str]]:
        """Return the names and digests of what has been run."""
        if await self._connection.fetchval(f"SELECT to_regclass('{LEDGER.name}')") is None:
            return set()
        return {(record["name"], record["digest"]) for record in await self._connection.fetch(SQL["ledger"])}

    async def _set_timeouts(self) -> None:
        milliseconds = self._policy.lock_seconds * 1000
        await self._connection.execute(f"SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = {milliseconds:.0f}")

    @asynccontextmanager
    async def _turn(self, connection: Any) -> AsyncIterator[None]:
        """Open a transaction in which no other `init` runs a migration."""
        began = time.monotonic()
        while True:
            async with connection.transaction(isolation="read_committed"):
                if await connection.fetchval(TAKE_TURN):
                    yield
                    return
            await asyncio.sleep(TURN_SECONDS)
            if time.monotonic() - began > REPEAT_SECONDS:
                began = time.monotonic()
                self._policy.report("waiting: another `provisioner init` is at work on this database")


def runs_in(name: str, mode: Mode) -> bool:
    """Say whether a migration runs in a database of this kind."""
    return not name.endswith(tuple(f"_{other}" for other in Mode if other != mode))


def _due(difference: Difference, ledger: set[tuple[str, str]]) -> Mapping[str, str]:
    """Return the texts of the migrations to run, by name: those that are new, and those whose work is undone."""
    mode = difference.installation.mode
    texts = {name: render(text, difference.legal, mode) for name, text in MIGRATIONS.items() if runs_in(name, mode)}
    return {
        name: text
        for name, text in texts.items()
        if (name, digest_of(text)) not in ledger or _undone(name, text, difference)
    }


def _undone(name: str, text: str, difference: Difference) -> bool:
    """Say whether something is missing or changed that a migration makes."""
    if name == VALIDATION:
        return bool(difference.not_validated)
    if name in RULES:
        rules = any(part.kind in RULE_KINDS for part in (*difference.missing, *difference.changed))
        defaults = any(part.kind == "column" for part in difference.changed)
        return rules or defaults or not difference.recorded
    if text.startswith(IN_BATCHES):
        return name == RENAMING and COPYING in difference.missing
    if text.startswith(OUTSIDE):
        invalid = (part for part in difference.not_in_force if part.kind == "index")
        return any(part.kind == "index" for part in (*difference.missing, *difference.changed, *invalid))
    return any(part.kind in ("table", "column") for part in difference.missing)


def _to_build(text: str, difference: Difference) -> Mapping[IndexStatement, bool]:
    """Return the indexes to build, and whether an invalid one is in the place."""
    parts = {index: Part("index", index.table, index.name) for index in index_statements(text)}
    return {
        index: part in difference.not_in_force
        for index, part in parts.items()
        if part in difference.missing or part in difference.not_in_force
    }


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Turn what the database refuses into an error that names the migration."""
    try:
        yield
    except DATABASE_ERROR as error:
        fault = classify(error)
        if isinstance(fault, Infrastructure):
            raise
        raise MigrationError(f"the database refuses migration {name}: {fault.error}") from error


def digest_of(text: str) -> str:
    """Return the digest of a migration's text by which the ledger knows it."""
    return hashlib.sha256(text.encode()).hexdigest()
