"""Explains a website's state: its guards, what it waits for, its last error, and what people may do. Reads only."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, assert_never

from consumer.broker.protocol import Broker, BrokerError
from consumer.domain.existing_product_states import NOT_OURS, our_state
from consumer.store.database import Store
from consumer.store.provisioning_statements import Queries
from ops.audit.queries import recent_actions
from ops.dead_letters.listing import read_listing
from ops.dead_letters.queue_lease import LeaseHeldError
from ops.dead_letters.queue_reader import DeadLetterFilter
from ops.errors import NotFoundError
from ops.websites import queries
from ops.websites.requeue_forecast import RequeueProspect, forecast_requeue
from ops.websites.start_asleep import forecast_start
from ops.websites.verb_registry import REQUEUE, START, asleep_text, verb_forecasts
from ops.workers.queries import known_workers, reason_for_no_work
from seeders.loading.pack_library import PackLibrary
from seeders.sql_loader import read_statements
from statemachine import BY_TRIGGER, TRANSITIONS, Facts, State, Trigger, checklist, next_trigger

SQL = read_statements("ops.websites.sql")
MAX_DEAD_LETTERS = 100
"""Dead letters of one website that are named, the latest of them."""


async def explain_website(
    store: Store, broker: Broker | None, namespace: str, website_id: int, packs: PackLibrary | None = None
) -> dict[str, Any]:
    """Return what explains a website's state.

    Args:
        store: where it is.
        broker: where its dead letters are sought; None leaves them out.
        namespace: the prefix of the broker's queues.
        website_id: a website that exists.
        packs: the seed packs for the forecast of a requeue; None leaves that out.

    Returns:
        `status`, `guard` (what the next step needs, have and need), `requirements` (the same of every guard),
        `waits_for` (a kind and a sentence), `last_error`, `may` (each verb and what it would do), `dead_letters` (None:
        RabbitMQ was not asked, or is away, or another tool has them), `actions`.

    Raises:
        NotFoundError: there is none.
    """
    found = await queries.statuses(store, [website_id])
    if not found:
        raise NotFoundError(f"there is no website {website_id}")
    status = found[0]
    async with store.connection() as connection:
        row = await connection.fetchrow(SQL["wait_inputs"], website_id)
        facts = (await Queries(connection).facts({website_id: status["subdomain"]}))[website_id]
    state, failed_from = our_state(status["state"]), our_state(status["failed_from"])
    history = await queries.history(store, website_id)
    verbs = verb_forecasts(state, facts, failed_from, status=status) if state else []
    return {
        "status": status,
        "guard": _next_guard(status, facts),
        "requirements": _requirements(facts),
        "waits_for": _with_worker_state(wait_reason(status, row), await known_workers(store)) if row else None,
        "last_error": _last_error(status, history, row["updated_at"] if row else None),
        "may": [await _with_forecast(store, packs, website_id, verb) for verb in verbs],
        "dead_letters": await _dead_letters_of(store, broker, namespace, website_id),
        "actions": await recent_actions(store, website_id=website_id, limit=10),
    }


async def _with_forecast(
    store: Store, packs: PackLibrary | None, website_id: int, verb: dict[str, Any]
) -> dict[str, Any]:
    """Add to a requeue, or a start, what it would come to."""
    if packs is None or verb["verb"] not in (REQUEUE, START):
        return verb
    if verb["verb"] == START:
        for started in await forecast_start(store, packs, [website_id]):
            return verb | {"works": started.works, "would": started.would}
    for forecast in await forecast_requeue(store, packs, [website_id]):
        match forecast.prospect:
            case RequeueProspect.ADVANCES:
                end = "then nothing known stands in its way"
            case RequeueProspect.UNKNOWN:
                end = "whether it fails again is unknown: no guard wrote its error"
            case RequeueProspect.WAITS:
                end = f"then wait for {forecast.about}, and fail again where it does not come"
            case RequeueProspect.FAILS_AGAIN:
                end = f"then fail again: {forecast.about}"
            case RequeueProspect.NOT_FAILED:
                return verb
            case never:
                assert_never(never)
        return verb | {"would": f"{verb['would']}; {end}", "forecast": forecast.as_json()}
    return verb


def wait_reason(status: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, str]:
    """Return what a website waits for: `lock`, `retry`, `message`, `event`, `people`, `product` or `nothing`. Pure.

    Of a lock, `statement` is what its holder runs or ran last, where PostgreSQL shows it.

    Args:
        status: as `queries.statuses` returns it.
        row: its row of `wait_inputs.sql`.
    """
    state = our_state(status["state"])
    if row["pid"] is not None:
        client = row["application_name"] or "a client without a name"
        since = _time_text(row["locked_since"])
        locked = _reason("lock", f"its row is locked by {client}, PostgreSQL process {row['pid']}, since {since}")
        return locked | ({"statement": row["query"]} if row["query"] else {})
    if state is None:
        return _reason("product", NOT_OURS)
    if status["asleep"]:
        return _reason("people", asleep_text(status))
    if status["attempts"]:
        return _reason("retry", f"attempt {status['attempts'] + 1} is due at {_time_text(row['due_at'])}")
    if step := status["next_step"]:
        return _reason("message", _message_text(status, row, step))
    if row["due_at"] is not None and row["published_seq"] < status["seq"]:
        unpublished = status["seq"] - row["published_seq"]
        return _reason(
            "event", f"{unpublished} of its events may be unpublished; sent again at {_time_text(row['due_at'])}"
        )
    return _rest_reason(state, status)


def _message_text(status: Mapping[str, Any], row: Mapping[str, Any], step: Trigger) -> str:
    """Say for which message a website waits, and when it is sent if it does not come."""
    due = _time_text(row["due_at"])
    if status["under_way"]:
        return f"provisioning.{step} is on its way since {_time_text(row['moved_at'])}; it is sent again at {due}"
    start = f"`provisioner start {status['website_id']}` starts it now"
    since = _time_text(row["created_at"])
    return f"website.created has not come since {since}; without it, provisioning.{step} is sent at {due}; {start}"


def _rest_reason(state: State, status: Mapping[str, Any]) -> dict[str, str]:
    """Say what takes a website on that rests; nothing that a customer would notice of one that is live."""
    website_id = status["website_id"]
    never = "" if status["ours"] else "; this service never provisioned it"
    match state:
        case State.FAILED if status["ours"]:
            requeue = f"`provisioner requeue {website_id}` once the cause is fixed"
            return _reason("people", f"{requeue}, or `provisioner terminate {website_id}` to end it for good")
        case State.FAILED:
            return _reason("people", f"it is failed{never}: `provisioner requeue {website_id}` takes it up")
        case State.READY:
            return _reason("people", f"it is held at ready: `provisioner go-live {website_id}` lets it go live")
        case State.SUSPENDED:
            return _reason("people", f"it is suspended{never}: `provisioner reactivate {website_id}` brings it back")
        case _:
            return _reason("nothing", f"it is at rest: {state}{never}")


def _with_worker_state(waits: dict[str, str], known: Mapping[str, Any]) -> dict[str, str]:
    """Add, to a wait that only a worker can end, that none does, and why."""
    if waits["kind"] not in ("retry", "message", "event"):
        return waits
    reason = reason_for_no_work(known)
    return waits | {"why": f"{waits['why']}; but {reason}"} if reason else waits


def _reason(kind: str, why: str) -> dict[str, str]:
    return {"kind": kind, "why": why}


def _next_guard(status: Mapping[str, Any], facts: Facts) -> dict[str, Any] | None:
    """Return what the website's next step needs, and how much of that is there."""
    state = our_state(status["state"])
    if state is None:
        return None
    origin = our_state(status["failed_from"]) if state == State.FAILED else state
    following = next_trigger(origin, skip_properties=status["skip_properties"], auto_go_live=True) if origin else None
    if following is None:
        return None
    guarded = {requirement.key for requirement in BY_TRIGGER[following].guard}
    needs = [need for need in _requirements(facts) if need["key"] in guarded]
    return {"trigger": following.value, "from": origin, "needs": needs}


def _requirements(facts: Facts) -> list[dict[str, Any]]:
    """Return every requirement with how much of it is there, and which steps' guards have it."""
    entries = checklist(facts)
    return [
        {
            "key": key,
            "met": entry["complete"],
            **entry,
            "guards": [
                edge.trigger.value for edge in TRANSITIONS if key in (requirement.key for requirement in edge.guard)
            ],
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


async def _dead_letters_of(
    store: Store, broker: Broker | None, namespace: str, website_id: int
) -> list[dict[str, Any]] | None:
    if broker is None:
        return None
    about = DeadLetterFilter(website_id=website_id)
    try:
        found = await read_listing(store, broker, namespace, about, read_by="explain", limit=MAX_DEAD_LETTERS)
    except (BrokerError, LeaseHeldError):
        return None
    return found.letters


def _time_text(time: datetime | None) -> str:
    return "an unknown time" if time is None else time.isoformat(timespec="seconds")
