"""Reads of websites for people and tools: status, details, history, counts by state; and search, page by page."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from consumer.domain.existing_product_states import (
    LOCKED_MESSAGES,
    LOCKED_PROGRESS,
    UNKNOWN_MESSAGE,
    LockedState,
    locked_state,
    our_state,
)
from consumer.domain.records import goes_on_by_itself
from consumer.store.database import Store
from consumer.store.provisioning_statements import RESTING, Queries
from ops.errors import InvalidInputError, NotFoundError
from seeders.canonical_email import comparable
from seeders.sql_loader import read_statements
from statemachine import State, Trigger, checklist, missing_items, next_trigger, progress, status_message

SQL = read_statements("ops.websites.sql")

MAX_SELECTED = 100_000
"""The most websites that one command takes."""
BATCH_SIZE = 500
"""Websites whose commands are published together, and whose statuses one statement reads."""

MAX_PAGE_SIZE = 200


async def find_website_ids(store: Store, names: Sequence[str]) -> list[int]:
    """Return the ids of websites named by id or subdomain, in order.

    Raises:
        NotFoundError: naming the first that is not there.
    """
    found: list[int] = []
    async with store.connection() as connection:
        for name in names:
            # What a shell passes on may be no UTF-8; such a name has no website.
            known = name.strip().lower().encode(errors="replace").decode()
            website_id = await connection.fetchval(SQL["find_by_id_or_subdomain"], known.replace("\0", "?"))
            if website_id is None:
                raise NotFoundError(
                    f"there is no website with the id or subdomain {name!r}; `provisioner list` shows them"
                )
            found.append(website_id)
    return found


async def statuses(store: Store, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return the status of websites that exist: state, progress, message, checklist, missing items, error, next try.

    `ours`: whether this service has begun to provision it. `next_step`: the step that it has before it; None where it
    rests. `under_way`: whether that comes by itself. `asleep`: whether nothing sends it. `erased_at`: when its owner's
    data was erased.
    """
    async with store.connection() as connection:
        records = await connection.fetch(SQL["statuses"], ids)
        facts = await Queries(connection).facts({record["id"]: record["subdomain"] for record in records})
    found = []
    for record in records:
        has, failed_from = facts[record["id"]], record["provisioning_failed_from"]
        state, locked = our_state(record["provisioning_state"]), locked_state(record["provisioning_state"])
        skipped = record["skip_properties"] or not has.properties
        due = record["provisioning_due_at"]
        goes_on = goes_on_by_itself(
            record["provisioning_state"], record["last_state"], attempts=record["provisioning_attempts"],
            has_due_time=due is not None,
        )  # fmt: skip
        step = step_due(state, record)
        found.append(
            {
                "website_id": record["id"],
                "subdomain": record["subdomain"],
                "site_type": record["site_type"],
                "seed_pack": record["seed_pack_name"],
                "state": record["provisioning_state"],
                "seq": record["provisioning_seq"],
                "ours": bool(record["provisioning_seq"] or record["provisioning_attempts"] or record["requested"]),
                "next_step": step,
                "under_way": step is not None and goes_on,
                "asleep": step is not None and due is None,
                "progress": progress(state, has, our_state(failed_from))
                if state
                else locked and LOCKED_PROGRESS[locked],
                "message": status_message(state, error=record["provisioning_error"], skipped=skipped)
                if state
                else (LOCKED_MESSAGES[locked] if locked else UNKNOWN_MESSAGE),
                "checklist": checklist(has),
                "missing": missing_items(has),
                "error": record["provisioning_error"],
                "failed_from": failed_from,
                "attempts": record["provisioning_attempts"],
                "attempt_error": record["provisioning_attempt_error"],
                "next_attempt_at": _utc_text(due) if record["provisioning_attempts"] else None,
                "auto_go_live": record["auto_go_live"],
                "skip_properties": record["skip_properties"],
                "created_at": _utc_text(record["created_at"]),
                "started_at": _utc_text(record["provisioning_started_at"]),
                "completed_at": _utc_text(record["provisioning_completed_at"]),
                "failed_at": _utc_text(record["provisioning_failed_at"]),
                "erased_at": record["erased_at"],
            }
        )
    return found


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
            "occurred_at": _utc_text(record["occurred_at"]),
        }
        for record in records
        for detail in [json.loads(record["detail"])]
    ]


async def website_details(store: Store, website_id: int) -> dict[str, Any]:
    """Return a website's status, with `owners` (e-mail addresses), `history` (its transitions, oldest first) and
    `pruned`: up to which seq rows of it were deleted, and of when the last of them was; None where none were.

    Raises:
        NotFoundError: there is none.
    """
    found = await statuses(store, [website_id])
    if not found:
        raise NotFoundError(f"there is no website {website_id}")
    async with store.connection() as connection:
        owners = await connection.fetch(SQL["owner_emails"], website_id)
        pruned = await connection.fetchrow(SQL["pruned_history"], website_id)
    return found[0] | {
        "owners": [record["email"] for record in owners if record["email"]],
        "history": await history(store, website_id),
        "pruned": pruned
        and {
            "through_seq": pruned["through_seq"],
            "last_at": _utc_text(pruned["last_at"]),
            "pruned_at": _utc_text(pruned["pruned_at"]),
        },
    }


async def list_statuses(
    store: Store, state: State | LockedState | None, limit: int, *, on_defaults: bool = False
) -> list[dict[str, Any]]:
    """Return the statuses of up to `limit` websites, the most recently changed first.

    `on_defaults`: only those of which a step went on although their seed pack did not suffice.
    """
    async with store.connection() as connection:
        records = await connection.fetch(SQL["recently_changed"], state and state.value, limit, on_defaults)
    ids = [record["id"] for record in records]
    by_id = {status["website_id"]: status for status in await statuses(store, ids)}
    return [by_id[website_id] for website_id in ids if website_id in by_id]


async def state_counts(store: Store) -> dict[str, int]:
    """Return how many websites are in each state, every state named."""
    async with store.connection() as connection:
        counts = {record["state"]: record["count"] for record in await connection.fetch(SQL["state_counts"])}
    return {state.value: counts.get(state.value, 0) for state in State} | counts


async def website_versions(store: Store, ids: Sequence[int]) -> dict[int, tuple[Any, ...]]:
    """Return, by id, a website's seq, its attempts, and when a signup for it was last rejected: one of them changes
    whenever it moves, an attempt is counted, or a signup is rejected. Ids without a website have the last alone."""
    async with store.connection() as connection:
        records = await connection.fetch(SQL["seqs_and_attempts"], ids)
    return {record["id"]: (record["seq"], record["attempts"], record["rejected_at"]) for record in records}


async def count_at_rest(store: Store, ids: Sequence[int]) -> int:
    """Return how many of these websites wait for nothing but people."""
    async with store.connection() as connection:
        count: int = await connection.fetchval(SQL["count_at_rest"], ids, RESTING)
        return count


def step_due(state: State | None, options: Mapping[str, Any]) -> Trigger | None:
    """Return the step that a website has before it; None where it rests, or in a state of the existing product's own.

    `options`: its `skip_properties` and `auto_go_live`.
    """
    if state is None:
        return None
    return next_trigger(state, skip_properties=options["skip_properties"], auto_go_live=options["auto_go_live"])


def is_at_rest(status: dict[str, Any]) -> bool:
    """Say whether a website waits for nothing but people."""
    state = our_state(status["state"])
    return state is None or next_trigger(state, skip_properties=False, auto_go_live=status["auto_go_live"]) is None


def _utc_text(time: datetime | None) -> str | None:
    """Return a time in UTC as text. The existing product's columns have no time zone; they hold UTC."""
    if time is None:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


async def search_websites(
    store: Store,
    *,
    state: State | LockedState | None = None,
    site_type: str | None = None,
    seed_pack: str | None = None,
    text: str | None = None,
    on_defaults: bool = False,
    after: str | None = None,
    limit: int = 50,
    by_email: bool = False,
) -> dict[str, Any]:
    """Return a page of statuses, the most recently changed first, and the place after which the next page begins.

    Args:
        store: where they are.
        state: only those; none means all.
        site_type: only this one.
        seed_pack: only this one.
        text: an id, or part of a subdomain or of an error.
        on_defaults: only those of which a step went on although their seed pack did not suffice.
        after: the `next` of the page before.
        limit: websites a page.
        by_email: whether `text` may be part of an owner's e-mail address too.

    Raises:
        InvalidInputError: `after` is no `next` of a page.
    """
    place, _, last = (after or "").partition("|")
    updated_at = _timestamp(place)
    if after and not (updated_at and last.isascii() and last.isdecimal() and len(last) < 20):  # noqa: PLR2004 - a bigint
        raise InvalidInputError("after: is not the `next` of an earlier page")
    states = [state.value] if state else None
    part = comparable(text or "") or None
    limit = max(1, min(limit, MAX_PAGE_SIZE))
    async with store.connection() as connection:
        records = await connection.fetch(
            SQL["search"], states, site_type, seed_pack, part, by_email, updated_at, int(last or 0), limit + 1,
            on_defaults,
        )  # fmt: skip
    page = records[:limit]
    by_id = {status["website_id"]: status for status in await statuses(store, [r["id"] for r in page])}
    next_page = f"{page[-1]['place']}|{page[-1]['id']}" if len(records) > limit else None
    return {"websites": [by_id[r["id"]] for r in page if r["id"] in by_id], "next": next_page}


def _timestamp(text: str) -> str | None:
    """Return a time as PostgreSQL reads it too, None for anything else."""
    try:
        return datetime.fromisoformat(text).isoformat()
    except ValueError:
        return None
