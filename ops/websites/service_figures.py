"""The figures of the service: how long recent websites took to go live, the last minute, the oldest under way."""

from collections.abc import Mapping, Sequence
from statistics import quantiles
from typing import Any

from consumer.store.database import Store
from seeders.sql_loader import read_statements
from statemachine import CHAIN, State

SQL = read_statements("ops.websites.sql")
MIN_SAMPLE = 20
"""Websites that an estimate needs; with fewer there is none."""
SAMPLE_WEBSITES = 500
"""Websites that are read for it, the latest."""


async def durations_to_live(store: Store) -> dict[str, list[float]]:
    """Return, by state, how many seconds recent websites took from entering it until they were live.

    Only websites that went through by themselves within a day: none that failed, was held, or was moved by people.
    """
    async with store.connection() as connection:
        records = await connection.fetch(SQL["durations_to_live"], SAMPLE_WEBSITES)
    return {record["state"]: sorted(record["seconds"]) for record in records}


async def service_figures(store: Store, durations: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return the service's figures: what was done in the last minute, the oldest website under way, and the time to
    live of recent ones, in seconds. `durations`: as `durations_to_live` returns them.
    """
    async with store.connection() as connection:
        last_minute = await connection.fetchrow(SQL["last_minute"])
    took = durations.get(State.PENDING, ())
    time_to_live = None
    if len(took) >= MIN_SAMPLE:
        percentiles = [round(seconds, 2) for seconds in quantiles(took, n=100, method="inclusive")]
        time_to_live = {"p50_seconds": percentiles[49], "p99_seconds": percentiles[98], "websites": len(took)}
    return {
        "last_minute": dict(last_minute),
        "oldest": await oldest_under_way(store),
        "time_to_live": time_to_live,
    }


async def oldest_under_way(store: Store) -> dict[str, Any] | None:
    """Return the website that has been under way longest (`website_id`), and for how many `seconds`; None for none."""
    async with store.connection() as connection:
        oldest = await connection.fetchrow(SQL["oldest_under_way"], [state.value for state in CHAIN[:-1]])
    return {"website_id": oldest["id"], "seconds": round(oldest["seconds"], 1)} if oldest else None
