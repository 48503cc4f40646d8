"""Failed websites: in groups by the fingerprint of their error, and selected by filters. Reads only."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from consumer.store.database import Store
from ops.errors import NotFoundError
from ops.text.fingerprint import fingerprint, group_id
from ops.websites.queries import MAX_SELECTED
from seeders.seeding import PACK_BY_SITE_TYPE, PACK_OTHERWISE
from seeders.sql_loader import read_statements

SQL = read_statements("ops.websites.sql")

NO_ERROR = "no error was recorded"


@dataclass(frozen=True, slots=True)
class FailureFilter:
    """Which failed websites are selected; a field that is None selects all.

    `group`: a group's id. `error`: part of an error's text. `pack`: the pack that seeds them. `since_seconds`: how long
    ago they failed at most.
    """

    group: str | None = None
    error: str | None = None
    pack: str | None = None
    site_type: str | None = None
    since_seconds: float | None = None
    limit: int = MAX_SELECTED


async def failure_groups(store: Store) -> list[dict[str, Any]]:
    """Return failed websites grouped by the fingerprint of their error, the largest group first.

    Each has `group` (its id), `cause` (the fingerprint), `websites`, `first_at`, `last_at`, `example` (the website that
    failed last), `example_error`, and `failed_from`, how many failed from which state.
    """
    async with store.connection() as connection:
        records = await connection.fetch(SQL["failed_groups"])
    found: dict[str, dict[str, Any]] = {}
    for record in sorted(records, key=lambda record: record["last_at"], reverse=True):
        error = record["error"] or NO_ERROR
        group = found.setdefault(
            group_id(error),
            {"group": group_id(error), "cause": fingerprint(error), "websites": 0, "first_at": record["first_at"],
             "last_at": record["last_at"], "example": record["example"], "example_error": error, "failed_from": {}},
        )  # fmt: skip
        group["websites"] += record["websites"]
        group["first_at"] = min(group["first_at"], record["first_at"])
        state = record["failed_from"] or "unknown"
        group["failed_from"][state] = group["failed_from"].get(state, 0) + record["websites"]
    for group in found.values():
        group |= {name: group[name] and group[name].isoformat() for name in ("first_at", "last_at")}
    return sorted(found.values(), key=lambda group: -group["websites"])


async def failure_group(store: Store, name: str) -> dict[str, Any]:
    """Return one group by its id.

    Raises:
        NotFoundError: no failed website is in it any more.
    """
    for group in await failure_groups(store):
        if group["group"] == name:
            return group
    raise NotFoundError(f"no failed website is in a group {name!r}; see `provisioner failures list`")


async def failed_website_ids(
    store: Store, selection: FailureFilter, *, view: Callable[[str], str] | None = None
) -> list[int]:
    """Return the ids of the selected failed websites, those that failed first before the others.

    `view`: how the asker sees an error, which has to have the text of the filter then, too.

    Raises:
        NotFoundError: there is no such group.
    """
    limit = min(selection.limit, MAX_SELECTED)
    async with store.connection() as connection:
        records = await connection.fetch(
            SQL["failed"], selection.error, selection.pack, selection.site_type, selection.since_seconds,
            limit if selection.group is None and view is None else None, json.dumps(PACK_BY_SITE_TYPE), PACK_OTHERWISE,
        )  # fmt: skip
    if view and (text := selection.error):
        records = [each for each in records if text.lower() in view(each["error"]).lower()]
    if selection.group is None:
        return [record["id"] for record in records][:limit]
    # The database knows no fingerprints: the group is filtered here, after all other filters.
    ids = [record["id"] for record in records if group_id(record["error"] or NO_ERROR) == selection.group]
    if not ids:
        await failure_group(store, selection.group)
    return ids[:limit]
