"""Reads of worker processes: who works, who is stale, who is paused; and which of them a name selects."""

from collections.abc import Mapping, Sequence
from typing import Any

from consumer.store.database import Store
from seeders.sql_loader import read_statements

SQL = read_statements("ops.workers.sql")

UNSEEN_SECONDS = 15.0
"""A worker reports every 3 seconds, 5 at most: one that has not for so long is dead, or cut off."""
MIN_PREFIX_CHARACTERS = 4


class UnknownWorkerError(Exception):
    """There is no such worker, or more than one; the text says what was sought."""


async def known_workers(store: Store) -> dict[str, Any]:
    """Return the worker processes that have reported, and who has paused all of them."""
    async with store.connection() as connection:
        records = await connection.fetch(SQL["workers"])
        pauses = await connection.fetch(SQL["pause_of_all"])
    return {
        "paused": _pause(pauses[0], "since") if pauses else None,
        "workers": [_worker(record) for record in records],
    }


def live_workers(known: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return those of the result of `known_workers` that have reported lately."""
    return [worker for worker in known["workers"] if not worker["stale"]]


def reason_for_no_work(known: Mapping[str, Any]) -> str | None:
    """Return why no worker takes work, given what `known_workers` returns; None where one does."""
    live = live_workers(known)
    if pause := known["paused"]:
        by_whom = f"by {pause['actor']} since {pause['since']} ({pause['reason']})"
        return f"all workers are paused {by_whom}: `provisioner resume --all` lets them go on"
    if not live:
        return "no worker runs: start `provisioner worker`"
    if all(worker["pause"] for worker in live):
        return "every worker is paused: `provisioner resume` lets them go on"
    return None


def _worker(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": str(record["id"]),
        "name": f"{record['host']}:{record['pid']}",
        "host": record["host"],
        "pid": record["pid"],
        "version": record["version"],
        "since": record["since"].isoformat(),
        "seen_at": record["seen_at"].isoformat(),
        "unseen_seconds": round(max(0.0, record["unseen_seconds"]), 1),
        "stale": record["unseen_seconds"] > UNSEEN_SECONDS,
        "in_flight": record["in_flight"],
        "last_delivery_at": record["last_delivery_at"] and record["last_delivery_at"].isoformat(),
        "paused": record["paused"],
        "pause": _pause(record, "paused_since"),
    }


def _pause(record: Mapping[str, Any], since: str) -> dict[str, Any] | None:
    if record["actor"] is None:
        return None
    return {"actor": record["actor"], "reason": record["reason"], "since": record[since].isoformat()}


def select_workers(workers: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the workers with these ids, beginnings of ids, or HOST:PID, each once.

    Raises:
        UnknownWorkerError: naming the first that is not there, or that could be several.
    """
    selected: dict[str, dict[str, Any]] = {}
    for name in map(str.strip, names):
        prefix = name.lower() if len(name) >= MIN_PREFIX_CHARACTERS else None
        matching = [worker for worker in workers if name in (worker["id"], worker["name"])]
        matching = matching or [worker for worker in workers if prefix and worker["id"].startswith(prefix)]
        alive = [worker for worker in matching if not worker["stale"]]
        if len(alive or matching) != 1:
            count = "more than one worker" if matching else "no worker"
            raise UnknownWorkerError(f"there is {count} {name!r}: name it by its id or as HOST:PID")
        (worker,) = alive or matching
        selected[worker["id"]] = worker
    return list(selected.values())
