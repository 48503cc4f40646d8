"""A connection to PostgreSQL, with all prepared that a transaction may need; and whether PostgreSQL itself answers."""

import asyncio
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import asyncpg

from consumer.error_classification import SESSION_LOST, PoolerError
from seeders.insert_statements import FIND_COLUMNS, NEEDED_COLUMNS, OPTIONAL
from seeders.seeding import STATEMENTS as SEEDING
from seeders.sql_loader import read_statements

SQL = read_statements("consumer.store.sql")
BACKEND = "SELECT pg_backend_pid()"
STATEMENT_MODE = "set pool_mode=transaction for this database, and PROVISIONER_POOLER=transaction"


class Session(asyncpg.Connection):
    """A connection that prepares what a transaction may need before its first transaction begins.

    asyncpg sends Parse and Flush, and Bind only after the answer. Between the two a session counts as active, but is in
    no statement: if the worker freezes just there, inside a transaction, neither `statement_timeout` nor
    `idle_in_transaction_session_timeout` ends it, and its row locks stay for as long as the worker is frozen
    (docs/decisions/0018). A prepared statement goes out as one piece, Bind to Sync.
    """

    prepared: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    """The optional statements of the seeders that the database has the tables for, as it was last asked."""
    asked_at: float | None = None
    """By the event loop's clock; None: not yet, or a transaction has failed since, for which tables may be to blame."""

    async def prepare_all(self) -> None:
        """Prepare every statement of a batch, once; outside a transaction. Of optional ones those that can be run."""
        now = asyncio.get_running_loop().time()
        self.optional, self.asked_at = await find_optional(self), now
        texts = {*SQL.values(), *SEEDING.values(), *(OPTIONAL[name] for name in self.optional)}
        if unprepared := texts - self.prepared:
            try:
                await self._prepare_texts(unprepared)
            except BaseException:
                self.ask_again()  # else the next transaction would prepare what is left, in itself
                raise
            self.prepared |= unprepared

    def ask_again(self) -> None:
        """Have the next transaction ask what the database has."""
        self.asked_at = None

    def _drop_local_statement_cache(self) -> None:
        """Forget what is prepared, as asyncpg does on all connections of a pool once one finds the schema changed."""
        self.prepared = frozenset()
        self.ask_again()
        super()._drop_local_statement_cache()  # type: ignore[misc]  # asyncpg has no types

    async def backend(self) -> int:
        """Return the process id of the server's process that answers, leaving no prepared statement there.

        In a transaction: what comes after a Flush, a pooler may give to another than what came before it.
        """
        try:
            async with self.transaction():
                found: int = await (await self.prepare(BACKEND, name="")).fetchval()
                return found
        except SESSION_LOST as error:
            raise_for_statement_mode(error)
            raise

    async def is_direct(self) -> bool:
        """Say whether PostgreSQL itself answers: a pooler gives its clients process ids of its own."""
        return await self.backend() == self.get_server_pid()

    def _get_unique_id(self, prefix: str) -> str:
        """Return a name for a statement that no other client has, should a pooler mix up ours and theirs after all."""
        return f"{prefix}_{uuid4().hex}"

    async def _prepare_texts(self, texts: Iterable[str]) -> None:
        for text in texts:
            # By no other public way does a statement get into the cache without being run.
            await self.executemany(text, ())
        # Preparing ended with no Sync: this ends the transaction that the server began for it.
        await self.execute("SELECT 1")


async def find_optional(connection: Any) -> frozenset[str]:
    """Return the names of the seeders' optional statements that can be run on a connection."""
    columns = sorted(set().union(*NEEDED_COLUMNS.values()))
    records = await connection.fetch(FIND_COLUMNS, *(list(column) for column in zip(*columns, strict=True)))
    found = {tuple(record) for record in records}
    return frozenset(name for name, needed in NEEDED_COLUMNS.items() if needed <= found)


def raise_for_statement_mode(error: Exception) -> None:
    """Raise PoolerError where a pooler refuses transactions."""
    if "statement pooling" in str(error):
        raise PoolerError("the pooler is in statement mode, which has no transactions", STATEMENT_MODE) from error
