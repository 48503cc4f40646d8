"""A step of bench/naive.py for frameworks whose work is synchronous: the same statements, carried by psycopg 3.

`RawCursor` takes PostgreSQL's own placeholders ($1, $2, …), so that no statement is said twice. A pool hands out
connections that stay open; psycopg prepares what it has run five times, and resets nothing between two uses.
"""

import asyncio
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from bench.naive import (
    HISTORY,
    INSERT_AGENCY,
    INSERT_ASSETS,
    INSERT_FIELD_KEYS,
    INSERT_LINKS,
    INSERT_MEMBERSHIP,
    INSERT_RENTALS,
    INSERT_SALES,
    INSERT_USER,
    LOCK,
    MOVE,
    REGISTER,
    STEPS,
    packs_by_site_type,
)
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
            self._seed(cursor, trigger, website_id, website, body)
            if step.guard:
                (holds,) = cursor.execute(step.guard, (website_id,)).fetchone().values()
                if not holds:
                    raise RuntimeError(f"website {website_id} lacks what {trigger} needs")
            cursor.execute(MOVE, (website_id, step.after))
            seq = website["provisioning_seq"] + 1
            cursor.execute(HISTORY, (website_id, seq, trigger, step.before, step.after, message_id))
        return step.next

    def _seed(self, cursor: Any, trigger: str, website_id: int, website: Any, body: dict[str, Any]) -> None:
        match trigger:
            case "assign_owner":
                owner = body["owner"]
                first, _, last = owner["name"].rpartition(" ")
                cursor.execute(INSERT_USER, (owner["email"], first, last, website_id))
                cursor.execute(INSERT_MEMBERSHIP, (website_id, owner["email"]))
            case "complete_agency":
                name = website["subdomain"].replace("-", " ").title()
                cursor.execute(INSERT_AGENCY, (website_id, name, website["owner_email"]))
            case "complete_links":
                cursor.execute(INSERT_LINKS, (website_id, *self._packs[website["site_type"]].links))
            case "complete_field_keys":
                cursor.execute(INSERT_FIELD_KEYS, (website_id, *self._packs[website["site_type"]].field_keys))
            case "seed_properties":
                rows = self._packs[website["site_type"]]
                cursor.execute(INSERT_ASSETS, (website_id, *rows.assets))
                if rows.sales:
                    cursor.execute(INSERT_SALES, (website_id, *rows.sales))
                if rows.rentals:
                    cursor.execute(INSERT_RENTALS, (website_id, *rows.rentals))
            case _:
                pass
