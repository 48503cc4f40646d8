"""A website's progress for its customer: messages without internals, and an estimate of the time left."""

from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import Any

from consumer.domain.existing_product_states import our_state
from consumer.messages.rejected_signups import CUSTOMER_MESSAGES, RejectionCode
from consumer.store.database import Store
from ops.websites import queries
from ops.websites.service_figures import MIN_SAMPLE
from seeders.sql_loader import read_statements
from statemachine import CHAIN, State
from statemachine.steps import OWNER

SQL = read_statements("ops.websites.sql")

DELAYED = "This step takes longer than usual. It goes on by itself."
FAILED = "We could not finish setting up your website. Please contact support and give them the number {id}."
UNOWNED = "Your website has no owner account yet. Please finish your signup; if you have, contact support."
STATES_WITH_CUSTOMER_MESSAGE = {state.value for state in State} - {State.FAILED}
"""States whose message by the machine is fit for customers."""
LOCKED = "Your website waits for you to finish your signup."
SUSPENDED = "Your website is switched off at the moment. Please contact support."
TERMINATED = "This website has been closed."
UNREGISTERED, REJECTED = "unregistered", "rejected"
"""In place of a state, where there is no website: no signup has come yet, or the last one was rejected."""
NOT_REGISTERED_YET = "This website is not registered yet. This page continues as soon as it is."
ABOUT_ITS_OWN = {RejectionCode.SUBDOMAIN_TAKEN, RejectionCode.UNKNOWN_USER, RejectionCode.USER_TAKEN}
"""Codes that a registered website shows as its own error. A signup with another code may be somebody else's."""


def estimate_time_left(
    durations: Mapping[str, Sequence[float]], state: str, spent_seconds: float
) -> dict[str, Any] | None:
    """Return the time left of a website that has been in `state` for a while, in seconds: half of those that had been
    there as long were done within `seconds`, nine of ten within `at_most_seconds`. None where too few have been.
    """
    left = [took - spent_seconds for took in durations.get(state, ()) if took > spent_seconds]
    if len(left) < MIN_SAMPLE:
        return None
    return {
        "seconds": round(median(left), 1),
        "at_most_seconds": round(quantiles(left, n=10)[-1], 1),
        "websites": len(left),
    }


def customer_error(status: Mapping[str, Any], rejected: RejectionCode | None = None) -> dict[str, str] | None:
    """Return, as a code and a sentence, why a website does not go on by itself; None if it does.

    `rejected`: the code of the last rejected signup that names it.
    """
    match our_state(status["state"]):
        case State.PENDING if rejected in ABOUT_ITS_OWN and not status["seq"]:
            return _rejection(rejected)
        case State.FAILED if OWNER.missing in status["missing"]:
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


def customer_progress(
    status: Mapping[str, Any],
    durations: Mapping[str, Sequence[float]],
    domain: str,
    rejected: RejectionCode | None = None,
) -> dict[str, Any]:
    """Return a website's progress as its customer may see it: no error text, no names of packs, no addresses."""
    error = customer_error(status, rejected)
    moving = status["state"] in CHAIN and not queries.is_at_rest(dict(status)) and error is None
    host = f"{status['subdomain']}.{domain}" if status["subdomain"] else None
    url = f"https://{host}" if host and status["state"] == State.LIVE else None
    message = error["text"] if error and status["state"] not in STATES_WITH_CUSTOMER_MESSAGE else status["message"]
    return {
        "website_id": status["website_id"],
        "state": status["state"],
        "seq": status["seq"],
        "progress": status["progress"],
        "message": message,
        "error": error,
        "checklist": status["checklist"],
        "missing": status["missing"],
        "live_url": {"scheme": "https", "subdomain": status["subdomain"], "domain": domain, "url": url},
        "time_left": estimate_time_left(durations, status["state"], status["in_state_seconds"]) if moving else None,
    }


def progress_of_absent(website_id: int, domain: str, rejected: RejectionCode | None = None) -> dict[str, Any]:
    """Return the progress where there is no website: its signup was rejected, or has not come yet."""
    error = _rejection(rejected) if rejected else None
    return {
        "website_id": website_id,
        "state": REJECTED if rejected else UNREGISTERED,
        "seq": 0,
        "progress": 0,
        "message": error["text"] if error else NOT_REGISTERED_YET,
        "error": error,
        "checklist": {},
        "missing": [],
        "live_url": {"scheme": "https", "subdomain": None, "domain": domain, "url": None},
        "time_left": None,
    }


async def customer_progress_by_id(
    store: Store, ids: Sequence[int], durations: Mapping[str, Sequence[float]], domain: str
) -> dict[int, dict[str, Any]]:
    """Return, by id, the progress of registered websites, and of ids whose signup was rejected."""
    statuses = {status["website_id"]: status for status in await queries.statuses(store, ids)}
    async with store.connection() as connection:
        spent = {
            each["id"]: each["seconds"] for each in await connection.fetch(SQL["seconds_in_state"], list(statuses))
        }
        unbegun = [each for each in ids if each not in statuses or not statuses[each]["seq"]]
        records = await connection.fetch(SQL["last_rejections"], unbegun) if unbegun else []
    rejected = {each["website_id"]: RejectionCode(each["code"]) for each in records}
    absent = {each: progress_of_absent(each, domain, code) for each, code in rejected.items() if each not in statuses}
    return absent | {
        website_id: customer_progress(
            status | {"in_state_seconds": spent.get(website_id, 0.0)}, durations, domain, rejected.get(website_id)
        )
        for website_id, status in statuses.items()
    }


def _rejection(code: RejectionCode) -> dict[str, str]:
    return {"code": code.value, "text": CUSTOMER_MESSAGES[code]}
