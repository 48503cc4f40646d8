"""The database as the service sees it: statements with names, values in and out. Decides nothing.

One statement a file in `consumer/sql/`. Only this module and `consumer.errors` know asyncpg.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from consumer import metrics
from consumer.errors import Interrupted
from consumer.messages import OwnerByEmail, WebsiteCreated
from consumer.outbox import Row
from seeders.inserts import SQL as SEEDING
from seeders.sql_files import read_statements
from statemachine import REST_STATES, Facts, State, Trigger

SQL = read_statements("consumer.sql")

KNOWN = frozenset(state.value for state in State)
RESTING = sorted(state.value for state in REST_STATES)
"""For the statements that ask whether a website rests. One held at ready rests too: that they say themselves."""

UNHURRIED = """
    SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on;
    SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL max_parallel_workers_per_gather = 0;
"""
"""For looks at a whole table: planned for what is asked, and never on more than one core."""

SCHEMA_SECONDS = 3600.0
"""An index on a large table of the existing product takes its time."""


@dataclass(frozen=True, slots=True)
class Website:
    """A website's row, as it was under its lock."""

    id: int
    subdomain: str | None
    site_type: str | None
    seed_pack_name: str | None
    owner_email: str | None
    skip_properties: bool
    auto_go_live: bool
    state: State
    failed_from: State | None
    seq: int
    attempts: int
    request: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Locked:
    """A website under its lock, and what the log says.

    `done`: the row of the message that asks for the website, if it has been carried out already. `cause`: the message
    by which the website came where it is; None where it has not moved yet.
    """

    website: Website
    done: Row | None
    cause: UUID | None


@dataclass(frozen=True, slots=True)
class Move:
    """One transition to be written: the log row, and what the website's row takes from it."""

    website_id: int
    seq: int
    trigger: Trigger
    from_state: State
    to_state: State
    message_id: UUID
    actor: str | None
    reason: str | None
    detail: Mapping[str, Any]
    error: str | None
    published_seq: int
    asked_live: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """One counted try to be written."""

    website_id: int
    attempts: int
    error: str
    backoff_seconds: float
    asked_live: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """A website whose time has come, as the dispatcher claimed it."""

    website_id: int
    state: State
    seq: int
    published_seq: int
    attempts: int
    skip_properties: bool
    auto_go_live: bool


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a worker process says of itself. Lengths of time, not times: the database's clock makes times of them."""

    id: UUID
    host: str
    pid: int
    version: str
    up_seconds: float
    in_flight: int
    paused: bool
    since_delivery_seconds: float | None


@dataclass(frozen=True, slots=True)
class Pause:
    """What somebody wants of a worker process, or of everybody."""

    everybody: bool
    actor: str
    since: datetime


def _text(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def website_of(record: Mapping[str, Any]) -> Website:
    """Return a website out of a row with the columns that the locking statements read."""
    failed_from = record["provisioning_failed_from"]
    return Website(
        record["id"],
        record["subdomain"],
        record["site_type"],
        record["seed_pack_name"],
        record["owner_email"],
        record["skip_properties"],
        record["auto_go_live"],
        State(record["provisioning_state"]),
        State(failed_from) if failed_from else None,
        record["provisioning_seq"],
        record["provisioning_attempts"],
        json.loads(record["provisioning_request"] or "{}"),
        record["created_at"],
    )


def row_of(record: Mapping[str, Any]) -> Row:
    """Return a row of the log out of a record with all its columns, `detail` as text."""
    return Row(
        record["website_id"],
        record["seq"],
        Trigger(record["trigger"]),
        State(record["from_state"]),
        State(record["to_state"]),
        record["message_id"],
        record["actor"],
        record["reason"],
        json.loads(record["detail"]),
        record["occurred_at"],
    )


class Transaction:
    """The statements of one transaction, in the order in which a batch uses them."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        """Handed to the seeders."""

    async def known_users(self, ids: Iterable[int]) -> set[int]:
        """Return those of the users that exist."""
        return {record["id"] for record in await self.connection.fetch(SQL["known_users"], list(ids))}

    async def register(self, signups: Sequence[WebsiteCreated]) -> None:
        """Insert websites that are not there yet; what is there wins."""
        owners = [signup.owner for signup in signups]
        await self.connection.execute(
            SQL["register_websites"],
            [signup.website_id for signup in signups],
            [signup.subdomain for signup in signups],
            [signup.site_type for signup in signups],
            [signup.seed_pack for signup in signups],
            [owner.email if isinstance(owner, OwnerByEmail) else None for owner in owners],
            [signup.skip_properties for signup in signups],
            [signup.auto_go_live for signup in signups],
            [_text(signup.request) for signup in signups],
        )

    async def lock(self, asked: Mapping[int, UUID], *, waiting: bool) -> tuple[dict[int, Locked], dict[int, str]]:
        """Lock websites, each for a message; without `waiting`, those that somebody else holds are left out.

        Returns:
            The websites by id; and by id the states of those that are in a state of the existing product's own.
        """
        locked: dict[int, Locked] = {}
        foreign: dict[int, str] = {}
        unclear: list[Website] = []
        statement = SQL["lock_waiting" if waiting else "lock_available"]
        for record in await self.connection.fetch(statement, list(asked), list(asked.values())):
            if record["provisioning_state"] not in KNOWN:
                foreign[record["id"]] = record["provisioning_state"]
                continue
            website = website_of(record)
            locked[website.id] = Locked(website, None, record["last_message_id"])
            # Carried out already, or moved by somebody between the statement's snapshot and its lock.
            if record["done_seq"] is not None or record["seen_seq"] != website.seq:
                unclear.append(website)
        return locked | await self._inbox(unclear, asked), foreign

    async def present(self, ids: Sequence[int]) -> set[int]:
        """Return which websites exist, whoever holds them."""
        return {record["id"] for record in await self.connection.fetch(SQL["present"], ids)}

    async def _inbox(self, websites: Sequence[Website], asked: Mapping[int, UUID]) -> dict[int, Locked]:
        """Look into the log for websites that are locked."""
        if not websites:
            return {}
        records = await self.connection.fetch(
            SQL["inbox"],
            [website.id for website in websites],
            [asked[website.id] for website in websites],
            [website.seq for website in websites],
        )
        rows = {record["website_id"]: row_of(record) for record in records if record["seq"] is not None}
        causes = {record["website_id"]: record["last_message_id"] for record in records}
        return {website.id: Locked(website, rows.get(website.id), causes[website.id]) for website in websites}

    async def fill(self, signups: Sequence[WebsiteCreated]) -> None:
        """Fill what websites' rows left empty with what their signups say."""
        await self.connection.execute(
            SQL["fill_websites"],
            [signup.website_id for signup in signups],
            [signup.subdomain for signup in signups],
            [signup.site_type for signup in signups],
            [signup.seed_pack for signup in signups],
            [signup.owner.email if isinstance(signup.owner, OwnerByEmail) else None for signup in signups],
            [_text(signup.request) for signup in signups],
        )

    async def facts(self, subdomains: Mapping[int, str | None]) -> dict[int, Facts]:
        """Count what websites have now, given their subdomains by id."""
        return {
            record["id"]: Facts(
                record["owners"],
                record["agencies"],
                record["links"],
                record["field_keys"],
                record["properties"],
                subdomains[record["id"]],
            )
            for record in await self.connection.fetch(SQL["facts"], list(subdomains))
        }

    async def write(self, moves: Sequence[Move], stall_seconds: float) -> list[Row]:
        """Write states and log rows; return the rows in the order of `moves`.

        Raises:
            RuntimeError: a website had another seq than it was judged on, which its lock forbids.
        """
        records = await self.connection.fetch(
            SQL["write"],
            [move.website_id for move in moves],
            [move.seq for move in moves],
            [move.trigger.value for move in moves],
            [move.from_state.value for move in moves],
            [move.to_state.value for move in moves],
            [move.message_id for move in moves],
            [move.actor for move in moves],
            [move.reason for move in moves],
            [_text(move.detail) for move in moves],
            [move.error for move in moves],
            [move.published_seq for move in moves],
            [move.asked_live for move in moves],
            stall_seconds,
        )
        occurred = {record["website_id"]: record["occurred_at"] for record in records}
        if len(occurred) != len(moves):
            raise RuntimeError(f"{len(moves)} transitions were judged under lock, {len(occurred)} could be written")
        return [
            Row(
                move.website_id,
                move.seq,
                move.trigger,
                move.from_state,
                move.to_state,
                move.message_id,
                move.actor,
                move.reason,
                move.detail,
                occurred[move.website_id],
            )
            for move in moves
        ]

    async def write_attempts(self, attempts: Sequence[Attempt]) -> None:
        """Count attempts and set when the next one is due."""
        await self.connection.execute(
            SQL["write_attempts"],
            [attempt.website_id for attempt in attempts],
            [attempt.attempts for attempt in attempts],
            [attempt.error for attempt in attempts],
            [attempt.backoff_seconds for attempt in attempts],
            [attempt.asked_live for attempt in attempts],
        )


class Session(asyncpg.Connection):
    """A connection that prepares what a transaction may need before its first transaction begins.

    asyncpg sends Parse and Flush, and Bind only after the answer. Between the two a session counts as active, but is in
    no statement: if the worker freezes just there, inside a transaction, neither `statement_timeout` nor
    `idle_in_transaction_session_timeout` ends it, and its row locks stay for as long as the worker is frozen
    (docs/decisions/0018). A prepared statement goes out as one piece, Bind to Sync.
    """

    prepared = False

    async def prepare_all(self) -> None:
        """Prepare every statement of a batch, once; outside a transaction."""
        if not self.prepared:
            for text in (*SQL.values(), *SEEDING.values()):
                # By no other public way does a statement get into the cache without being run.
                await self.executemany(text, ())
            # Preparing ended with no Sync: this ends the transaction that the server began for it.
            await self.execute("SELECT 1")
            self.prepared = True


class Store:
    """The connection pool, and the statements that stand alone."""

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
    ) -> None:
        """Remember how to connect; nothing is opened yet. `size` is the number of connections."""
        self._url = url
        self._size = size
        self._command_timeout_seconds = command_timeout_seconds
        self._server_settings = {
            "application_name": name,
            "timezone": "UTC",
            "lock_timeout": f"{lock_timeout_seconds * 1000:.0f}",
            "statement_timeout": f"{statement_timeout_seconds * 1000:.0f}",
            "idle_in_transaction_session_timeout": f"{idle_transaction_seconds * 1000:.0f}",
            # One plan a statement, made once: for an array of one the planner would plan anew each time. Made on empty
            # tables and kept, such a plan must not join or scan whole tables: rows are looked up by their keys (A8).
            "plan_cache_mode": "force_generic_plan",
            "enable_seqscan": "off",
            "enable_hashjoin": "off",
            "enable_mergejoin": "off",
            "jit": "off",
        }
        self._pool: Any = None
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Connect. Raises what asyncpg raises; `consumer.errors.classify` knows it."""
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,  # asyncpg would restore a floor by itself, in a loop of its own
                    max_size=self._size,
                    command_timeout=self._command_timeout_seconds,
                    timeout=self._command_timeout_seconds,
                    max_inactive_connection_lifetime=0,
                    max_cached_statement_lifetime=0,  # what is dropped would be prepared again in a transaction
                    statement_cache_size=256,
                    connection_class=Session,
                    server_settings=self._server_settings,
                    reset=_leave_clean,
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
        async with pool.acquire(timeout=self._command_timeout_seconds) as connection:
            metrics.POOL_WAIT.observe(time.monotonic() - began)
            try:
                yield connection
            except asyncpg.ReadOnlySQLTransactionError:
                # A session that began while the database was read-only stays so, whatever the database does.
                await pool.expire_connections()
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
            Interrupted: COMMIT was answered with something else.
        """
        async with self.connection() as connection:
            await connection.prepare_all()
            await connection.execute("BEGIN")
            try:
                yield Transaction(connection)
            except BaseException:
                # What went wrong matters, not that a broken connection cannot roll back as well: the server does.
                with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                    await connection.execute("ROLLBACK")
                raise
            answer = await connection.execute("COMMIT")
            if answer != "COMMIT":
                raise Interrupted(f"COMMIT was answered with {answer}")

    async def probe(self) -> None:
        """Ask whether the service's own tables can be written to, and whether all that a batch says can be said to the
        tables that are there; raises what stands in the way. The next transaction gets the connection, all prepared."""
        async with self.connection() as connection:
            await connection.prepare_all()
            await connection.execute(SQL["probe"])

    async def claim(self, limit: int, stall_seconds: float) -> list[Claim]:
        """Claim up to `limit` websites whose time has come."""
        async with self.connection() as connection:
            records = await connection.fetch(SQL["claim"], limit, stall_seconds)
        return [
            Claim(
                record["id"],
                State(record["provisioning_state"]),
                record["provisioning_seq"],
                record["provisioning_published_seq"],
                record["provisioning_attempts"],
                record["skip_properties"],
                record["auto_go_live"],
            )
            for record in records
        ]

    async def owed(self, claims: Sequence[Claim]) -> dict[int, list[Row]]:
        """Return, by website, the rows above `published_seq` in order, the last row always among them."""
        async with self.connection() as connection:
            records = await connection.fetch(
                SQL["owed"],
                [claim.website_id for claim in claims],
                [claim.published_seq for claim in claims],
                [claim.seq for claim in claims],
            )
        rows: dict[int, list[Row]] = {}
        for record in records:
            rows.setdefault(record["website_id"], []).append(row_of(record))
        return rows

    async def clear(self, rests: Sequence[tuple[int, int, int]]) -> None:
        """Owe nothing more to websites at rest: website id, its last seq, and the seq after which every event was
        answered for. Where one up to that is still owed, the clock keeps the website."""
        async with self.connection() as connection:
            await connection.execute(SQL["clear"], *([rest[column] for rest in rests] for column in range(3)), RESTING)

    async def due_soon(self, claims: Sequence[Claim], seconds: float) -> None:
        """Make claimed websites due again in some seconds: the broker has not answered for what they are owed."""
        async with self.connection() as connection:
            await connection.execute(
                SQL["due_soon"], [claim.website_id for claim in claims], [claim.seq for claim in claims], seconds
            )

    async def under_way(self, ids: Iterable[int]) -> set[int]:
        """Return which of these websites still move by themselves."""
        async with self.connection() as connection:
            return {record["id"] for record in await connection.fetch(SQL["under_way"], list(ids), RESTING)}

    async def unreachable(self) -> BaseException | None:
        """Return what stands in the way of asking the database anything; None if nothing does."""
        try:
            async with self.connection() as connection:
                await connection.execute("SELECT 1")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            return error
        return None

    async def glance(self, text: str, *arguments: Any, seconds: float) -> list[Any] | None:
        """Read for so long at most, on one core and with plans of its own; None where that was not enough."""
        async with self.connection() as connection:
            try:
                async with connection.transaction(readonly=True):
                    await connection.execute(f"SET LOCAL statement_timeout = {seconds * 1000:.0f};" + UNHURRIED)
                    found: list[Any] = await connection.fetch(text, *arguments, timeout=seconds + 5)
                    return found
            except (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError):
                return None

    async def appear(self, here: Sighting, gone_seconds: float) -> Pause | None:
        """Say that a worker process is there, and forget those not seen for so long; return what is wanted of it."""
        async with self.connection() as connection:
            records = await connection.fetch(
                SQL["appear"],
                here.id,
                here.host,
                here.pid,
                here.version,
                here.up_seconds,
                here.in_flight,
                here.paused,
                here.since_delivery_seconds,
                gone_seconds,
            )
        return next((Pause(row["worker"] == "all", row["actor"], row["since"]) for row in records), None)

    async def leave(self, worker_id: UUID) -> None:
        """Forget a worker process that has stopped."""
        async with self.connection() as connection:
            await connection.execute(SQL["leave"], worker_id)

    async def apply_schema(self) -> None:
        """Apply schema.sql, idempotently, in one transaction."""
        async with self.connection() as connection, connection.transaction():
            # Several `init` may start together, as in a compose file.
            # asyncpg's own timeout would cut an index build, or the wait for another; None would mean its default.
            patient = SCHEMA_SECONDS
            await connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0", timeout=patient)
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('provisioner schema'))", timeout=patient)
            await connection.execute(schema_text(), timeout=patient)


async def _leave_clean(connection: Any) -> None:
    """Reset a connection on release: only what we can have left behind. A full RESET costs a round trip each time."""
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")


def schema_text() -> str:
    """Return schema.sql: beside this file in an installed wheel, at the top of the tree in a checkout."""
    packed = resources.files("consumer") / "schema.sql"
    return packed.read_text() if packed.is_file() else (Path(__file__).parents[1] / "schema.sql").read_text()
