"""Stores the signups that were rejected, from which the progress routes answer for 30 days."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from consumer.store.database import Store
from seeders.sql_loader import read_statements

SQL = read_statements("consumer.store.sql.unprepared")


async def record_rejections(store: Store, rejections: Sequence[tuple[UUID, int, str]]) -> dict[UUID, datetime]:
    """Store rejected signups: message id, website id, code. Return by message id when each was first rejected.

    Raises:
        Exception: what the connection raises; then none is stored.
    """
    async with store.connection() as connection:
        columns = ([row[column] for row in rejections] for column in range(3))
        records = await connection.fetch(SQL["record_rejections"], *columns)
    return {record["message_id"]: record["rejected_at"] for record in records}
