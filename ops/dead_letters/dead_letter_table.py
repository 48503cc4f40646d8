"""The table of dead letters: a row each of what lists, totals, groups and filters need, without the body.

A row says what `summarize` does, exactly. Of a body it has the website's id and the length; all else of it is read in
the queue alone, by whoever shows, exports, forecasts or acts.
"""

import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from consumer.broker.protocol import Delivery
from ops.audit.trail import storable
from ops.dead_letters.queue_reader import summarize
from seeders.sql_loader import read_statements

SQL = read_statements("ops.dead_letters.sql")

DIGEST_BYTES = 16
CHANGED_BY_READING = frozenset({"x-delivery-count", "x-acquired-count"})
"""Headers in which the broker counts deliveries, and so readings."""
PAGE_ROWS = 2_000
"""Rows in memory at once. What senders write into headers comes to 16 KiB a row at most, and to hundreds of bytes
usually."""


class Digests:
    """Digests of dead letters as they are read: the same in each reading, and different within one.

    Two dead letters can be equal in all that they have; the second has another digest than the first.
    """

    def __init__(self) -> None:
        """Have seen none."""
        self._seen: Counter[bytes] = Counter()

    def digest(self, delivery: Delivery) -> bytes:
        """Return the digest of the next dead letter."""
        headers = {name: value for name, value in delivery.headers.items() if name not in CHANGED_BY_READING}
        parts = (delivery.message_id, delivery.type, delivery.refused_headers, headers, delivery.properties)
        hashed = hashlib.blake2b(repr(parts).encode(errors="surrogatepass"), digest_size=DIGEST_BYTES)
        hashed.update(delivery.body)
        digest = hashed.digest()
        self._seen[digest] += 1
        if (number := self._seen[digest]) > 1:
            return hashlib.blake2b(digest + str(number).encode(), digest_size=DIGEST_BYTES).digest()
        return digest


Row = tuple[
    bytes, int, str | None, str | None, int | None, str, str | None, str | None, datetime | None, int, str | None
]  # fmt: skip


def row_of(delivery: Delivery, digest: bytes, place: int) -> Row:
    """Return the row of a dead letter."""
    summary = summarize(delivery)
    texts = [summary[name] for name in ("message_id", "type", "reason", "error", "source_queue")]
    stored = [storable(text) for text in texts]
    message_id, kind, reason, error, source_queue = stored
    failed_at = summary["failed_at"]
    return (
        digest, place, message_id, kind, summary["website_id"], reason, error, source_queue,
        None if failed_at is None else datetime.fromisoformat(failed_at), summary["bytes"],
        None if stored == texts else json.dumps(summary),
    )  # fmt: skip


def summary_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `summarize` returned of the dead letter of a row."""
    if row["exact"] is not None:
        exact: dict[str, Any] = json.loads(row["exact"])
        return exact
    failed_at = row["failed_at"]
    return {
        "message_id": row["message_id"],
        "type": row["type"],
        "website_id": row["website_id"],
        "reason": row["reason"],
        "error": row["error"],
        "source_queue": row["source_queue"],
        "failed_at": None if failed_at is None else failed_at.isoformat(),
        "bytes": row["bytes"],
    }


async def has_table(connection: Any) -> bool:
    """Say whether `init` has made the table: who acts on dead letters needs none."""
    found: bool = await connection.fetchval("SELECT to_regclass('provisioning_dead_letter_readings') IS NOT NULL")
    return found


async def known_digests(connection: Any, queue: str) -> tuple[set[bytes], int]:
    """Return the digests of the rows of a queue, and the last place among them."""
    row = await connection.fetchrow(SQL["known_digests"], queue)
    return set(row["digests"]), row["last_place"]


async def insert_rows(connection: Any, queue: str, rows: Sequence[Row]) -> None:
    """Insert rows of one queue."""
    if rows:
        await connection.execute(SQL["insert_dead_letters"], queue, *map(list, zip(*rows, strict=True)))


async def delete_rows(connection: Any, queue: str, digests: Collection[bytes]) -> None:
    """Delete rows of one queue."""
    if digests:
        await connection.execute(SQL["delete_dead_letters"], queue, list(digests))


async def keep_rows(connection: Any, queue: str, digests: Collection[bytes]) -> None:
    """Delete all rows but these, those of other queues too: the next reading of a queue writes its own again."""
    if await has_table(connection):
        await connection.execute(SQL["keep_dead_letters"], queue, list(digests))


async def stored_rows(connection: Any, queue: str, website_id: int | None = None) -> AsyncIterator[Mapping[str, Any]]:
    """Yield the rows of a queue, the latest first. Each page is a statement: a transaction makes all of one reading."""
    last: tuple[Any, Any] = (None, None)
    while True:
        rows = await connection.fetch(SQL["page_of_dead_letters"], queue, website_id, *last, PAGE_ROWS)
        for row in rows:
            yield row
        if len(rows) < PAGE_ROWS:
            return
        last = (rows[-1]["at"], rows[-1]["place"])
