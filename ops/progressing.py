"""How far a website is, for its customer: words without internals, and an honest estimate of the time left."""

from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import Any

from consumer.store import Store
from ops import reading
from ops.reading import SQL
from statemachine import CHAIN, State

ENOUGH = 20
"""Websites that an estimate must rest on; with fewer there is none."""
RECENT = 500
"""Websites that are looked at for it, the latest."""
DELAYED = "This step takes longer than usual. It goes on by itself."
FAILED = "We could not finish setting up your website. Please contact support and give them the number {id}."
UNOWNED = "Your website has no owner account yet. Please finish your signup; if you have, contact support."
SAID_BY_STATE = {state.value for state in State} - {State.FAILED}
"""Where the machine's own sentence is fit for customers."""
LOCKED = "Your website waits for you to finish your signup."
SUSPENDED = "Your website is switched off at the moment. Please contact support."
TERMINATED = "This website has been closed."


async def durations(store: Store) -> dict[str, list[float]]:
    """Return, by state, how many seconds recent websites took from entering it until they were live.

    Only websites that went through by themselves within a day: none that failed, was held, or was moved by people.
    """
    async with store.connection() as connection:
        records = await connection.fetch(SQL["time_left"], RECENT)
    return {record["state"]: sorted(record["seconds"]) for record in records}


async def figures(store: Store, known: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return how it goes: what was done in the last minute, the oldest website on its way, and the time to live of
    recent ones, in seconds.
    """
    async with store.connection() as connection:
        oldest = await connection.fetchrow(SQL["oldest"], [state.value for state in CHAIN[:-1]])
        last_minute = await connection.fetchrow(SQL["last_minute"])
    took = known.get(State.PENDING, ())
    percentiles = quantiles(took, n=100, method="inclusive") if len(took) >= ENOUGH else None
    return {
        "last_minute": dict(last_minute),
        "oldest": {"website_id": oldest["id"], "seconds": round(oldest["seconds"], 1)} if oldest else None,
        "time_to_live": {
            "p50_seconds": round(percentiles[49], 2),
            "p99_seconds": round(percentiles[98], 2),
            "websites": len(took),
        }
        if percentiles
        else None,
    }


def estimate(known: Mapping[str, Sequence[float]], state: str, spent_seconds: float) -> dict[str, Any] | None:
    """Return the time left of a website that has been in `state` for a while, in seconds: half of those that had been
    there as long were done within `seconds`, nine of ten within `at_most_seconds`. None where too few have been.
    """
    left = [took - spent_seconds for took in known.get(state, ()) if took > spent_seconds]
    if len(left) < ENOUGH:
        return None
    return {
        "seconds": round(median(left), 1),
        "at_most_seconds": round(quantiles(left, n=10)[-1], 1),
        "websites": len(left),
    }


def trouble(status: Mapping[str, Any]) -> dict[str, str] | None:
    """Return what a customer should know when it does not simply go on, as a code and a sentence; None if it does."""
    match reading.our_state(status["state"]):
        case State.FAILED if "owner membership" in status["missing"]:
            return {"code": "owner_missing", "text": UNOWNED}
        case State.FAILED:
            return {"code": "setup_failed", "text": FAILED.format(id=status["website_id"])}
        case State.SUSPENDED:
            return {"code": "suspended", "text": SUSPENDED}
        case State.TERMINATED:
            return {"code": "terminated", "text": TERMINATED}
        case None:
            return {"code": "waiting", "text": LOCKED}
        case _:
            return {"code": "delayed", "text": DELAYED} if status["attempts"] else None


def told(status: Mapping[str, Any], known: Mapping[str, Sequence[float]], domain: str) -> dict[str, Any]:
    """Return a website's progress as its customer may see it: no error text, no names of packs, no addresses."""
    problem = trouble(status)
    moving = status["state"] in CHAIN and not reading.at_rest(dict(status)) and problem is None
    host = f"{status['subdomain']}.{domain}" if status["subdomain"] else None
    live = status["state"] == State.LIVE
    return {
        "website_id": status["website_id"],
        "state": status["state"],
        "seq": status["seq"],
        "progress": status["progress"],
        "message": problem["text"] if problem and status["state"] not in SAID_BY_STATE else status["message"],
        "error": problem,
        "checklist": status["checklist"],
        "missing": status["missing"],
        "live_url": {
            "scheme": "https",
            "subdomain": status["subdomain"],
            "domain": domain,
            "url": f"https://{host}" if live and host else None,
        },
        "time_left": estimate(known, status["state"], status["in_state_seconds"]) if moving else None,
    }


async def followed(
    store: Store, ids: Sequence[int], known: Mapping[str, Sequence[float]], domain: str
) -> dict[int, dict[str, Any]]:
    """Return the progress of websites that exist, by id."""
    statuses = await reading.statuses(store, ids)
    async with store.connection() as connection:
        records = await connection.fetch(SQL["in_state"], [status["website_id"] for status in statuses])
    spent = {record["id"]: record["seconds"] for record in records}
    return {
        status["website_id"]: told(status | {"in_state_seconds": spent.get(status["website_id"], 0.0)}, known, domain)
        for status in statuses
    }
