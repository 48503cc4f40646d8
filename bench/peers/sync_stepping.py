"""A step of bench/naive.py for frameworks whose work is synchronous: the same statements, carried by psycopg 3.

`RawCursor` takes PostgreSQL's own placeholders ($1, $2, …), so that no statement is said twice. A pool hands out
connections that stay open; psycopg prepares what it has run five times, and resets nothing between two uses.
"""

import asyncio
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from bench.naive import HISTORY, LOCK, MOVE, REGISTER, STEPS, packs_by_site_type, seeding
from consumer.config import load_settings


class SyncStepping:
    """What a step is. Safe to be used by many threads; made after a process has forked, never before."""

    def __init__(self, connections: int) -> None:
        """Open so many connections."""
        self._packs = asyncio.run(packs_by_site_type())
        self._pool = ConnectionPool(
            load_settings().database_url.get_secret_value(),
            min_size=connections,
            max_size=max(1, connections),
            open=True,
            kwargs={"autocommit": True},
        )

    def advance(self, trigger: str, body: dict[str, Any], message_id: str) -> str | None:
        """Move a website by one step, in a transaction; return the trigger of the next, None where there is none."""
        with self._pool.connection() as connection, connection.transaction():
            return self.step(connection, trigger, body, message_id)

    def step(self, connection: Any, trigger: str, body: dict[str, Any], message_id: str) -> str | None:
        """Do the same in a transaction that somebody else has begun."""
        step, website_id = STEPS[trigger], body["website_id"]
        with psycopg.RawCursor(connection, row_factory=dict_row) as cursor:
            if trigger == "assign_owner":
                cursor.execute(REGISTER, (website_id, body["subdomain"], body["site_type"], body["owner"]["email"]))
            website = cursor.execute(LOCK, (website_id,)).fetchone()
            if website is None or website["provisioning_state"] != step.before:
                return None  # a duplicate
            for statement, *arguments in seeding(trigger, website_id, website, body, self._packs):
                cursor.execute(statement, arguments)
            if step.guard:
                (holds,) = cursor.execute(step.guard, (website_id,)).fetchone().values()
                if not holds:
                    raise RuntimeError(f"website {website_id} lacks what {trigger} needs")
            cursor.execute(MOVE, (website_id, step.after))
            seq = website["provisioning_seq"] + 1
            cursor.execute(HISTORY, (website_id, seq, trigger, step.before, step.after, message_id))
        return step.next
