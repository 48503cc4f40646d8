"""Reads the queue of dead letters into the table: one reader at a time, for all who ask meanwhile.

Who asks for a list gets the last reading, where it is some seconds old at most; waits for the one that is under way; or
reads. Who acts on dead letters marks the reading as outdated, and trusts the queue alone.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from consumer.broker.protocol import Broker
from consumer.store.database import Store
from ops.dead_letters import queue_lease
from ops.dead_letters.dead_letter_table import (
    SQL,
    Digests,
    Row,
    delete_rows,
    has_table,
    insert_rows,
    known_digests,
    row_of,
)
from ops.dead_letters.queue_lease import LeaseHeldError, leased_pages

FRESH_SECONDS = 2.0
"""So old a reading may be for a list to show it: a page that many people look at reads the queue once for them all."""
HELD_SECONDS = 1.0
"""How long to wait for a tool that acts on dead letters, where there is a reading to show instead."""
POLL_SECONDS = 0.1
SEARCHED_BY_OTHERS = (
    "texts are sought in the queue alone, and this database role may not write what is read of it: "
    "search without a text, or as provisioner_ops"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """When the queue was last read, by whom, how many dead letters it had, and how many more than one reading takes.

    `note`: why it could not be read again now; None where it is fresh.
    """

    began_at: datetime
    ended_at: datetime
    read_by: str
    letters: int
    beyond_limit: int
    note: str | None = None


@dataclass(frozen=True, slots=True)
class FreshReading:
    """A reading that is fresh enough, and the digests of the dead letters whose bodies have the text sought."""

    reading: Reading
    with_text: frozenset[bytes] = frozenset()


async def fresh_reading(
    store: Store, broker: Broker, queue: str, read_by: str, *, text: str | None = None
) -> FreshReading:
    """Return the last reading, after another one where that is old or outdated.

    `text`: is sought in all bodies, in any case of letters; for that the queue is always read.

    Raises:
        LeaseHeldError: another tool has the dead letters, and there is no reading, or bodies are to be searched.
        BrokerError: the broker is away, or refuses this user; the table is as it was.
    """
    now = asyncio.get_running_loop().time
    began = now()
    while True:
        async with store.connection() as connection:
            row = await connection.fetchrow(SQL["last_reading"], queue)
        if text is None and _is_fresh(row, now() - began):
            return FreshReading(_reading(row))
        fallback = _reading(row) if row["ended_at"] and text is None else None
        if not row["may_write"]:
            if text is not None:
                raise LeaseHeldError(SEARCHED_BY_OTHERS)
            return FreshReading(_instead(fallback, f"this database role may not write a reading of {queue}"))
        try:
            async with _turn(store, queue) as turn:
                if turn.began_at is not None:
                    row = await turn.connection.fetchrow(SQL["last_reading"], queue)
                    if text is None and _is_fresh(row, now() - began):
                        return FreshReading(_reading(row))  # whoever had the turn has just committed it
                    return await _read_queue(turn, broker, queue, read_by, text, brief=fallback is not None)
        except LeaseHeldError as held:
            return FreshReading(_instead(fallback, str(held), held))
        if now() - began > queue_lease.GIVE_UP_SECONDS:
            held_text = f"another tool is reading {queue}: try again when it has finished"
            return FreshReading(_instead(fallback, held_text, LeaseHeldError(held_text)))
        await asyncio.sleep(POLL_SECONDS)


async def mark_outdated(store: Store, queue: str) -> None:
    """Have the next list read the queue. To be called under the lease, before something is done to dead letters."""
    async with store.connection() as connection:
        if await has_table(connection):
            await connection.execute(SQL["mark_outdated"], queue)


@dataclass(slots=True)
class _Turn:
    """A connection in a transaction, and when its turn to read began; None: another reader has it."""

    connection: Any
    transaction: Any
    began_at: datetime | None = None
    committed: bool = False

    async def commit(self) -> None:
        self.committed = True
        await self.transaction.commit()


@asynccontextmanager
async def _turn(store: Store, queue: str) -> AsyncIterator[_Turn]:
    async with store.connection() as connection:
        turn = _Turn(connection, connection.transaction(isolation="read_committed"))
        await turn.transaction.start()
        try:
            turn.began_at = await connection.fetchval(SQL["begin_reading"], queue)
            yield turn
        finally:
            if not turn.committed:
                await turn.transaction.rollback()


async def _read_queue(
    turn: _Turn, broker: Broker, queue: str, read_by: str, text: str | None, *, brief: bool
) -> FreshReading:
    """Read the queue into the table; `brief`: do not wait long for its lease. Raises LeaseHeldError."""
    wait = min(HELD_SECONDS, queue_lease.GIVE_UP_SECONDS) if brief else queue_lease.GIVE_UP_SECONDS
    async with leased_pages(broker, queue, give_up_seconds=wait) as lease:
        count, with_text = await _write(turn.connection, lease, (text or "").lower())
        beyond = lease.ready - count
        row = await turn.connection.fetchrow(SQL["end_reading"], queue, turn.began_at, read_by, count, beyond)
        # Before the lease ends: whoever leases next marks this reading as outdated.
        await turn.commit()
    return FreshReading(_reading(row), frozenset(with_text))


async def _write(connection: Any, lease: queue_lease.PagedLease, text: str) -> tuple[int, set[bytes]]:
    """Write what is in the queue and not in the table, and delete what is in the table alone; return how many there
    are, and the digests of those whose bodies have the text."""
    queue = lease.queue
    known, place = await known_digests(connection, queue)
    digests, count, with_text = Digests(), 0, set[bytes]()
    async for page in lease.pages():
        rows: list[Row] = []
        for delivery in page:
            digest = digests.digest(delivery)
            if digest in known:
                known.remove(digest)
            else:
                place += 1
                rows.append(row_of(delivery, digest, place))
            if text and text in delivery.body.decode(errors="replace").lower():
                with_text.add(digest)
        count += len(page)
        await insert_rows(connection, queue, rows)
    await delete_rows(connection, queue, known)
    return count, with_text


def _is_fresh(row: Any, asked_seconds: float) -> bool:
    """Say whether a reading can be shown: it is some seconds old at most, or has ended since somebody asked."""
    return bool(row["ended_at"] and not row["outdated"] and row["age_seconds"] <= max(FRESH_SECONDS, asked_seconds))


def _reading(row: Any) -> Reading:
    return Reading(row["began_at"], row["ended_at"], row["read_by"], row["letters"], row["beyond_limit"])


def _instead(last: Reading | None, why: str, error: LeaseHeldError | None = None) -> Reading:
    """Return the last reading with why it is no later one. Raises LeaseHeldError where there is none."""
    if last is None:
        raise error or LeaseHeldError(f"{why}, and nobody has: run `provisioner dead-letters list` as provisioner_ops")
    return replace(last, note=why)
