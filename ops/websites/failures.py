"""Failed websites: in groups by the fingerprint of their error, and selected by filters. Reads only."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consumer.store.database import Store
from ops.errors import NotFoundError
from ops.text.error_fingerprint import fingerprint, group_id
from ops.websites.queries import MAX_SELECTED
from seeders.seeding import PACK_BY_SITE_TYPE, PACK_OTHERWISE
from seeders.sql_loader import read_statements

SQL = read_statements("ops.websites.sql")

NO_ERROR = "no error was recorded"
NO_GROUP = "no failed website is in a group {!r}; see `provisioner failures list`"
SORTS = ("failed_at", "pack", "site_type", "attempts", "error", "subdomain")
"""By what members of a group are sorted: times and numbers from the last or largest on, texts by the alphabet."""
BREAKDOWNS = {0b0111: "pack", 0b1011: "site_type", 0b1101: "failed_from", 0b1110: "hour"}
"""What a row of `failed_breakdown.sql` is counted by: `grouping` has a bit for each column that it is not."""


@dataclass(frozen=True, slots=True)
class FailureFilter:
    """Which failed websites are selected; a field that is None selects all.

    `group`: a group's id. `error`: part of an error's text. `pack`: the pack that seeds them. `since_seconds`: how long
    ago they failed at most. `websites`: only these.
    """

    group: str | None = None
    error: str | None = None
    pack: str | None = None
    site_type: str | None = None
    since_seconds: float | None = None
    websites: frozenset[int] | None = None
    limit: int = MAX_SELECTED


async def failure_groups(store: Store) -> list[dict[str, Any]]:
    """Return failed websites grouped by the fingerprint of their error, the largest group first.

    Each has `group` (its id), `cause` (the fingerprint), `websites`, `first_at`, `last_at`, `example` (the website that
    failed last), `example_error`, and `failed_from`, how many failed from which state.
    """
    async with store.connection() as connection:
        return [group for group, _ in _grouped(await connection.fetch(SQL["failed_groups"]))]


def _grouped(records: Sequence[Mapping[str, Any]]) -> list[tuple[dict[str, Any], set[str]]]:
    """Return groups of the rows of `failed_groups.sql`, the largest first, each with its errors as they are stored."""
    found: dict[str, dict[str, Any]] = {}
    errors: dict[str, set[str]] = {}
    for record in sorted(records, key=lambda record: record["last_at"], reverse=True):
        error = record["error"] or NO_ERROR
        name = group_id(error)
        if name not in found:
            errors[name] = set()
            found[name] = {
                "group": name, "cause": fingerprint(error), "websites": 0, "first_at": record["first_at"],
                "last_at": record["last_at"], "example": record["example"], "example_error": error, "failed_from": {},
            }  # fmt: skip
        group = found[name]
        errors[name].add(record["error"] or "")
        group["websites"] += record["websites"]
        group["first_at"] = min(group["first_at"], record["first_at"])
        state = record["failed_from"] or "unknown"
        group["failed_from"][state] = group["failed_from"].get(state, 0) + record["websites"]
    for group in found.values():
        group |= {name: group[name] and group[name].isoformat() for name in ("first_at", "last_at")}
    return [(group, errors[name]) for name, group in sorted(found.items(), key=lambda each: -each[1]["websites"])]


async def failure_group(store: Store, name: str) -> dict[str, Any]:
    """Return one group by its id.

    Raises:
        NotFoundError: no failed website is in it any more.
    """
    for group in await failure_groups(store):
        if group["group"] == name:
            return group
    raise NotFoundError(NO_GROUP.format(name))


async def failure_group_page(
    store: Store, name: str, *, sort: str = SORTS[0], offset: int = 0, limit: int = 50
) -> dict[str, Any]:
    """Return a group with a page of its websites, and what they have in common.

    Beside what `failure_groups` says of it: `members`, `offset`, `next` (the offset of the next page, or null);
    `breakdown`, how many websites by `pack`, `site_type`, `failed_from` and `hour` (in UTC), the most first, hours in
    order; `attempts`, the least and the most; `last_requeue`, who requeued members last, when, why, with what outcome,
    and how many of them; null where nobody did.

    Args:
        store: the database.
        name: the group's id.
        sort: one of SORTS.
        offset: how many members come before the page.
        limit: how many members the page has at most.

    Raises:
        NotFoundError: no failed website is in it any more.
    """
    packs = json.dumps(PACK_BY_SITE_TYPE), PACK_OTHERWISE
    async with store.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        found = {
            each["group"]: (each, errors) for each, errors in _grouped(await connection.fetch(SQL["failed_groups"]))
        }
        if name not in found:
            raise NotFoundError(NO_GROUP.format(name))
        group, errors = found[name]
        failed = await connection.fetch(SQL["failed"], None, None, None, None, None, *packs)
        ids = [each["id"] for each in failed if (each["error"] or "") in errors]
        members = await connection.fetch(SQL["failed_members"], ids, *packs, sort, limit, offset)
        counted = await connection.fetch(SQL["failed_breakdown"], ids, *packs)
        requeued = await connection.fetchrow(SQL["last_requeue_of"], ids)
    breakdown: dict[str, list[dict[str, Any]]] = {"pack": [], "site_type": [], "failed_from": [], "hour": []}
    attempts = [0, 0]
    for row in counted:
        if (by := BREAKDOWNS.get(row["kept"])) is None:
            attempts = [row["least_attempts"], row["most_attempts"]]
            continue
        value = row[by].isoformat() if by == "hour" and row[by] else row[by]
        breakdown[by].append({"value": value, "websites": row["websites"]})
    return group | {
        "members": [dict(each) | {"failed_at": each["failed_at"].isoformat()} for each in members],
        "offset": offset,
        "next": offset + limit if offset + limit < group["websites"] else None,
        "breakdown": breakdown,
        "attempts": attempts,
        "last_requeue": requeued and dict(requeued) | {"occurred_at": requeued["occurred_at"].isoformat()},
    }


async def failed_website_ids(
    store: Store, selection: FailureFilter, *, view: Callable[[str], str] | None = None
) -> list[int]:
    """Return the ids of the selected failed websites, those that failed first before the others.

    `view`: how the asker sees an error, which has to have the text of the filter then, too.

    Raises:
        NotFoundError: there is no such group.
    """
    limit = min(selection.limit, MAX_SELECTED)
    in_sql = selection.group is None and view is None and selection.websites is None
    async with store.connection() as connection:
        records = await connection.fetch(
            SQL["failed"], selection.error, selection.pack, selection.site_type, selection.since_seconds,
            limit if in_sql else None, json.dumps(PACK_BY_SITE_TYPE), PACK_OTHERWISE,
        )  # fmt: skip
    if view and (text := selection.error):
        records = [each for each in records if text.lower() in view(each["error"]).lower()]
    if selection.websites is not None:
        records = [each for each in records if each["id"] in selection.websites]
    if selection.group is None:
        return [record["id"] for record in records][:limit]
    # The database knows no fingerprints: the group is filtered here, after all other filters.
    ids = [record["id"] for record in records if group_id(record["error"] or NO_ERROR) == selection.group]
    if not ids:
        await failure_group(store, selection.group)
    return ids[:limit]
