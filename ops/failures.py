"""Failed websites: in groups by what they have in common, and chosen by what people say of them. Reads only."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from consumer.store import Store
from ops.fingerprint import fingerprint, group_id
from ops.reading import SQL, NotFound
from seeders.defaults import PACK_BY_SITE_TYPE, PACK_OTHERWISE

MOST = 100_000
"""Websites that one errand takes in."""
NO_ERROR = "no error was recorded"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which failed websites are meant; what is None asks for nothing.

    `group`: a group's id. `error`: part of an error's text. `pack`: the pack that seeds them. `since_seconds`: how long
    ago they failed at most.
    """

    group: str | None = None
    error: str | None = None
    pack: str | None = None
    site_type: str | None = None
    since_seconds: float | None = None
    limit: int = MOST


async def groups(store: Store) -> list[dict[str, Any]]:
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
            {
                "group": group_id(error),
                "cause": fingerprint(error),
                "websites": 0,
                "first_at": record["first_at"],
                "last_at": record["last_at"],
                "example": record["example"],
                "example_error": error,
                "failed_from": {},
            },
        )
        group["websites"] += record["websites"]
        group["first_at"] = min(group["first_at"], record["first_at"])
        state = record["failed_from"] or "unknown"
        group["failed_from"][state] = group["failed_from"].get(state, 0) + record["websites"]
    return [_told(group) for group in sorted(found.values(), key=lambda group: -group["websites"])]


async def one_group(store: Store, group: str) -> dict[str, Any]:
    """Return one group.

    Raises:
        NotFound: no failed website is in it any more.
    """
    for told in await groups(store):
        if told["group"] == group:
            return told
    raise NotFound(f"no failed website is in a group {group!r}; see `provisioner failures list`")


async def chosen(store: Store, choice: Chosen) -> list[int]:
    """Return the ids of the failed websites that are meant, those that failed first before the others.

    Raises:
        NotFound: there is no such group.
    """
    most = min(choice.limit, MOST)
    async with store.connection() as connection:
        records = await connection.fetch(
            SQL["failed"], choice.error, choice.pack, choice.site_type, choice.since_seconds,
            most if choice.group is None else None, json.dumps(PACK_BY_SITE_TYPE), PACK_OTHERWISE,
        )  # fmt: skip
    if choice.group is None:
        return [record["id"] for record in records]
    # The database knows no fingerprints: the group is looked for here, among all that the rest lets through.
    ids = [record["id"] for record in records if group_id(record["error"] or NO_ERROR) == choice.group]
    if not ids:
        await one_group(store, choice.group)
    return ids[:most]


def _told(group: dict[str, Any]) -> dict[str, Any]:
    moments = {name: group[name].isoformat() for name in ("first_at", "last_at") if isinstance(group[name], datetime)}
    return group | moments
