"""Finds websites: by state, kind and text, page by page. Reads only."""

from datetime import datetime
from typing import Any

from consumer.store import Store
from ops import reading
from ops.reading import SQL
from statemachine import State

LONGEST_PAGE = 200


async def search(
    store: Store,
    *,
    state: State | None = None,
    site_type: str | None = None,
    seed_pack: str | None = None,
    text: str | None = None,
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
        after: the `next` of the page before.
        limit: websites a page.
        by_email: whether `text` may be part of an owner's e-mail address too.

    Raises:
        Unusable: `after` is no place that a page has named.
    """
    place, _, last = (after or "").partition("|")
    since = _moment(place)
    if after and not (since and last.isascii() and last.isdecimal() and len(last) < 20):  # noqa: PLR2004 - a bigint
        raise reading.Unusable("after: is not the `next` of an earlier page")
    states = [state.value] if state else None
    asked = (text or "").strip().lower() or None
    limit = max(1, min(limit, LONGEST_PAGE))
    async with store.connection() as connection:
        records = await connection.fetch(
            SQL["search"], states, site_type, seed_pack, asked, by_email, since, int(last or 0), limit + 1
        )
    page = records[:limit]
    by_id = {status["website_id"]: status for status in await reading.statuses(store, [r["id"] for r in page])}
    further = f"{page[-1]['place']}|{page[-1]['id']}" if len(records) > limit else None
    return {"websites": [by_id[r["id"]] for r in page if r["id"] in by_id], "next": further}


async def owners(store: Store, website_id: int) -> list[str]:
    """Return the e-mail addresses of a website's owners."""
    async with store.connection() as connection:
        return [record["email"] for record in await connection.fetch(SQL["owners"], website_id) if record["email"]]


async def marks(store: Store, ids: list[int]) -> dict[int, tuple[int, int]]:
    """Return, by id, what changes whenever a website moves: its seq, and its attempts."""
    async with store.connection() as connection:
        return {
            record["id"]: (record["seq"], record["attempts"]) for record in await connection.fetch(SQL["seqs"], ids)
        }


def _moment(text: str) -> str | None:
    """Return a moment as PostgreSQL reads it too, None for anything else."""
    try:
        return datetime.fromisoformat(text).isoformat()
    except ValueError:
        return None
