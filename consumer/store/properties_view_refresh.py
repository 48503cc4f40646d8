"""Has the existing product's materialized view of properties refreshed, by the function that a guest's rules have."""

from dataclasses import dataclass
from datetime import datetime

from consumer.store.database import Store
from seeders.sql_loader import read_statements

SQL = read_statements("consumer.store.sql.unprepared")


@dataclass(frozen=True, slots=True)
class RefreshAnswer:
    """What comes of asking for a view as new as `asked_at`: in how many seconds to ask again, None where it is."""

    asked_at: datetime
    seconds: float | None


async def refresh_properties(store: Store, asked_at: datetime | None, limit_seconds: float) -> RefreshAnswer | None:
    """Have the view refreshed if it is older than this, in a transaction of its own.

    Args:
        store: lends a connection for as long as it takes.
        asked_at: by the database's clock; None: now.
        limit_seconds: how long it may take.

    Returns:
        By when it is asked for, and in how many seconds to ask again; None where the database has no such view.
    """
    async with store.connection() as connection:
        if not await connection.fetchval(SQL["refreshable_view"]):
            return None
        async with connection.transaction(isolation="read_committed"):
            await connection.execute(f"SET LOCAL statement_timeout = {limit_seconds * 1000:.0f}")
            record = await connection.fetchrow(SQL["refresh_properties"], asked_at, timeout=limit_seconds + 5)
    return RefreshAnswer(record["asked_at"], record["seconds"])
