"""What the database says about websites, as people and tools read it. Reads only."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from consumer.store import KNOWN, RESTING, Store, Transaction
from seeders.sql_files import read_statements
from statemachine import State, checklist, missing_items, next_trigger, progress, status_message

SQL = read_statements("ops.sql")


NOT_OURS = "In a state of the existing product's own; this service does not move it"


class Unusable(ValueError):  # noqa: N818
    """What somebody asked for cannot be used; the text names the field and says why."""


class NotFound(Exception):  # noqa: N818
    """There is no such website; the text says what was looked for."""


async def find(store: Store, names: Sequence[str]) -> list[int]:
    """Return the ids of websites named by id or subdomain, in order.

    Raises:
        NotFound: naming the first that is not there.
    """
    found: list[int] = []
    async with store.connection() as connection:
        for name in names:
            website_id = await connection.fetchval(SQL["find"], name.strip().lower())
            if website_id is None:
                raise NotFound(f"there is no website with the id or subdomain {name!r}")
            found.append(website_id)
    return found


async def statuses(store: Store, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return the status of websites that exist: state, progress, message, checklist, missing items, error, next try."""
    async with store.connection() as connection:
        records = await connection.fetch(SQL["websites"], ids)
        facts = await Transaction(connection).facts({record["id"]: record["subdomain"] for record in records})
    told = []
    for record in records:
        known, failed_from = facts[record["id"]], record["provisioning_failed_from"]
        state = our_state(record["provisioning_state"])
        told.append(
            {
                "website_id": record["id"],
                "subdomain": record["subdomain"],
                "site_type": record["site_type"],
                "seed_pack": record["seed_pack_name"],
                "state": record["provisioning_state"],
                "seq": record["provisioning_seq"],
                "progress": progress(state, known, our_state(failed_from)) if state else None,
                "message": status_message(state, error=record["provisioning_error"], skipped=record["skip_properties"])
                if state
                else NOT_OURS,
                "checklist": checklist(known),
                "missing": missing_items(known),
                "error": record["provisioning_error"],
                "failed_from": failed_from,
                "attempts": record["provisioning_attempts"],
                "attempt_error": record["provisioning_attempt_error"],
                "next_attempt_at": _iso(record["provisioning_due_at"]) if record["provisioning_attempts"] else None,
                "auto_go_live": record["auto_go_live"],
                "skip_properties": record["skip_properties"],
                "started_at": _iso(record["provisioning_started_at"]),
                "completed_at": _iso(record["provisioning_completed_at"]),
                "failed_at": _iso(record["provisioning_failed_at"]),
            }
        )
    return told


async def history(store: Store, website_id: int) -> list[dict[str, Any]]:
    """Return a website's transitions, oldest first."""
    async with store.connection() as connection:
        records = await connection.fetch(SQL["history"], website_id)
    return [
        {
            "seq": record["seq"],
            "trigger": record["trigger"],
            "from_state": record["from_state"],
            "to_state": record["to_state"],
            "message_id": str(record["message_id"]),
            "actor": record["actor"],
            "reason": record["reason"],
            "error": detail.get("error"),
            "fallback": detail.get("fallback"),
            "url": detail.get("url"),
            "occurred_at": _iso(record["occurred_at"]),
        }
        for record in records
        for detail in [json.loads(record["detail"])]
    ]


async def listed(store: Store, state: State | None, limit: int) -> list[dict[str, Any]]:
    """Return the statuses of up to `limit` websites, the most recently changed first."""
    async with store.connection() as connection:
        ids = [record["id"] for record in await connection.fetch(SQL["list"], state and state.value, limit)]
    by_id = {status["website_id"]: status for status in await statuses(store, ids)}
    return [by_id[website_id] for website_id in ids if website_id in by_id]


async def states(store: Store) -> dict[str, int]:
    """Return how many websites are in each state, every state named."""
    async with store.connection() as connection:
        counts = {record["state"]: record["count"] for record in await connection.fetch(SQL["states"])}
    return {state.value: counts.get(state.value, 0) for state in State} | counts


async def count_at_rest(store: Store, ids: Sequence[int]) -> int:
    """Return how many of these websites wait for nothing but people."""
    async with store.connection() as connection:
        count: int = await connection.fetchval(SQL["at_rest"], ids, RESTING)
        return count


async def reserve_ids(store: Store, count: int) -> list[int]:
    """Reserve ids for new websites, from the sequence that the product itself uses."""
    async with store.connection() as connection:
        return [record["id"] for record in await connection.fetch(SQL["next_id"], count)]


def at_rest(status: dict[str, Any]) -> bool:
    """Say whether a website waits for nothing but people."""
    state = our_state(status["state"])
    return state is None or next_trigger(state, skip_properties=False, auto_go_live=status["auto_go_live"]) is None


def our_state(name: str | None) -> State | None:
    """Return a state of the machine by its name; None for the existing product's own (decision 0007)."""
    return State(name) if name in KNOWN else None


def _iso(moment: datetime | None) -> str | None:
    """Return a moment in UTC. The existing product's columns have no time zone; they hold UTC."""
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
