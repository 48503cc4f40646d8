"""Builds indexes beside readers and writers (CREATE INDEX CONCURRENTLY), each where no other index serves as well.

A build that was interrupted leaves an index that is not valid; it is dropped and built again. A unique index over rows
that are doubled is not built: people decide which of the rows to keep.
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from consumer.error_classification import DOUBLED_ROWS, SESSION_LOST
from consumer.store.database import Store
from consumer.store.lock_retries import WaitPolicy, in_turns
from seeders.sql_loader import read_statements

SQL = read_statements("consumer.store.sql.unprepared")

STATEMENT = re.compile(
    r"CREATE (?P<unique>UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS (?P<name>\w+)\s+ON (?P<table>\w+)"
    r"(?: USING \w+)? \((?P<columns>[^;]*?)\)(?: WITH \([^;]*\))?(?:\s+WHERE (?P<predicate>[^;]+))?;"
)
MADE_BY_INIT = "Made by provisioner init"
"""The comment of an index, by which `init --remove` knows it."""
UNIQUE_REFERENCE = "index_pwb_realty_assets_unique_website_id_and_reference"
"""Only in a database of the service's own: the existing product may give two properties of a website one reference."""
NOT_THE_PRODUCTS = (
    "index_pwb_websites_on_lower_subdomain",
    "index_pwb_users_on_lower_email",
    "index_pwb_agencies_unique_website_id",
    UNIQUE_REFERENCE,
    "index_pwb_user_memberships_on_user_id_and_website_id",
)
"""Unique indexes that the existing product does not have: 0.1.0 built them without a comment, and a schema that the
product loads anew may have lost it."""
REPLACED = ("index_pwb_websites_on_subdomain", "index_pwb_users_on_email")
"""Unique indexes of version 0.1.0, whose work those without case do."""
BUILD_SECONDS = 86_400.0
"""For asyncpg, whose own timeout would cut a build on a large table."""
MOST_NAMED = 10
"""So many groups of doubled rows are named; there may be thousands."""


@dataclass(frozen=True, slots=True)
class IndexStatement:
    """One statement of a migration that builds an index."""

    name: str
    table: str
    columns: str
    unique: bool
    predicate: str
    text: str


@dataclass(frozen=True, slots=True)
class DoubledRows:
    """Rows that keep a unique index from being built."""

    index: IndexStatement
    groups: tuple[tuple[str, ...], ...]
    """The ids of the first groups."""
    count: int
    """How many groups there are."""


def index_statements(text: str) -> list[IndexStatement]:
    """Return the statements of a migration, in order."""
    return [
        IndexStatement(
            found["name"],
            found["table"],
            found["columns"],
            bool(found["unique"]),
            found["predicate"] or "",
            found[0],
        )
        for found in STATEMENT.finditer(text)
    ]


async def build_indexes(
    store: Store, connection: Any, policy: WaitPolicy, wanted: Mapping[IndexStatement, bool]
) -> None:
    """Build indexes, one after the other; those over doubled rows are left out.

    Args:
        store: lends another connection, for the names of who is in the way.
        connection: without a transaction.
        policy: how long a wait may take. None of these waits stops readers or writers.
        wanted: what to build, and whether an interrupted build has left it as not valid.
    """
    async with timeouts_set(connection):
        for index, left_over in wanted.items():
            await in_turns(store, connection, policy, _Build(connection, index, left_over=left_over))


async def drop_unique_indexes(store: Store, connection: Any, policy: WaitPolicy) -> None:
    """Drop the unique indexes on the existing product's tables that `init` has built, beside readers and writers."""
    records = await connection.fetch(SQL["our_unique_indexes"], MADE_BY_INIT, list(NOT_THE_PRODUCTS))
    await drop_indexes(store, connection, policy, [record["name"] for record in records])


async def drop_indexes(store: Store, connection: Any, policy: WaitPolicy, names: Sequence[str]) -> None:
    """Drop indexes, one after the other, beside readers and writers; without a transaction."""
    async with timeouts_set(connection):
        for name in names:
            drop = f"DROP INDEX CONCURRENTLY IF EXISTS {name}"
            await in_turns(store, connection, policy, partial(connection.execute, drop, timeout=BUILD_SECONDS))


@asynccontextmanager
async def timeouts_set(connection: Any, *, lock_seconds: float = 0) -> AsyncIterator[None]:
    """Set the timeouts of a session: none for statements, and `lock_seconds` for locks (0: none). Restores the earlier
    values at the end by SET, since RESET does not restore them behind a pooler."""
    timeouts = ("lock_timeout", "statement_timeout")
    had = [await connection.fetchval("SELECT current_setting($1)", name) for name in timeouts]
    await connection.execute(f"SET lock_timeout = {lock_seconds * 1000:.0f}; SET statement_timeout = 0")
    try:
        yield
    finally:
        texts = (f"SET {name} = '{value}'" for name, value in zip(timeouts, had, strict=True))
        with suppress(*SESSION_LOST):  # then nobody uses the session any more, and the first error says so
            await connection.execute("; ".join(texts))


class _Build:
    """The build of one index, which may be called again where it has failed."""

    def __init__(self, connection: Any, index: IndexStatement, *, left_over: bool) -> None:
        self._connection = connection
        self._index = index
        self._left_over = left_over

    async def __call__(self) -> None:
        if self._left_over:
            await self._drop()
        if not (await doubled_rows(self._connection, self._index)).count:
            self._left_over = True
            with suppress(DOUBLED_ROWS):  # inserted just now
                await self._connection.execute(self._index.text, timeout=BUILD_SECONDS)
                self._left_over = False
                await self._connection.execute(f"COMMENT ON INDEX {self._index.name} IS '{MADE_BY_INIT}'")
        if self._left_over:
            await self._drop()

    async def _drop(self) -> None:
        await self._connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {self._index.name}", timeout=BUILD_SECONDS)
        self._left_over = False


async def doubled_rows(connection: Any, index: IndexStatement) -> DoubledRows:
    """Return the rows that a unique index forbids; rows with a NULL in one of its columns are none."""
    if not index.unique:
        return DoubledRows(index, (), 0)
    text = (
        SQL["doubled_rows"]
        .replace("{table}", index.table)
        .replace("{columns}", index.columns)
        .replace("{filled}", " AND ".join(f"{column} IS NOT NULL" for column in index.columns.split(", ")))
        .replace("{predicate}", f"({index.predicate or True})")
    )
    records = await connection.fetch(text, MOST_NAMED, timeout=BUILD_SECONDS)
    return DoubledRows(index, tuple(tuple(row["ids"]) for row in records), records[0]["groups"] if records else 0)


async def breaking_rows(connection: Any, check: str) -> tuple[list[int], int]:
    """Return the websites that break a check, given its text: the first of their ids, and how many there are."""
    text = SQL["breaking_rows"].replace("{check}", check)
    records = await connection.fetch(text, MOST_NAMED, timeout=BUILD_SECONDS)
    return [row["id"] for row in records], records[0]["count"] if records else 0
