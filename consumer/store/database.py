"""The database as the service sees it: the connection pool, transactions, and the writes that stand alone.

Only this module, `consumer.store.sessions` and `consumer.error_classification` know asyncpg. The statements are those
of `consumer/store/sql/`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import asyncpg

from consumer.addresses.database import Pooler, parse_database_url
from consumer.domain.records import Claim, Pause, WorkerReport
from consumer.error_classification import SESSION_LOST, CommitUnconfirmedError, ConnectionSettingError
from consumer.store.provisioning_statements import RESTING, SQL, Queries, Transaction, claim_of
from consumer.store.sessions.session_factory import SessionFactory, raise_for_startup_parameter

WHOLE_TABLES = """
    SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on;
    SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL max_parallel_workers_per_gather = 0;
"""
"""The settings of reads of a whole table: planned for their parameters, and never on more than one core."""
OPTIONAL_SECONDS = 60.0
"""How often a connection that is used asks the catalogue which tables of the existing product there are."""


class Store:
    """The connection pool, and the writing statements that are a transaction of their own."""

    def __init__(
        self,
        url: str,
        *,
        size: int,
        lock_timeout_seconds: float = 2,
        statement_timeout_seconds: float = 10,
        command_timeout_seconds: float = 15,
        idle_transaction_seconds: float = 15,
        name: str = "provisioner",
        pooler: Pooler | None = None,
        on_connection: Callable[[float], None] | None = None,
    ) -> None:
        """Remember how to connect; nothing is opened yet. `size` is the number of connections. Raises AddressError.

        `pooler`: what stands between; None: what the address says. `on_connection` is called with each connection that
        is lent, with the seconds for which it was waited.
        """
        address = parse_database_url(url)
        self._user = address.user
        self.pooler = pooler or address.pooler
        self.keeps_sessions = self.pooler is not Pooler.TRANSACTION
        """Whether what a connection has set or locked is still there at its next transaction."""
        self._size = size
        self._on_connection = on_connection
        self._command_timeout_seconds = command_timeout_seconds
        self._connect_seconds = address.connect_seconds or command_timeout_seconds
        settings = {
            **address.server_settings,
            "application_name": name,
            "timezone": "UTC",
            "standard_conforming_strings": "on",
            "lock_timeout": f"{lock_timeout_seconds * 1000:.0f}",
            "statement_timeout": f"{statement_timeout_seconds * 1000:.0f}",
            "idle_in_transaction_session_timeout": f"{idle_transaction_seconds * 1000:.0f}",
            # One plan a statement, made once: for an array of one the planner would plan anew each time. Made on empty
            # tables and kept, such a plan must not join or scan whole tables: rows are looked up by their keys.
            "plan_cache_mode": "force_generic_plan",
            "enable_seqscan": "off",
            "enable_hashjoin": "off",
            "enable_mergejoin": "off",
            "jit": "off",
        }
        self._sessions = SessionFactory(address, settings, self.pooler)
        self._pool: Any = None
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Connect. Raises what asyncpg raises; `consumer.error_classification.classify` knows it."""
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    **self._sessions.arguments,
                    min_size=0,  # asyncpg would restore a floor by itself, in a loop of its own
                    max_size=self._size,
                    command_timeout=self._command_timeout_seconds,
                    timeout=self._connect_seconds,
                    max_inactive_connection_lifetime=0,
                    max_cached_statement_lifetime=0,  # what is dropped would be prepared again in a transaction
                    connect=self._sessions.connect,
                    init=self._sessions.begin,
                    reset=_reset,
                )

    async def close(self) -> None:
        """Close all connections, at once where they do not close by themselves."""
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(5):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Lend a connection, each statement its own transaction."""
        await self.open()
        pool, began = self._pool, time.monotonic()
        try:
            async with pool.acquire(timeout=self._command_timeout_seconds) as connection:
                if self._on_connection is not None:
                    self._on_connection(time.monotonic() - began)
                yield connection
        except asyncpg.InsufficientPrivilegeError as error:
            setattr(error, "role", self._user)  # noqa: B010 - PostgreSQL names the table alone
            raise
        except asyncpg.ReadOnlySQLTransactionError:
            # A session that began while the database was read-only stays so, whatever the database does.
            await pool.expire_connections()
            raise
        except asyncpg.ProtocolViolationError as error:
            raise_for_startup_parameter(error, self.pooler)
            raise

    @property
    def in_use(self) -> tuple[int, int]:
        """How many connections are lent out now, and how many there may be."""
        lent = self._pool.get_size() - self._pool.get_idle_size() if self._pool else 0
        return lent, self._size

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Run a transaction: committed at the end, rolled back by any exception.

        Raises:
            CommitUnconfirmedError: COMMIT was answered with something else.
        """
        async with self.connection() as connection:
            if _asks_again(connection):
                await connection.prepare_all()
            # Read now: what the pool has lent has no state of ours any more once its connection is lost.
            optional: frozenset[str] = connection.optional
            await connection.execute("BEGIN")
            try:
                yield Transaction(connection, optional)
            except BaseException:
                # What went wrong matters, not that a broken connection cannot roll back as well: the server does.
                with suppress(*SESSION_LOST):
                    await connection.execute("ROLLBACK")
                    connection.ask_again()
                raise
            answer = await connection.execute("COMMIT")
            if answer != "COMMIT":
                raise CommitUnconfirmedError(f"COMMIT was answered with {answer}")

    @asynccontextmanager
    async def queries(self) -> AsyncIterator[Queries]:
        """Lend a connection to read over, each statement its own transaction."""
        async with self.connection() as connection:
            yield Queries(connection)

    async def read_within(self, text: str, *arguments: Any, seconds: float) -> list[Any] | None:
        """Read for so long at most, on one core and with plans of its own; None where that was not enough."""
        async with self.connection() as connection:
            try:
                async with connection.transaction(readonly=True):
                    await connection.execute(f"SET LOCAL statement_timeout = {seconds * 1000:.0f};" + WHOLE_TABLES)
                    found: list[Any] = await connection.fetch(text, *arguments, timeout=seconds + 5)
                    return found
            except (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError):
                return None

    async def probe(self) -> None:
        """Prepare every statement of a batch and test that the service's own tables can be written to.

        It raises whatever stands in the way. The next transaction gets the connection, with all prepared.
        """
        async with self.connection() as connection:
            connection.ask_again()
            await connection.prepare_all()
            await connection.execute(SQL["probe"])

    async def unreachable(self) -> BaseException | None:
        """Return the error that keeps the database from answering any statement; None if it answers."""
        try:
            async with self.connection() as connection:
                await connection.execute("SELECT 1")
        except (*SESSION_LOST, ConnectionSettingError) as error:
            return error
        return None

    async def claim(self, limit: int, stall_seconds: float) -> list[Claim]:
        """Claim up to `limit` websites whose time has come."""
        async with self.connection() as connection:
            records = await connection.fetch(SQL["claim"], limit, stall_seconds)
        return [claim_of(record) for record in records]

    async def mark_published(self, rests: Sequence[tuple[int, int, int]]) -> None:
        """Record of websites at rest that every event is published, and clear their due time.

        Args:
            rests: website id, its last seq, and the seq after which every event was confirmed. A website of which an
                event up to that one is still unpublished keeps its due time.
        """
        async with self.connection() as connection:
            columns = ([rest[column] for rest in rests] for column in range(3))
            await connection.execute(SQL["mark_published"], *columns, RESTING)

    async def make_due_soon(self, claims: Sequence[Claim], seconds: float) -> None:
        """Make claimed websites due again in some seconds: the broker has not confirmed their messages."""
        async with self.connection() as connection:
            await connection.execute(
                SQL["due_soon"], [claim.website_id for claim in claims], [claim.seq for claim in claims], seconds
            )

    async def report_worker(self, report: WorkerReport, gone_seconds: float) -> Pause | None:
        """Write a worker process's row, and delete those not seen for so long; return the pause that is in force."""
        async with self.connection() as connection:
            records = await connection.fetch(
                SQL["report_worker"],
                report.id,
                report.host,
                report.pid,
                report.version,
                report.up_seconds,
                report.in_flight,
                report.paused,
                report.since_delivery_seconds,
                gone_seconds,
            )
        return next((Pause(row["worker"] == "all", row["actor"], row["since"]) for row in records), None)

    async def forget_worker(self, worker_id: UUID) -> None:
        """Delete the row of a worker process that has stopped."""
        async with self.connection() as connection:
            await connection.execute(SQL["forget_worker"], worker_id)


def _asks_again(connection: Any) -> bool:
    """Say whether a connection has not asked for long, or never, which statements it can prepare."""
    asked_at: float | None = connection.asked_at
    return asked_at is None or asyncio.get_running_loop().time() - asked_at >= OPTIONAL_SECONDS


async def _reset(connection: Any) -> None:
    """Roll back what a released connection is in, and no more: a full RESET costs a round trip each time."""
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")
