"""Why a website is where it is: its guards, what it waits for, its last error, and what people may do. Reads only."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, assert_never

from consumer.broker import Broker, BrokerError
from consumer.store import Store, Transaction
from ops import reading, recording
from ops.forecasting import Prospect, forecasts
from ops.looking import dead_letters
from ops.pausing import workers
from ops.reading import SQL
from ops.verbs import REQUEUE, may
from seeders import PackLibrary
from statemachine import TRANSITIONS, Facts, State, Trigger, checklist, next_trigger


async def explain(
    store: Store, broker: Broker | None, namespace: str, website_id: int, packs: PackLibrary | None = None
) -> dict[str, Any]:
    """Return all that says why a website is where it is.

    Args:
        store: where it is.
        broker: whose dead letters are looked through; None leaves them out.
        namespace: whose it is.
        website_id: a website that exists.
        packs: the seed packs on which a forecast of a requeue stands; None leaves that out.

    Returns:
        `status`, `guard` (what the next step needs, have and need), `requirements` (the same of every guard),
        `waits_for` (a kind and a sentence), `last_error`, `may` (each verb and what it would do), `dead_letters` (None:
        RabbitMQ was not asked, or is away), `actions`.

    Raises:
        NotFound: there is none.
    """
    found = await reading.statuses(store, [website_id])
    if not found:
        raise reading.NotFound(f"there is no website {website_id}")
    status = found[0]
    async with store.connection() as connection:
        waits = await connection.fetchrow(SQL["waits"], website_id)
        facts = (await Transaction(connection).facts({website_id: status["subdomain"]}))[website_id]
    state, failed_from = reading.our_state(status["state"]), reading.our_state(status["failed_from"])
    history = await reading.history(store, website_id)
    return {
        "status": status,
        "guard": _guard(status, facts),
        "requirements": _requirements(facts),
        "waits_for": _with_pool(waiting(status, waits), await workers(store)) if waits else None,
        "last_error": _last_error(status, history, waits["updated_at"] if waits else None),
        "may": [await _foreseen(store, packs, website_id, item) for item in may(state, facts, failed_from)]
        if state
        else [],
        "dead_letters": await _letters(broker, namespace, website_id),
        "actions": await recording.recent(store, website_id=website_id, limit=10),
    }


async def _foreseen(store: Store, packs: PackLibrary | None, website_id: int, item: dict[str, Any]) -> dict[str, Any]:
    """Add to a requeue what it would come to."""
    if packs is None or item["verb"] != REQUEUE:
        return item
    for told in await forecasts(store, packs, [website_id]):
        match told.prospect:
            case Prospect.ADVANCES:
                end = "then nothing known stands in its way"
            case Prospect.WAITS:
                end = f"then wait for {told.about}, and fail again where it does not come"
            case Prospect.FAILS_AGAIN:
                end = f"then fail again: {told.about}"
            case Prospect.NOT_FAILED:
                return item
            case never:
                assert_never(never)
        return item | {"would": f"{item['would']}; {end}", "forecast": told.told()}
    return item


def waiting(status: Mapping[str, Any], waits: Mapping[str, Any]) -> dict[str, str]:
    """Say what a website waits for: `lock`, `retry`, `message`, `event`, `people`, `product` or `nothing`. Pure.

    Of a lock, `statement` is what its holder runs or ran last, where PostgreSQL shows it.

    Args:
        status: as `reading.statuses` returns it.
        waits: its row of `waits.sql`.
    """
    state = reading.our_state(status["state"])
    if waits["pid"] is not None:
        by = waits["application_name"] or "a client without a name"
        since = _when(waits["locked_since"])
        locked = _waits("lock", f"its row is locked by {by}, PostgreSQL process {waits['pid']}, since {since}")
        return locked | ({"statement": waits["query"]} if waits["query"] else {})
    if state is None:
        return _waits("product", reading.NOT_OURS)
    if status["attempts"]:
        return _waits("retry", f"attempt {status['attempts'] + 1} is due at {_when(waits['due_at'])}")
    following = next_trigger(state, skip_properties=status["skip_properties"], auto_go_live=status["auto_go_live"])
    if following is not None:
        command = "website.created" if following == Trigger.ASSIGN_OWNER else f"provisioning.{following}"
        since = _when(waits["moved_at"] or waits["created_at"])
        again = f"it is sent again at {_when(waits['due_at'])}" if waits["due_at"] else "nothing sends it again"
        return _waits("message", f"{command} is on its way since {since}; {again}")
    if waits["due_at"] is not None and waits["published_seq"] < status["seq"]:
        owed = status["seq"] - waits["published_seq"]
        return _waits("event", f"{owed} of its events may not be out; sent again at {_when(waits['due_at'])}")
    match state:
        case State.FAILED:
            return _waits("people", "requeue it once the cause is mended, or terminate it")
        case State.READY:
            return _waits("people", "it is held: go-live lets it go live")
        case State.SUSPENDED:
            return _waits("people", "reactivate or terminate it")
        case _:
            return _waits("nothing", f"it rests: {state}")


def _with_pool(waits: dict[str, str], pool: Mapping[str, Any]) -> dict[str, str]:
    """Add to what the workers would bring that there is none to bring it."""
    if waits["kind"] not in ("retry", "message", "event"):
        return waits
    if pool["paused"]:
        by, since, why = (pool["paused"][name] for name in ("actor", "since", "reason"))
        return waits | {"why": f"{waits['why']}; but all workers are paused by {by} since {since}: {why}"}
    if all(worker["stale"] for worker in pool["workers"]):
        return waits | {"why": f"{waits['why']}; but no worker runs"}
    return waits


def _waits(kind: str, why: str) -> dict[str, str]:
    return {"kind": kind, "why": why}


def _guard(status: Mapping[str, Any], facts: Facts) -> dict[str, Any] | None:
    """Return what the website's next step needs, and how much of that is there."""
    state = reading.our_state(status["state"])
    if state is None:
        return None
    origin = reading.our_state(status["failed_from"]) if state == State.FAILED else state
    following = next_trigger(origin, skip_properties=status["skip_properties"], auto_go_live=True) if origin else None
    if following is None:
        return None
    transition = next(edge for edge in TRANSITIONS if edge.trigger == following)
    guarded = {requirement.key for requirement in transition.guard}
    needs = [need for need in _requirements(facts) if need["key"] in guarded]
    return {"trigger": following.value, "from": origin, "needs": needs}


def _requirements(facts: Facts) -> list[dict[str, Any]]:
    """Return every requirement with how much of it is there, and which steps' guards ask for it."""
    entries = checklist(facts)
    return [
        {
            "key": key,
            "met": entry["complete"],
            **entry,
            "guards": [edge.trigger.value for edge in TRANSITIONS if key in (asked.key for asked in edge.guard)],
        }
        for key, entry in entries.items()
    ]


def _last_error(
    status: Mapping[str, Any], history: list[dict[str, Any]], updated_at: datetime | None
) -> dict[str, Any] | None:
    if status["attempts"]:
        at = updated_at and updated_at.isoformat()
        return {"error": status["attempt_error"], "at": at, "attempts": status["attempts"]}
    for row in reversed(history):
        if row["error"]:
            return {"error": row["error"], "at": row["occurred_at"], "attempts": None}
    return {"error": status["error"], "at": status["failed_at"], "attempts": None} if status["error"] else None


async def _letters(broker: Broker | None, namespace: str, website_id: int) -> list[dict[str, Any]] | None:
    if broker is None:
        return None
    try:
        return [letter for letter in await dead_letters(broker, namespace) if letter["website_id"] == website_id]
    except BrokerError:
        return None


def _when(moment: datetime | None) -> str:
    return "an unknown time" if moment is None else moment.isoformat(timespec="seconds")
